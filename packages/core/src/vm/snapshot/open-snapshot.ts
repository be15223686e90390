/**
 * A snapshot that was found sound, and how a machine goes on from it. Everything is checked before the machine is touched, so that a broken
 * snapshot leaves nothing behind; pages come when they are touched, and each is checked again then.
 */

import type { PageSource } from '../../base/page-source.ts';
import { SavedStateError } from '../../base/saved.ts';
import { Machine } from '../../machine/machine.ts';
import {
  INDEX_FILE,
  MANIFEST_FILE,
  PAGES_FILE,
  type PackDescription,
  type SnapshotManifest,
  readManifest,
} from './manifest.ts';
import { joinedSums, ownFrames, type PageIndex, readPageIndex } from './page-index.ts';
import type { SnapshotCodec, SnapshotFiles } from './ports.ts';
import { savedFromJson } from './saved-json.ts';
import { SnapshotError } from './snapshot-error.ts';
import { StoredPages } from './stored-pages.ts';

/** A longer manifest is no manifest. */
const MAXIMUM_MANIFEST_BYTES = 256 * 1024 * 1024;
/** Bytes of a pack that are hashed at a time. */
const HASHED_BYTES = 1024 * 1024;
const FRAMES_AT_ONCE = 8;
/** Of a guest of 4 GiB, and twice that. */
const MAXIMUM_INDEX_BYTES = 64 * 1024 * 1024;

export interface OpenSnapshot extends Restorable {
  readonly index: PageIndex;
  readonly source: StoredPages;
}

/** What a machine goes on from. */
export interface Restorable {
  readonly manifest: SnapshotManifest;
  readonly source: PageSource;
  /** The pages that are stored, neighbours together. */
  readonly runs: () => Iterable<readonly [first: number, count: number]>;
}

export interface OpenOptions {
  readonly codec: SnapshotCodec;
  /** The files of a snapshot that this one builds on; undefined when there is none of that id. */
  readonly parent: (id: string) => SnapshotFiles | undefined;
  /** Whether all pages are read and compared now, and not only when they are touched. */
  readonly verify: boolean;
  /** What another thread makes the same page source of. */
  readonly shared?: unknown;
}

/** Opens a snapshot and checks it; throws a SnapshotError with the reason when it is not to be used. */
export function openSnapshot(files: SnapshotFiles, options: OpenOptions): OpenSnapshot {
  const { codec } = options;
  const manifest = readManifest(readWhole(files, MANIFEST_FILE, MAXIMUM_MANIFEST_BYTES), codec);
  const layout = codec.digest(new TextEncoder().encode(Machine.stateLayout));
  if (manifest.stateLayout !== layout)
    throw new SnapshotError('version', `it was made by another version of Ringfence (${manifest.createdBy})`);
  const { index: said, packs, guestPages } = manifest.memory;
  const bytes = readWhole(files, INDEX_FILE, said.bytes);
  if (bytes.length !== said.bytes || codec.digest(bytes) !== said.sha256)
    throw new SnapshotError('broken', 'its index of pages is not what was written');
  const index = readPageIndex(bytes, guestPages, packs.map((pack) => pack.bytes)); // prettier-ignore
  const packFiles = packs.map((pack, n) => openPack(n === 0 ? files : options.parent(pack.snapshot), pack));
  if (options.verify)
    for (const [n, pack] of packs.entries()) {
      const steps = verifyPack(packFiles[n], pack, codec);
      while (steps.next().done !== true);
    }
  const read = (pack: number, offsetBytes: number, into: Uint8Array): void => {
    packFiles[pack]?.read(PAGES_FILE, offsetBytes, into);
  };
  return {
    manifest,
    index,
    source: new StoredPages(index, read, codec, options.shared),
    runs: () => runsOf(index.pages),
  };
}

/**
 * Lets a machine that was made alike, blank, go on from a snapshot: afterwards it can be run. Throws a SnapshotError when it is of another
 * make; the machine is not to be used then. `placePages` may give pages memory before their turn comes.
 */
