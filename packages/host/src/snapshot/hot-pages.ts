/**
 * The pages that a machine needs first when it goes on from a snapshot, as they are, side by side in one file beside it: they are read into the
 * machine's memory at once, and nothing has to be unpacked. Machines that go on and need others add them to the file.
 *
 *     "RFhot001"   32 bytes SHA-256 of what follows   u32 pages   16 bytes id of the snapshot, u32 x pages: numbers   zeroes to the next 4096
 *     the pages
 */

import { hash } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import type { Machine, OpenSnapshot } from '@ringfence/core';
import type { OpenStoredSnapshot } from './snapshot-store.ts';
import { SnapshotFolder } from './snapshot-folder.ts';

export const HOT_FILE = 'hot';
/** More pages are not worth it: 12 MiB. */
export const MAXIMUM_HOT_PAGES = 3072;

const MAGIC = 'RFhot001';
const DIGEST_BYTES = 32;
const ID_BYTES = 16;
const PAGES_AT = MAGIC.length + DIGEST_BYTES + 4;
const HEAD_BYTES = PAGES_AT + ID_BYTES;
const PAGE_SIZE = 4096;
const NONE = new Uint32Array(0);

/** Puts the pages into the memory of a blank machine; gives their numbers, none when there is no such file, or it is not sound. */
export function placeHotPages(machine: Pick<Machine, 'pages'>, snapshot: OpenStoredSnapshot): Uint32Array {
  const { manifest } = snapshot;
  const folder = new SnapshotFolder(snapshot.pathOf('.'));
  try {
    const size = folder.sizeOf(HOT_FILE);
    if (size === undefined || size < HEAD_BYTES) return NONE;
    const head = new Uint8Array(HEAD_BYTES);
    folder.read(HOT_FILE, 0, head);
    const count = new DataView(head.buffer).getUint32(PAGES_AT - 4, true);
    const start = startOf(count);
    if (text(head.subarray(0, MAGIC.length)) !== MAGIC || hex(head.subarray(PAGES_AT)) !== manifest.id) return NONE;
    if (count > MAXIMUM_HOT_PAGES || size !== start + count * PAGE_SIZE) return NONE;
    const whole = new Uint8Array(start - HEAD_BYTES);
    folder.read(HOT_FILE, HEAD_BYTES, whole);
    const numbers = new Uint32Array(whole.slice(0, 4 * count).buffer);
    // What the numbers say is believed only after the digest: until then the pages are nowhere in the guest.
    const bytes = new Uint8Array(count * PAGE_SIZE);
    folder.read(HOT_FILE, start, bytes);
    if (digestOf(numbers, bytes) !== hex(head.subarray(MAGIC.length, MAGIC.length + DIGEST_BYTES))) return NONE;
    machine.pages.place(numbers).set(bytes);
    return numbers;
  } catch {
    // It only makes things faster.
    return NONE;
  } finally {
    folder.close();
  }
}

/** Adds the pages that were loaded to those that were there, as long as there is room: those loaded first are needed first. */
export function keepHotPages(
  snapshot: Pick<OpenStoredSnapshot, 'manifest' | 'source' | 'pathOf'>,
  placed: Uint32Array,
): void {
  const { manifest, source } = snapshot;
  const more = source.loaded.slice(0, MAXIMUM_HOT_PAGES - placed.length);
  if (more.length === 0) return;
  const numbers = Uint32Array.from([...placed, ...more]).toSorted();
  const bytes = pagesOf(source, numbers);
  const start = startOf(numbers.length);
  const file = new Uint8Array(start + bytes.length);
  file.set(new TextEncoder().encode(MAGIC));
  file.set(Buffer.from(digestOf(numbers, bytes), 'hex'), MAGIC.length);
  new DataView(file.buffer).setUint32(PAGES_AT - 4, numbers.length, true);
  file.set(Buffer.from(manifest.id, 'hex'), PAGES_AT);
  file.set(new Uint8Array(numbers.buffer), HEAD_BYTES);
  file.set(bytes, start);
  const unfinished = snapshot.pathOf(`${HOT_FILE}.${process.pid}`);
  writeFileSync(unfinished, file, { mode: 0o600 });
  renameSync(unfinished, snapshot.pathOf(HOT_FILE));
}

function pagesOf(source: OpenSnapshot['source'], numbers: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(numbers.length * PAGE_SIZE);
  for (const [n, page] of numbers.entries()) source.load(page, bytes.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE));
  return bytes;
}

function startOf(count: number): number {
  return Math.ceil((HEAD_BYTES + 4 * count) / PAGE_SIZE) * PAGE_SIZE;
}

/** One hash of two parts, the second by its own hash: each is hashed at one go. */
function digestOf(numbers: Uint32Array, bytes: Uint8Array): string {
  return hash('sha256', Buffer.concat([new Uint8Array(numbers.buffer), Buffer.from(hash('sha256', bytes), 'hex')]));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
