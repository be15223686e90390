/**
 * The disks of a snapshot. Each that is written to becomes a qcow2 image beside the manifest, of what differs from the images behind the disk,
 * which stay where they are and are known by their SHA-256:
 *
 *     live      [temporary image] ──> disks/system.qcow2 ──────────────────────────┐
 *     one       snapshots/one/disk0.qcow2 ─────────────────────────────────────────┴──> image/disk.qcow2   (by digest)
 *     two       snapshots/two/disk0.qcow2 ──> snapshots/one/disk0.qcow2 ───────────┘    when it builds on `one`
 *
 * A disk that is only read is nothing but such a reference. Paths beneath the folder that the store is in are relative, so that a folder with a
 * machine and its snapshots can be copied; others are absolute.
 */

import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import {
  BlockStoreError,
  type ChainedImage,
  type DiskPoint,
  type ImageBehind,
  openDisk,
  openNewImage,
  PointCopy,
  type PointedDisks,
  SnapshotError,
  type SnapshotManifest,
} from '@ringfence/core';
import { DiskFile } from '../disk/disk-file.ts';
import { NodeImageFiles, type OpenedDisk } from '../disk/disks.ts';
import { systemReason } from '../failure.ts';
import { nodeClusterDecompressor } from '../machine/ports.ts';
import { digestFile, digestFileInTurns, type FileDigest, FileDigests } from './file-digests.ts';
import { nodeSnapshotCodec } from './node-codec.ts';

/** The snapshot that another one builds on. */
export interface ParentDisks {
  readonly name: string;
  readonly manifest: Pick<SnapshotManifest, 'disks'>;
}

/**
 * Makes ready for a point of the disks in `folder`, which is in the folder `store` and has another name there when it is whole. The machine runs on
 * until `hold`. Rejects with a SnapshotError, and nothing is open then.
 */
export async function pointDisks(
  disks: readonly OpenedDisk[],
  store: string,
  folder: string,
  parent: ParentDisks | undefined,
): Promise<PointedDisks> {
  if (parent !== undefined && parent.manifest.disks.length !== disks.length)
    throw new SnapshotError('other-machine', `"${parent.name}" is of a machine with other disks`);
  const place = { store: realpathSync(store), folder, digests: new FileDigests(store) };
  const points: Point[] = [];
  const release = async (): Promise<void> => {
    await Promise.all(points.map((point) => point.release()));
  };
  try {
    for (const [index, disk] of disks.entries())
      points.push(await pointDisk(disk, index, place, parent && { ...parent, disk: parent.manifest.disks[index] }));
  } catch (error) {
    await release();
    throw asProblem(error);
  }
  return {
    hold: () => points.forEach((point) => point.hold()),
    write: async () => {
      const written: DiskPoint[] = [];
      for (const point of points) written.push(await point.write());
      return written;
    },
    release,
  };
}

interface Point {
  hold(): void;
  write(): Promise<DiskPoint>;
  release(): Promise<void>;
}

interface Place {
  readonly store: string;
  readonly folder: string;
  readonly digests: FileDigests;
}