export function restoreInto(
  machine: Machine,
  { manifest, source, runs }: Restorable,
  placePages: () => unknown = () => {},
): void {
  const { memoryBytes, harts } = manifest.machine;
  const { guestPages } = manifest.memory;
  if (memoryBytes !== machine.memoryBytes || harts !== machine.hartCount || guestPages !== machine.pages.count)
    throw new SnapshotError(
      'other-machine',
      `it is of a machine with ${memoryBytes} bytes of memory and ${harts} harts, and this one has ${machine.memoryBytes} and ${machine.hartCount}`,
    );
  machine.pages.source = source;
  for (const [first, count] of runs()) machine.pages.setElsewhere(first, count);
  placePages();
  try {
    machine.restore(savedFromJson(manifest.state));
  } catch (error) {
    if (!(error instanceof SavedStateError)) throw new SnapshotError('broken', 'its state cannot be read', error);
    throw new SnapshotError('other-machine', `it does not fit this machine: ${error.message}`, error);
  }
  machine.resume();
}

function readWhole(files: SnapshotFiles, file: string, maximumBytes: number): Uint8Array {
  const bytes = files.sizeOf(file);
  if (bytes === undefined) throw new SnapshotError('broken', `its file "${file}" is missing`);
  if (bytes > maximumBytes) throw new SnapshotError('broken', `its file "${file}" is too long`);
  const content = new Uint8Array(bytes);
  readOrRefuse(files, file, 0, content);
  return content;
}

function readOrRefuse(files: SnapshotFiles, file: string, offsetBytes: number, into: Uint8Array): void {
  try {
    files.read(file, offsetBytes, into);
  } catch (error) {
    throw new SnapshotError('broken', `its file "${file}" cannot be read`, error);
  }
}

function openPack(files: SnapshotFiles | undefined, { snapshot, bytes }: PackDescription): SnapshotFiles {
  if (files === undefined)
    throw new SnapshotError('missing-parent', `it builds on the snapshot ${snapshot}, which is not there`);
  if (bytes > 0 && files.sizeOf(PAGES_FILE) !== bytes)
    throw new SnapshotError('broken', `the pages of the snapshot ${snapshot} are not all there`);
  return files;
}

/**
 * Reads all of a pack, so much at a time that others may have the thread between two steps; throws a SnapshotError when it is not what was written. `files` are
 * those of the snapshot that it is of.
 */
export function* verifyPack(
  files: SnapshotFiles | undefined,
  { snapshot, bytes, sha256, of }: PackDescription,
  codec: Pick<SnapshotCodec, 'digest' | 'checksum' | 'hash'>,
): Generator<void, void, undefined> {
  if (files === undefined || bytes === 0) return;
  const changed = new SnapshotError('broken', `the pages of the snapshot ${snapshot} are not what was written`);
  const part = partsOf(files);
  if (of === undefined) {
    const hash = codec.hash();
    for (let at = 0; at < bytes; at += HASHED_BYTES) {
      hash.update(part(at, Math.min(HASHED_BYTES, bytes - at)));
      yield;
    }
    if (hash.digest() !== sha256) throw changed;
    return;
  }
  // What the index says of the frames is believed when it amounts to what the manifest says.
  const frames = ownFrames(readWhole(files, INDEX_FILE, MAXIMUM_INDEX_BYTES), bytes);
  if (codec.digest(joinedSums(frames)) !== sha256) throw changed;
  for (const [n, { offsetBytes, bytes: length, sum }] of frames.entries()) {
    const packed = part(offsetBytes, length);
    if ((typeof sum === 'number' ? codec.checksum(packed) : codec.digest(packed)) !== sum) throw changed;
    if (n % FRAMES_AT_ONCE === FRAMES_AT_ONCE - 1) yield;
  }
}

/** Reads parts of a file of pages, each into the memory of the one before: new memory for each would cost as much as reading. */
function partsOf(files: SnapshotFiles): (at: number, bytes: number) => Uint8Array {
  let memory = new Uint8Array(0);
  return (at, bytes) => {
    if (memory.length < bytes) memory = new Uint8Array(Math.max(bytes, 2 * memory.length));
    const part = memory.subarray(0, bytes);
    readOrRefuse(files, PAGES_FILE, at, part);
    return part;
  };
}

/** Neighbours together: [first, count]. */
function* runsOf(pages: Uint32Array): Generator<readonly [number, number], void, undefined> {
  let [first, count] = [0, 0];
  for (const page of pages) {
    if (page === first + count && count > 0) count++;
    else {
      if (count > 0) yield [first, count];
      [first, count] = [page, 1];
    }
  }
  if (count > 0) yield [first, count];
}
