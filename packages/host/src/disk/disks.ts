/**
 * Opens the disks of a machine, all or none.
 *
 *     FILE  ->  DiskFile, locked  ->  raw or qcow2, with what stands behind it  ->  with `snapshot` a temporary image in front
 */

import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import {
  AbsentStore,
  BlockStoreError,
  type DiskFigures,
  ForkableStore,
  openDisk,
  openOverlay,
  type BlockStore,
  type ChainedImage,
  type ImageFile,
  type ImageFiles,
  type MachineDisk,
  type OpenDisk,
  type PreparedFork,
} from '@ringfence/core';
import { HostError } from '../failure.ts';
import { nodeClusterDecompressor } from '../machine/ports.ts';
import { DiskFile, fileIdentity } from './disk-file.ts';
import type { CacheMode, DiskSpec } from './disk-spec.ts';

/** PCI has 31 slots, and the machine has other devices there; virtio-mmio has 8. */
const MAXIMUM_DISKS = { pci: 28, mmio: 8 } as const;

export interface OpenDisks {
  readonly disks: readonly OpenedDisk[];
  /** What the user should know of them. */
  readonly notes: readonly string[];
  /** Makes ready for `count` forks of the machine; rejects with a HostError when a disk cannot be forked. */
  prepareForks(count: number): Promise<PreparedDisks>;
  close(): Promise<void>;
}

export type OpenedDisk = MachineDisk & {
  readonly store: ForkableStore;
  readonly bus: DiskSpec['bus'];
  readonly cache: 'writeback' | 'writethrough';
  /** The images that it is made of when it was opened last, the one in front first, but for a temporary one that takes what is written. */
  readonly chain: readonly ChainedImage[];
  readonly hasTemporary: boolean;
  /** Lets other processes have its files, while its guest stands still. */
  handOver(): Promise<void>;
  /** Has its files again; rejects with a HostError when it cannot. */
  takeBack(): Promise<void>;
};

/** Forks of a machine's disks, which happen at once with `commit` or not at all. */
export interface PreparedDisks {
  /** Of each fork. */
  readonly forks: readonly (readonly OpenedDisk[])[];
  commit(): void;
  /** Does nothing after `commit`. */
  abandon(): Promise<void>;
}

/**
 * The guest finds those on PCI as /dev/vda, /dev/vdb ... in this order; their serial numbers are disk0, disk1 ... `absent` are those whose files are another
 * process's yet, by their number: they are to be taken back.
 */
export async function openDisks(
  specs: readonly DiskSpec[],
  absent: ReadonlyMap<number, DiskFigures> = new Map(),
): Promise<OpenDisks> {
  const disks: OpenedDisk[] = [];
  const notes: string[] = [];
  const close = async (): Promise<void> => {
    const ends = await Promise.allSettled(disks.map(({ store }) => store.close()));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  };
  for (const bus of ['pci', 'mmio'] as const) {
    const count = specs.filter((spec) => spec.bus === bus).length;
    if (count > MAXIMUM_DISKS[bus])
      throw new HostError(
        'too-many',
        `${count} disks are too many for ${bus}, which has room for ${MAXIMUM_DISKS[bus]}`,
      );
  }
  try {
    for (const [index, spec] of specs.entries()) {
      const figures = absent.get(index);
      const opened = figures === undefined ? await openOne(spec) : absentDisk(spec, figures);
      notes.push(...opened.notes);
      disks.push(openedDisk(opened, spec, index));
    }
  } catch (error) {
    await close();
    throw error instanceof BlockStoreError ? withAdvice(error) : error;
  }
  return { disks, notes, prepareForks: (count) => prepareForks(disks, specs, count), close };
}

function openedDisk(
  { store: front, chain: first, hasTemporary }: OpenDisk & Pick<OpenedDisk, 'hasTemporary'>,
  spec: DiskSpec,
  index: number,
): OpenedDisk {
  let chain = first;
  const store = new ForkableStore(front);
  return {
    store,
    serial: `disk${index}`,
    cache: spec.cache === 'writethrough' ? 'writethrough' : 'writeback',
    bus: spec.bus,
    get chain() {
      return chain;
    },
    hasTemporary,
    handOver: () => store.handOver(),
    async takeBack() {
      try {
        const opened = await openOne(spec);
        const isSame = opened.store.sizeBytes === store.sizeBytes && opened.format === chain[0]?.format;
        if (isSame) {
          store.takeBack(opened.store);
          // One that was another process's was known by its front alone.
          ({ chain } = opened);
          return;
        }
        await opened.store.close();
      } catch (error) {
        throw error instanceof BlockStoreError
          ? new HostError(error.code === 'locked' ? 'wrong-state' : 'unavailable', error.message, error)
          : error;
      }
      throw new HostError('unavailable', `Disk "${spec.path}" is of another size or format than it was`);
    },
  };
}

