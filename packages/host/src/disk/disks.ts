/**
 * Opens the disks of a machine, all or none.
 *
 *     FILE  ->  DiskFile, locked  ->  raw or qcow2, with what stands behind it  ->  with `snapshot` a temporary image in front
 */

import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import {
  BlockStoreError,
  openDisk,
  openOverlay,
  type BlockStore,
  type ImageFile,
  type ImageFiles,
  type MachineDisk,
} from '@ringfence/core';
import { HostError } from '../failure.ts';
import { nodeClusterDecompressor } from '../machine/ports.ts';
import { DiskFile, fileIdentity } from './disk-file.ts';
import type { CacheMode, DiskSpec } from './disk-spec.ts';

/** PCI has 31 slots, and the machine has other devices there; virtio-mmio has 8. */
const MAXIMUM_DISKS = { pci: 28, mmio: 8 } as const;

export interface OpenDisks {
  readonly disks: readonly MachineDisk[];
  /** What the user should know of them. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/** The guest finds those on PCI as /dev/vda, /dev/vdb ... in this order; their serial numbers are disk0, disk1 ... */
export async function openDisks(specs: readonly DiskSpec[]): Promise<OpenDisks> {
  const disks: MachineDisk[] = [];
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
      const opened = await openOne(spec);
      notes.push(...opened.notes);
      const cache = spec.cache === 'writethrough' ? 'writethrough' : 'writeback';
      disks.push({ store: opened.store, serial: `disk${index}`, cache, bus: spec.bus });
    }
  } catch (error) {
    await close();
    throw error instanceof BlockStoreError ? withAdvice(error) : error;
  }
  return { disks, notes, close };
}

async function openOne(spec: DiskSpec): Promise<{ readonly store: BlockStore; readonly notes: readonly string[] }> {
  const { path, format, readOnly, snapshot, cache } = spec;
  const opened = await openDisk(new NodeImageFiles(cache), path, {
    format,
    readOnly: readOnly || snapshot,
    decompress: nodeClusterDecompressor,
  });
  if (!snapshot || readOnly) return opened;
  try {
    const file = await DiskFile.temporary(join(tmpdir(), `ringfence-snapshot-${randomUUID()}`), `snapshot of ${path}`);
    return { store: await openOverlay(file, opened.store), notes: opened.notes };
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
