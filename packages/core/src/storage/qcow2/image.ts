/** One open qcow2 image, as its parts see it: its file, its numbers, and what to say when it contradicts itself. */

import { BlockStoreError } from '../../base/block-store-error.ts';
import type { ImageFile } from '../image-file.ts';
import { Geometry } from './geometry.ts';
import type { Qcow2Header } from './header.ts';

export class Qcow2Image {
  readonly file: ImageFile;
  readonly header: Qcow2Header;
  readonly geometry: Geometry;
  readonly metadata = new MetadataClusters();
  readonly #damages = new WeakSet<BlockStoreError>();

  constructor(file: ImageFile, header: Qcow2Header) {
    this.file = file;
    this.header = header;
    this.geometry = new Geometry(header);
  }

  /** `problem` goes on after "it": `has ...`. */
  damaged(problem: string): BlockStoreError {
    const error = new BlockStoreError('corrupt', `Disk "${this.file.name}" is damaged: it ${problem}`);
    this.#damages.add(error);
    return error;
  }

  /** Whether `error` says that this image contradicts itself, and not, for one, the image behind it. */
  isDamage(error: unknown): error is BlockStoreError {
    return error instanceof BlockStoreError && this.#damages.has(error);
  }

  /** Some data cannot be had; the image's tables may be right. `problem` goes on after "cannot be read:". */
  unreadable(problem: string, cause?: unknown): BlockStoreError {
    return new BlockStoreError('corrupt', `Disk "${this.file.name}" cannot be read: ${problem}`, cause);
  }

  full(): BlockStoreError {
    return new BlockStoreError(
      'full',
      `Disk "${this.file.name}" cannot be written: its image has become as large as one can be`,
    );
  }
}

/**
 * The host clusters that hold the image's own tables. No data may be written there, whatever an L2 entry says: a guest could otherwise
 * write itself a header.
 */
export class MetadataClusters {
  /** Those found when the image was opened, ascending. There can be millions in a hostile image, hence no Set. */
  #atOpen: Float64Array = new Float64Array(0);
  readonly #added = new Set<number>();
  readonly #removed = new Set<number>();

  /** Takes over the clusters that the image has at first; false when one of them is there twice. */
  begin(clusters: Float64Array): boolean {
    this.#atOpen = clusters.toSorted();
    return this.#atOpen.every((cluster, index) => cluster !== this.#atOpen[index - 1]);
  }

  add(first: number, count = 1): void {
    for (let cluster = first; cluster < first + count; cluster++) {
      this.#removed.delete(cluster);
      this.#added.add(cluster);
    }
  }

  remove(first: number, count = 1): void {
    for (let cluster = first; cluster < first + count; cluster++) {
      this.#added.delete(cluster);
      this.#removed.add(cluster);
    }
  }

  has(cluster: number): boolean {
    if (this.#added.has(cluster)) return true;
    return !this.#removed.has(cluster) && this.#wasAtOpen(cluster);
  }

  hasAny(first: number, count: number): boolean {
    for (let cluster = first; cluster < first + count; cluster++) if (this.has(cluster)) return true;
    return false;
  }

  #wasAtOpen(cluster: number): boolean {
    let low = 0;
    let high = this.#atOpen.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#atOpen[middle] ?? 0) < cluster) low = middle + 1;
      else high = middle;
    }
    return this.#atOpen[low] === cluster;
  }
}

/** The arrays after each other. */
export function joined(...arrays: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(arrays.reduce((length, array) => length + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}