async function pointDisk(
  disk: OpenedDisk,
  index: number,
  place: Place,
  parent: (ParentDisks & { readonly disk: DiskPoint | undefined }) | undefined,
): Promise<Point> {
  const { store, serial, bus, cache, chain, hasTemporary, isPassing } = disk;
  const { sizeBytes, readOnly } = store;
  const about = { serial, sizeBytes, readOnly, bus, cache };
  // Images of snapshots, and those that may be gone soon, come first and are copied like what is in front of them: a snapshot needs only what it says that
  // it builds on.
  // They are read by whoever has them open: what is copied may be gone already.
  const lower = (hasTemporary || readOnly ? chain : chain.slice(1)).map((image) => ({
    ...image,
    path: realPath(resolve(image.path)),
  }));
  const lasting = lower.findIndex(({ path }, n) => !(n === 0 && isPassing) && !isWithin(path, place.store));
  const own = readOnly ? 0 : lasting < 0 ? lower.length : lasting;
  const base = lower.slice(own);
  // Hundreds of megabytes the first time: before the moment only where the parent's have to be compared with them.
  const digested = async (): Promise<ImageBehind[]> => {
    const images: ImageBehind[] = [];
    for (const image of base) images.push(await behind(image, place));
    return images;
  };
  if (readOnly)
    return {
      hold: () => undefined,
      async write() {
        try {
          return { ...about, file: null, bytes: 0, sha256: null, behind: await digested() };
        } catch (error) {
          throw asProblem(error);
        }
      },
      release: () => Promise.resolve(),
    };
  const earlier = parent === undefined ? undefined : earlierOf(parent, sizeBytes);
  const [first] = earlier ?? base.map(({ path, format }) => ({ path: pathFrom(place.store, path), format }));
  const shared = earlier === undefined ? base.length : sameEnd(await digested(), earlier);
  const file = `disk${index}.qcow2`;
  const path = join(place.folder, file);
  const backing =
    first === undefined
      ? undefined
      : await openDisk(new NodeImageFiles(), resolve(place.folder, first.path), {
          format: first.format,
          readOnly: true,
          decompress: nodeClusterDecompressor,
        });
  const made = await DiskFile.fresh(path).catch(async (error: unknown) => {
    await backing?.store.close();
    throw error;
  });
  const target = await openNewImage(
    made,
    { sizeBytes, ...(first === undefined ? {} : { backing: { name: first.path, format: first.format } }) },
    backing?.store,
  );
  let copy: PointCopy | undefined;
  let isOpen = true;
  const close = async (): Promise<void> => {
    const held = copy;
    copy = undefined;
    // Another point of the disk, which came before this one, is not this one's to end.
    if (held !== undefined) store.copy = undefined;
    await held?.stop();
    if (isOpen) {
      isOpen = false;
      await target.close();
    }
  };
  return {
    hold() {
      const point = new PointCopy({
        source: store,
        sourceLayers: 1 + own + base.length - shared,
        target,
        targetLayers: earlier === undefined ? 0 : earlier.length - shared,
      });
      store.copy = point;
      copy = point;
    },
    async write() {
      try {
        await copy?.run(() => nodeSnapshotCodec.turn());
        await close();
        return { ...about, file, ...(await digestFileInTurns(path)), behind: earlier ?? (await digested()) };
      } catch (error) {
        throw asProblem(error);
      }
    },
    release: () => close().catch(() => undefined),
  };
}

/** The images of the parent's disk, its own in front: what the new one stands on. */
function earlierOf(
  { name, disk }: ParentDisks & { readonly disk: DiskPoint | undefined },
  sizeBytes: number,
): ImageBehind[] {
  if (disk === undefined || disk.file === null || disk.sha256 === null || disk.sizeBytes !== sizeBytes)
    throw new SnapshotError('other-machine', `"${name}" is of a machine with other disks`);
  const { file, bytes, sha256, behind: rest } = disk;
  // Folders of snapshots lie side by side: what one sees, another sees by the same path.
  return [{ path: join('..', name, file), format: 'qcow2', bytes, sha256 }, ...rest];
}

/** How many images both have at their end. */
function sameEnd(one: readonly ImageBehind[], other: readonly ImageBehind[]): number {
  let count = 0;
  while (count < one.length && one.at(-1 - count)?.sha256 === other.at(-1 - count)?.sha256) count++;
  return count;
}

async function behind({ path, format }: ChainedImage, { store, digests }: Place): Promise<ImageBehind> {
  return { path: pathFrom(store, path), format, ...(await digests.inTurns(path)) };
}

/** Where a file is, or was, behind symbolic links. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return dirname(path) === path ? path : join(realPath(dirname(path)), basename(path));
  }
}

/** How a snapshot of the store calls a file. */
function pathFrom(store: string, path: string): string {
  return isWithin(path, dirname(store)) ? relative(join(store, 'snapshot'), path) : path;
}

function isWithin(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return !way.startsWith('..') && !isAbsolute(way);
}

/** An image of another snapshot of the store, as its neighbours see it. */
const OF_NEIGHBOUR = /^\.\.\/(?!\.\.?\/)[^/]+\/[^/]+$/;

