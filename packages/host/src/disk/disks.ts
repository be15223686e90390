/**
 * Opens the disks of a machine, all or none.
 *
 *     FILE  ->  DiskFile, locked  ->  raw or qcow2, with what stands behind it  ->  with `snapshot` a temporary image in front
 */

import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import {
  AbsentStore,
  BlockStoreError,
  type DiskFigures,
  ForkableStore,
  MAXIMUM_FORK_DEPTH,
  MAXIMUM_FORK_POINTS,
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

/** Of images that have a name no longer than until they are opened. */
const TEMPORARY = 'ringfence-snapshot-';
/** PCI has 31 slots, and the machine has other devices there; virtio-mmio has 8. */
const MAXIMUM_DISKS = { pci: 28, mmio: 8 } as const;

export interface OpenDisks {
  readonly disks: readonly OpenedDisk[];
  /** What the user should know of them. */
  readonly notes: readonly string[];
  /** Makes ready for `count` forks of the machine; rejects with a HostError when a disk cannot be forked. What they write is gone with them. */
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
  /** Whether the first of them may be gone when the machine is. */
  readonly isPassing: boolean;
  /** Lets other processes have its files, while its guest stands still. */
  handOver(): Promise<void>;
  /** Has its files again; rejects with a HostError when it cannot. */
  takeBack(): Promise<void>;
};

/** Forks of a machine's disks, which happen at once with `commit` or not at all. */
export interface PreparedDisks {
  /** Of each fork. */
  readonly forks: readonly OpenDisks[];
  commit(): void;
  /** Does nothing after `commit`. */
  abandon(): Promise<void>;
}

/**
 * The guest finds those on PCI as /dev/vda, /dev/vdb ... in this order; their serial numbers are disk0, disk1 ... `absent` are those whose files are another
 * process's yet, by their number: they are to be taken back. Images that are gone afterwards lie in `temporaryFolder`, without a name.
 */
export async function openDisks(
  specs: readonly DiskSpec[],
  absent: ReadonlyMap<number, DiskFigures> = new Map(),
  temporaryFolder: string = tmpdir(),
): Promise<OpenDisks> {
  const disks: OpenedDisk[] = [];
  const notes: string[] = [];
  const opened = new DiskSet(disks, notes, specs, temporaryFolder);
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
      const one = figures === undefined ? await openOne(spec, temporaryFolder) : absentDisk(spec, figures);
      notes.push(...one.notes);
      disks.push(openedDisk(one, spec, index, temporaryFolder));
    }
  } catch (error) {
    await opened.close();
    throw error instanceof BlockStoreError ? withAdvice(error) : error;
  }
  return opened;
}

function openedDisk(
  { store: front, chain: first, hasTemporary }: OpenDisk & Pick<OpenedDisk, 'hasTemporary'>,
  spec: DiskSpec,
  index: number,
  temporaryFolder: string,
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
    isPassing: spec.isPassing === true,
    handOver: () => store.handOver(),
    async takeBack() {
      try {
        const opened = await openOne(spec, temporaryFolder);
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

/** The disks of a machine, or of a fork of one. */
class DiskSet implements OpenDisks {
  readonly disks: readonly OpenedDisk[];
  readonly notes: readonly string[];
  readonly #specs: readonly DiskSpec[];
  readonly #temporaryFolder: string;

  constructor(
    disks: readonly OpenedDisk[],
    notes: readonly string[],
    specs: readonly DiskSpec[],
    temporaryFolder: string,
  ) {
    this.disks = disks;
    this.notes = notes;
    this.#specs = specs;
    this.#temporaryFolder = temporaryFolder;
  }

  async prepareForks(count: number): Promise<PreparedDisks> {
    const prepared: PreparedFork[] = [];
    let isDone = false;
    const abandon = async (): Promise<void> => {
      if (isDone) return;
      isDone = true;
      await Promise.all(prepared.map((each) => each.abandon()));
    };
    try {
      for (const [index, { store }] of this.disks.entries()) {
        const path = this.#specs[index]?.path ?? '';
        if (!store.isForkable)
          throw new HostError(
            'too-many',
            `Disk "${path}" has no room for another fork: a fork can have ${MAXIMUM_FORK_DEPTH} before it, one of the other, and ${MAXIMUM_FORK_POINTS} moments of a disk can be read by forks`,
          );
        prepared.push(await store.prepare(count, (backing) => overlayOf(path, backing, this.#temporaryFolder)));
      }
    } catch (error) {
      await abandon();
      throw error instanceof BlockStoreError ? new HostError('unavailable', error.message, error) : error;
    }
    return {
      forks: Array.from({ length: count }, (_, fork) => {
        const disks = this.disks.map((disk, index) => forkOf(disk, prepared[index]?.forks[fork] ?? disk.store));
        return new DiskSet(disks, [], this.#specs, this.#temporaryFolder);
      }),
      commit() {
        isDone = true;
        for (const each of prepared) each.commit();
      },
      abandon,
    };
  }

  async close(): Promise<void> {
    const ends = await Promise.allSettled(this.disks.map(({ store }) => store.close()));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }
}

/** What its parent's own image holds is nobody's to keep, and so is what the fork writes in front of it. */
function forkOf(disk: OpenedDisk, store: ForkableStore): OpenedDisk {
  if (store.readOnly) return { ...disk, store };
  return { ...disk, store, chain: disk.hasTemporary ? disk.chain : disk.chain.slice(1), hasTemporary: true };
}

/** A temporary image in front of what is behind the disk at `path`. */
async function overlayOf(path: string, backing: BlockStore, folder: string): Promise<BlockStore> {
  const file = await DiskFile.temporary(join(folder, TEMPORARY + randomUUID()), `snapshot of ${path}`);
  return openOverlay(file, backing);
}

async function openOne(spec: DiskSpec, temporaryFolder: string): Promise<OpenDisk & Pick<OpenedDisk, 'hasTemporary'>> {
  const { path, format, readOnly, snapshot, cache } = spec;
  const opened = await openDisk(new NodeImageFiles(cache), path, {
    format,
    readOnly: readOnly || snapshot,
    decompress: nodeClusterDecompressor,
  });
  if (!snapshot || readOnly) return { ...opened, hasTemporary: false };
  try {
    return { ...opened, store: await overlayOf(path, opened.store, temporaryFolder), hasTemporary: true };
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

/** Removes what a process has left that was killed in the moment between making a temporary image and taking its name away. */
export async function removeTemporaryImages(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => []))
    if (name.startsWith(TEMPORARY)) await rm(join(folder, name), { force: true });
}
