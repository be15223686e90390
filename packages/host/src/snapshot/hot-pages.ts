/**
 * What a machine needs first when it goes on from a snapshot, in one file beside it: pages, as they are, which are read into the machine's memory
 * at once, so that nothing has to be unpacked, and the instructions in them that were executed, decoded. Machines that go on and need more add to it.
 *
 *     "RFhot002"   32 bytes SHA-256 of what follows   u32 pages   u32 bytes of code   16 bytes id of the snapshot, u32 x pages: numbers   zeroes to the next 4096
 *     the pages   the code (kept-code.ts of core)
 *
 * Decoded code is that of the program which decoded it: the digest is of its fingerprint too. It is made of the snapshot's pages, not of the machine's.
 */

import { hash } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import type { Machine, OpenSnapshot } from '@ringfence/core';
import type { OpenStoredSnapshot } from './snapshot-store.ts';
import { programFingerprint } from './program-fingerprint.ts';
import { SnapshotFolder } from './snapshot-folder.ts';

export const HOT_FILE = 'hot';
/** More pages are not worth it: 12 MiB. */
export const MAXIMUM_HOT_PAGES = 3072;
/** So many pages that were loaded, or decoded, beside those in the file are worth writing it again. */
const WORTH_WRITING = 16;
/** More code is none of a machine's: all its code pages, full. */
const MAXIMUM_CODE_BYTES = 48 * 1024 * 1024;

const MAGIC = 'RFhot002';
const DIGEST_BYTES = 32;
const ID_BYTES = 16;
const PAGES_AT = MAGIC.length + DIGEST_BYTES;
const ID_AT = PAGES_AT + 8;
const HEAD_BYTES = ID_AT + ID_BYTES;
const PAGE_SIZE = 4096;

/** What a machine had from the beginning. */
export interface PlacedPages {
  readonly pages: Uint32Array;
  /** How many of them were decoded. */
  readonly codePages: number;
}

export const NOTHING_PLACED: PlacedPages = { pages: new Uint32Array(0), codePages: 0 };

/** Puts it into the memory of a blank machine: nothing when there is no such file, or it is not sound. */
export function placeHotPages(machine: Pick<Machine, 'pages'>, snapshot: OpenStoredSnapshot): PlacedPages {
  const { manifest } = snapshot;
  const folder = new SnapshotFolder(snapshot.pathOf('.'));
  try {
    const size = folder.sizeOf(HOT_FILE);
    if (size === undefined || size < HEAD_BYTES) return NOTHING_PLACED;
    const head = new Uint8Array(HEAD_BYTES);
    folder.read(HOT_FILE, 0, head);
    const view = new DataView(head.buffer);
    const [count, codeBytes] = [view.getUint32(PAGES_AT, true), view.getUint32(PAGES_AT + 4, true)];
    const start = startOf(count);
    if (text(head.subarray(0, MAGIC.length)) !== MAGIC || hex(head.subarray(ID_AT)) !== manifest.id)
      return NOTHING_PLACED;
    if (count > MAXIMUM_HOT_PAGES || codeBytes > MAXIMUM_CODE_BYTES) return NOTHING_PLACED;
    if (size !== start + count * PAGE_SIZE + codeBytes) return NOTHING_PLACED;
    const whole = new Uint8Array(start - HEAD_BYTES);
    folder.read(HOT_FILE, HEAD_BYTES, whole);
    const numbers = new Uint32Array(whole.slice(0, 4 * count).buffer);
    // What the numbers say is believed only after the digest: until then the pages are nowhere in the guest.
    const bytes = new Uint8Array(count * PAGE_SIZE + codeBytes);
    folder.read(HOT_FILE, start, bytes);
    if (digestOf(numbers, bytes) !== hex(head.subarray(MAGIC.length, PAGES_AT))) return NOTHING_PLACED;
    machine.pages.place(numbers).set(bytes.subarray(0, count * PAGE_SIZE));
    return { pages: numbers, codePages: machine.pages.placeCode(bytes.subarray(count * PAGE_SIZE)) };
  } catch {
    // It only makes things faster.
    return NOTHING_PLACED;
  } finally {
    folder.close();
  }
}

/** Adds what was loaded, and decoded, to what was there, as long as there is room: what was loaded first is needed first. */
export function keepHotPages(
  machine: Pick<Machine, 'pages'>,
  snapshot: Pick<OpenStoredSnapshot, 'manifest' | 'source' | 'pathOf'>,
  placed: PlacedPages,
): void {
  const { manifest, source } = snapshot;
  const more = source.loaded.slice(0, MAXIMUM_HOT_PAGES - placed.pages.length);
  if (more.length < WORTH_WRITING && machine.pages.codePages - placed.codePages < WORTH_WRITING) return;
  const numbers = Uint32Array.from([...placed.pages, ...more]).toSorted();
  const pages = pagesOf(source, numbers);
  const positions = new Map(Array.from(numbers, (page, n) => [page, n]));
  const code = machine.pages.keepCode((page, into) => {
    const n = positions.get(page);
    if (n !== undefined) into.set(pages.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE));
    return n !== undefined;
  });
  const bytes = new Uint8Array(pages.length + code.length);
  bytes.set(pages);
  bytes.set(code, pages.length);
  const start = startOf(numbers.length);
  const file = new Uint8Array(start + bytes.length);
  file.set(new TextEncoder().encode(MAGIC));
  file.set(Buffer.from(digestOf(numbers, bytes), 'hex'), MAGIC.length);
  new DataView(file.buffer).setUint32(PAGES_AT, numbers.length, true);
  new DataView(file.buffer).setUint32(PAGES_AT + 4, code.length, true);
  file.set(Buffer.from(manifest.id, 'hex'), ID_AT);
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

/** One hash of all: the bytes, which are most of it, by their own hash, each hashed at one go. */
function digestOf(numbers: Uint32Array, bytes: Uint8Array): string {
  const program = Buffer.from(programFingerprint());
  return hash(
    'sha256',
    Buffer.concat([program, new Uint8Array(numbers.buffer), Buffer.from(hash('sha256', bytes), 'hex')]),
  );
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