/**
 * Looks whether the disks of the snapshot in `folder` are as they were written, with all that stands behind them; throws a SnapshotError. Without
 * `verify` only whether they are there.
 */
export function checkDisks(
  { disks }: SnapshotManifest,
  folder: string,
  verify: boolean,
  digests = new FileDigests(dirname(folder)),
): void {
  for (const { serial, file, bytes, sha256, behind: images } of disks) {
    if (file !== null && sha256 !== null)
      checkFile(`its disk ${serial}`, join(folder, file), { bytes, sha256 }, verify ? digestFile : sizeOf);
    for (const { path, ...known } of images) {
      // Of other snapshots it is looked at what is there now, as of this one.
      const look = !verify ? sizeOf : OF_NEIGHBOUR.test(path) ? digestFile : (at: string) => digests.of(at);
      checkFile(`the image ${path}, which stands behind its disk ${serial},`, resolve(folder, path), known, look);
    }
  }
}

/** As `checkDisks` with `verify`, while others have the thread. */
export async function verifyDisks({ disks }: SnapshotManifest, folder: string, digests: FileDigests): Promise<void> {
  for (const { serial, file, bytes, sha256, behind: images } of disks) {
    if (file !== null && sha256 !== null) await verifyFile(`its disk ${serial}`, join(folder, file), { bytes, sha256 });
    for (const { path, ...known } of images)
      await verifyFile(
        `the image ${path}, which stands behind its disk ${serial},`,
        resolve(folder, path),
        known,
        OF_NEIGHBOUR.test(path) ? undefined : digests,
      );
  }
}

/** Reads all of a file, or remembers that it was read; rejects with a SnapshotError when it is not what it was. */
export async function verifyFile(what: string, path: string, known: FileDigest, digests?: FileDigests): Promise<void> {
  let found: FileDigest;
  try {
    found = digests === undefined ? await digestFileInTurns(path) : await digests.inTurns(path);
  } catch (error) {
    throw new SnapshotError('broken', `${what} cannot be read: ${systemReason(error)}`, error);
  }
  compareDigests(what, found, known);
}

function checkFile(what: string, path: string, known: FileDigest, look: (path: string) => Partial<FileDigest>): void {
  let found: Partial<FileDigest>;
  try {
    found = look(path);
  } catch (error) {
    throw new SnapshotError('broken', `${what} cannot be read: ${systemReason(error)}`, error);
  }
  compareDigests(what, found, known);
}

function compareDigests(what: string, found: Partial<FileDigest>, known: FileDigest): void {
  if (found.bytes !== known.bytes || (found.sha256 ?? known.sha256) !== known.sha256)
    throw new SnapshotError('broken', `${what} is not what it was`);
}

function sizeOf(path: string): Partial<FileDigest> {
  return { bytes: statSync(path).size };
}

/** The disks of a machine that goes on from the snapshot in `folder`, as VMOptions have them: what is written is gone afterwards. */
export function diskOptions({ disks }: SnapshotManifest, folder: string): string[] {
  return disks.map(({ file, readOnly, bus, cache, behind: [first] }) => {
    const path = file === null ? resolve(folder, first?.path ?? '') : join(folder, file);
    const format = file === null ? (first?.format ?? 'raw') : 'qcow2';
    return `${path.replaceAll(',', ',,')},format=${format},bus=${bus},cache=${cache},${readOnly ? 'readonly' : 'snapshot'}`;
  });
}

/** Whether these disks can take the place of the snapshot's; throws a SnapshotError. */
export function checkDiskSizes(
  { disks }: SnapshotManifest,
  given: readonly { readonly store: { readonly sizeBytes: number; readonly readOnly: boolean } }[],
): void {
  const fits = disks.every(
    ({ sizeBytes, readOnly }, index) =>
      given[index]?.store.sizeBytes === sizeBytes && given[index]?.store.readOnly === readOnly,
  );
  if (!fits || disks.length !== given.length)
    throw new SnapshotError('other-machine', 'it is of a machine with other disks');
}

function asProblem(error: unknown): unknown {
  return error instanceof BlockStoreError ? new SnapshotError('unavailable', error.message, error) : error;
}