function absentDisk(spec: DiskSpec, figures: DiskFigures): OpenDisk & Pick<OpenedDisk, 'hasTemporary'> {
  const format = spec.format ?? 'raw';
  const store = new AbsentStore(figures);
  return { store, format, notes: [], chain: [{ path: spec.path, format }], hasTemporary: false };
}

async function prepareForks(
  disks: readonly OpenedDisk[],
  specs: readonly DiskSpec[],
  count: number,
): Promise<PreparedDisks> {
  for (const { path, readOnly, snapshot } of specs) {
    if (readOnly || snapshot) continue;
    throw new HostError(
      'unsupported',
      `Disk "${path}" is the machine's own, and what it writes there cannot be its forks' too; give ",snapshot" or ",readonly"`,
    );
  }
  const prepared: PreparedFork[] = [];
  let isDone = false;
  const abandon = async (): Promise<void> => {
    if (isDone) return;
    isDone = true;
    await Promise.all(prepared.map((each) => each.abandon()));
  };
  try {
    for (const [index, { store }] of disks.entries()) {
      const path = specs[index]?.path ?? '';
      if (!store.isForkable)
        throw new HostError('too-many', `Disk "${path}" has been forked too often, one fork in front of the other`);
      prepared.push(await store.prepare(count, (backing) => overlayOf(path, backing)));
    }
  } catch (error) {
    await abandon();
    throw error;
  }
  return {
    forks: Array.from({ length: count }, (_, fork) =>
      disks.map((disk, index) => ({ ...disk, store: prepared[index]?.forks[fork] ?? disk.store })),
    ),
    commit() {
      isDone = true;
      for (const each of prepared) each.commit();
    },
    abandon,
  };
}

/** A temporary image in front of what is behind the disk at `path`. */
async function overlayOf(path: string, backing: BlockStore): Promise<BlockStore> {
  const file = await DiskFile.temporary(join(tmpdir(), `ringfence-snapshot-${randomUUID()}`), `snapshot of ${path}`);
  return openOverlay(file, backing);
}

async function openOne(spec: DiskSpec): Promise<OpenDisk & Pick<OpenedDisk, 'hasTemporary'>> {
  const { path, format, readOnly, snapshot, cache } = spec;
  const opened = await openDisk(new NodeImageFiles(cache), path, {
    format,
    readOnly: readOnly || snapshot,
    decompress: nodeClusterDecompressor,
  });
  if (!snapshot || readOnly) return { ...opened, hasTemporary: false };
  try {
    return { ...opened, store: await overlayOf(path, opened.store), hasTemporary: true };
  } catch (error) {
    await opened.store.close();
    throw error;
  }
}

/** Image files of this computer, by path. */
export class NodeImageFiles implements ImageFiles {
  readonly #cache: CacheMode;

  constructor(cache: CacheMode = 'writeback') {
    this.#cache = cache;
  }

  open(path: string, { readOnly }: { readonly readOnly: boolean }): Promise<ImageFile> {
    const cache = this.#cache === 'unsafe' || this.#cache === 'none' ? this.#cache : undefined;
    return DiskFile.open(path, { readOnly, cache });
  }

  identify(path: string): Promise<string> {
    return fileIdentity(path);
  }

  resolve(name: string, path: string): string {
    return resolve(dirname(path), name);
  }
}

/** Says what can be done about it. */
function withAdvice(error: BlockStoreError): HostError {
  const { message } = error;
  const isFirst = error.cause === undefined || !(error.cause instanceof BlockStoreError);
  const advice =
    isFirst && message.endsWith('does not exist')
      ? '; an empty one of 1 GiB is made by: truncate -s 1G FILE'
      : message.endsWith('is read-only')
        ? ', and the guest writes to its disks; make it writable, give ",readonly" or ",snapshot", or make a copy of it that is'
        : '';
  return new HostError('unavailable', message + advice, error);
}
