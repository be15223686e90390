/**
 * Takes a snapshot of a machine that runs:
 *
 *     pause ── state of harts and devices, disks, pages protected ── go on ── pages one by one, each as it was ── index, manifest
 *     '──────────────── the guest stands still ────────────────'
 */

import type { Clock } from '../../base/ports.ts';
import type { Saved } from '../../base/saved.ts';
import { Machine } from '../../machine/machine.ts';
import type { MachineRunner } from '../runner.ts';
import {
  type DiskPoint,
  INDEX_FILE,
  MANIFEST_FILE,
  type PackDescription,
  type SnapshotManifest,
  writeManifest,
} from './manifest.ts';
import type { OpenSnapshot } from './open-snapshot.ts';
import { MAXIMUM_PACKS, writePageIndex } from './page-index.ts';
import { PageWriter, type WrittenPages } from './page-writer.ts';
import type { SnapshotCodec, SnapshotSink } from './ports.ts';
import { type Json, savedToJson } from './saved-json.ts';
import { SnapshotError } from './snapshot-error.ts';

export interface SnapshotRequest {
  readonly machine: Machine;
  readonly runner: Pick<MachineRunner, 'pause' | 'resume' | 'isPaused'>;
  readonly clock: Pick<Clock, 'monotonicNs'>;
  readonly codec: SnapshotCodec;
  readonly sink: SnapshotSink;
  /** 32 hexadecimal digits that nobody else has. */
  readonly id: string;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly about?: SnapshotManifest['about'];
  /** Pages that this one has, too, are not written again. */
  readonly parent?: OpenSnapshot | undefined;
  /** What has a point made of the machine's disks. */
  readonly disks?: PointedDisks | undefined;
}

/** The disks of a machine of which a snapshot is taken. */
export interface PointedDisks {
  /** This is the moment: no request is under way, and what is written from now on is no part of it. */
  hold(): void;
  /** Writes them beside the manifest. Once, after `hold`. */
  write(): Promise<readonly DiskPoint[]>;
  /** What was held is let go, written or not. */
  release(): Promise<void>;
}

export interface TakenSnapshot {
  readonly manifest: SnapshotManifest;
  /** How long the guest stood still, in ns: until the devices were quiet, and for the rest. */
  readonly pausedNs: { readonly quiet: number; readonly held: number };
  /** Pages looked at, and those that were written because no parent has them. */
  readonly pages: { readonly taken: number; readonly own: number };
}

/** The moment of a snapshot. The machine runs on; its pages are protected until `written` or `dropped`. */
export interface SnapshotPoint {
  /** Writes it all; the last thing is the manifest. Once. */
  write(): Promise<TakenSnapshot>;
  /** It is not wanted any more. */
  drop(): Promise<void>;
}

export async function takeSnapshot(request: SnapshotRequest): Promise<TakenSnapshot> {
  const point = await holdPoint(request);
  return point.write();
}

/** Makes the point; rejects with a SnapshotError when the machine does not run. */
export async function holdPoint(request: SnapshotRequest): Promise<SnapshotPoint> {
  const { machine, runner, clock, disks, parent } = request;
  const [packs] = [1 + (parent?.manifest.memory.packs.length ?? 0)];
  if (packs > MAXIMUM_PACKS)
    throw new SnapshotError(
      'too-many',
      `it would build on ${packs - 1} snapshots, and ${MAXIMUM_PACKS - 1} are the most`,
    );
  checkAlone(machine);
  const startNs = clock.monotonicNs();
  const wasPaused = runner.isPaused;
  if (!wasPaused && !(await runner.pause())) throw new SnapshotError('not-now', 'the machine does not run');
  const quietNs = clock.monotonicNs();
  let state: Saved;
  try {
    // Another one may have come as the machine was being paused.
    checkAlone(machine);
    state = machine.save();
    machine.pages.protect();
    disks?.hold();
  } finally {
    if (!wasPaused) runner.resume();
  }
  const pausedNs = { quiet: quietNs - startNs, held: clock.monotonicNs() - quietNs };
  return {
    write: async () => {
      try {
        return await write(request, state, pausedNs);
      } finally {
        machine.pages.unprotect();
        await disks?.release();
      }
    },
    drop: async () => {
      machine.pages.unprotect();
      await disks?.release();
    },
  };
}

function checkAlone({ pages }: Machine): void {
  if (pages.isProtected) throw new SnapshotError('not-now', 'another snapshot of this machine is being taken');
}

async function write(
  request: SnapshotRequest,
  state: Saved,
  pausedNs: TakenSnapshot['pausedNs'],
): Promise<TakenSnapshot> {
  const { machine, codec, sink, parent, id } = request;
  const isSource = parent !== undefined && machine.pages.source === parent.source;
  const writer = new PageWriter(machine.pages, sink, codec, parent && { index: parent.index, isSource }, id);
  const written = await writer.write();
  const index = writePageIndex(written.index);
  await sink.append(INDEX_FILE, index);
  const manifest: SnapshotManifest = {
    id,
    createdBy: request.createdBy,
    createdAt: request.createdAt,
    stateLayout: codec.digest(new TextEncoder().encode(Machine.stateLayout)),
    parent: parent?.manifest.id ?? null,
    machine: { memoryBytes: machine.memoryBytes, harts: machine.hartCount },
    memory: {
      guestPages: written.index.guestPages,
      storedPages: written.index.pages.length,
      index: { bytes: index.length, sha256: codec.digest(index) },
      packs: packsOf(id, written, parent),
    },
    disks: (await request.disks?.write()) ?? [],
    about: request.about ?? {},
    state: savedToJson(state) satisfies Json,
  };
  await sink.append(MANIFEST_FILE, writeManifest(manifest, codec));
  return { manifest, pausedNs, pages: written.statistics };
}

function packsOf(id: string, { pack }: WrittenPages, parent: OpenSnapshot | undefined): PackDescription[] {
  return [{ snapshot: id, ...pack, of: 'frames' }, ...(parent?.manifest.memory.packs ?? [])];
}
