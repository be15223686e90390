/**
 * What a machine needs first when it goes on from a snapshot, in one file beside it: pages, as they are, which are read into the machine's memory
 * at once, so that nothing has to be unpacked, and the instructions in them that were executed, decoded. Machines that go on and need more add to it.
 *
 *     "RFhot003"   u64 checksum of the list   u64 of the pages   u32 pages   u32 bytes of code   16 bytes id of the snapshot   64 bytes program   u32 pages of code   zeroes to 128
 *     the list:    u32 x pages: numbers   zeroes to the next 64   the code (kept-code.ts of core)   zeroes to the next 64
 *     the pages, from the next 4096 on
 *
 * Decoded code is that of the program which decoded it, by its fingerprint. It is made of the snapshot's pages, not of the machine's.
 */

import { renameSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import type { Machine, OpenSnapshot } from '@ringfence/core';
import type { OpenStoredSnapshot } from './snapshot-store.ts';
import { programFingerprint } from './program-fingerprint.ts';
import { SnapshotFolder } from './snapshot-folder.ts';

export const HOT_FILE = 'hot';
/** More pages are not worth it: 12 MiB. */
export const MAXIMUM_HOT_PAGES = 3072;
/** So many pages that were loaded beside those in the file, or decoded, are worth writing it again: one that is loaded takes a millisecond. */
const WORTH_WRITING = 2;
const WORTH_WRITING_CODE = 16;
/** More code has no room among the code pages beside those that it becomes (`codeRoom` of core): then none of it is kept. */
const MAXIMUM_CODE_BYTES = 8 * 1024 * 1024;
const MAXIMUM_CODE_PAGES = 1000;

const MAGIC = 'RFhot003';
const LIST_SUM_AT = 8;
const PAGES_SUM_AT = 16;
const COUNT_AT = 24;
const CODE_AT = 28;
const ID_AT = 32;
const ID_BYTES = 16;
const PROGRAM_AT = 48;
const PROGRAM_BYTES = 64;
const CODE_PAGES_AT = 112;
const HEAD_BYTES = 128;
const ALIGNMENT = 64;
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
  const folder = new SnapshotFolder(snapshot.pathOf('.'));
  try {
    return placeFrom(machine, snapshot, folder);
  } catch {
    // It only makes things faster.
    return NOTHING_PLACED;
  } finally {
    folder.close();
  }
}

function placeFrom(
  { pages }: Pick<Machine, 'pages'>,
  snapshot: OpenStoredSnapshot,
  folder: SnapshotFolder,
): PlacedPages {
  const size = folder.sizeOf(HOT_FILE);
  if (size === undefined || size < HEAD_BYTES) return NOTHING_PLACED;
  const head = new Uint8Array(HEAD_BYTES);
  folder.read(HOT_FILE, 0, head);
  const view = new DataView(head.buffer);
  const [count, codeBytes] = [view.getUint32(COUNT_AT, true), view.getUint32(CODE_AT, true)];
  const codePages = view.getUint32(CODE_PAGES_AT, true);
  const [pagesSum, listSum] = [view.getBigUint64(PAGES_SUM_AT, true), view.getBigUint64(LIST_SUM_AT, true)];
  if (Buffer.compare(headOf(snapshot, { count, codeBytes, codePages, listSum, pagesSum }), head) !== 0)
    return NOTHING_PLACED;
  if (count > MAXIMUM_HOT_PAGES || codeBytes > MAXIMUM_CODE_BYTES) return NOTHING_PLACED;
  const { codeAt, listBytes, pagesAt } = placesOf(count, codeBytes);
  if (size !== pagesAt + count * PAGE_SIZE) return NOTHING_PLACED;
  const list = pages.codeRoom(codePages, listBytes);
  if (list === undefined) return NOTHING_PLACED;
  try {
    folder.read(HOT_FILE, HEAD_BYTES, list);
    if (pages.checksum(0n, list) !== listSum) return NOTHING_PLACED;
    const numbers = new Uint32Array(list.slice(0, 4 * count).buffer);
    const placed = pages.place(numbers);
    try {
      folder.read(HOT_FILE, pagesAt, placed);
      if (pages.checksum(0n, placed) !== pagesSum) throw new Error('its pages are not what was written');
    } catch (error) {
      // Nobody has seen them: they come one by one.
      pages.lose([...numbers]);
      throw error;
    }
    return { pages: numbers, codePages: pages.placeCode(list.subarray(codeAt, codeAt + codeBytes)) };
  } finally {
    list.fill(0);
  }
}

/** Adds what was loaded, and decoded, to what was there, as long as there is room: what was loaded first is needed first. */
export function keepHotPages(
  machine: Pick<Machine, 'pages'>,
  snapshot: Pick<OpenStoredSnapshot, 'manifest' | 'source' | 'pathOf'>,
  placed: PlacedPages,
): void {
  const { source } = snapshot;
  const more = source.loaded.slice(0, MAXIMUM_HOT_PAGES - placed.pages.length);
  if (more.length < WORTH_WRITING && machine.pages.codePages - placed.codePages < WORTH_WRITING_CODE) return;
  const numbers = Uint32Array.from([...placed.pages, ...more]).toSorted();
  const pages = pagesOf(source, numbers);
  const positions = new Map(Array.from(numbers, (page, n) => [page, n]));
  const all = machine.pages.keepCode((page, into) => {
    const n = positions.get(page);
    if (n !== undefined) into.set(pages.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE));
    return n !== undefined;
  });
  const [allPages = 0] = new Uint32Array(all.buffer, 0, 1);
  const isKept = all.length <= MAXIMUM_CODE_BYTES && allPages <= MAXIMUM_CODE_PAGES;
  const [code, codePages] = isKept ? [all, allPages] : [new Uint8Array(0), 0];
  const { codeAt, listBytes, pagesAt } = placesOf(numbers.length, code.length);
  const file = new Uint8Array(pagesAt + pages.length);
  const list = file.subarray(HEAD_BYTES, HEAD_BYTES + listBytes);
  list.set(new Uint8Array(numbers.buffer));
  list.set(code, codeAt);
  file.set(pages, pagesAt);
  file.set(
    headOf(snapshot, {
      count: numbers.length,
      codeBytes: code.length,
      codePages,
      listSum: machine.pages.checksum(0n, list),
      pagesSum: machine.pages.checksum(0n, pages),
    }),
  );
  const unfinished = snapshot.pathOf(`${HOT_FILE}.${process.pid}`);
  writeFileSync(unfinished, file, { mode: 0o600 });
  renameSync(unfinished, snapshot.pathOf(HOT_FILE));
}

interface Head {
  readonly count: number;
  readonly codeBytes: number;
  readonly codePages: number;
  readonly listSum: bigint;
  readonly pagesSum: bigint;
}

function headOf({ manifest }: Pick<OpenStoredSnapshot, 'manifest'>, said: Head): Uint8Array {
  const { count, codeBytes, codePages, listSum, pagesSum } = said;
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(MAGIC, 'latin1');
  head.writeBigUInt64LE(listSum, LIST_SUM_AT);
  head.writeBigUInt64LE(pagesSum, PAGES_SUM_AT);
  head.writeUInt32LE(count, COUNT_AT);
  head.writeUInt32LE(codeBytes, CODE_AT);
  head.writeUInt32LE(codePages, CODE_PAGES_AT);
  head.write(manifest.id, ID_AT, ID_BYTES, 'hex');
  head.write(programFingerprint(), PROGRAM_AT, PROGRAM_BYTES, 'latin1');
  return head;
}

/** Where the code begins in the list, how long that is, and where the pages begin in the file. */
function placesOf(
  count: number,
  codeBytes: number,
): { readonly codeAt: number; readonly listBytes: number; readonly pagesAt: number } {
  const aligned = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;
  const codeAt = aligned(4 * count, ALIGNMENT);
  const listBytes = aligned(codeAt + codeBytes, ALIGNMENT);
  return { codeAt, listBytes, pagesAt: aligned(HEAD_BYTES + listBytes, PAGE_SIZE) };
}

function pagesOf(source: OpenSnapshot['source'], numbers: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(numbers.length * PAGE_SIZE);
  for (const [n, page] of numbers.entries()) source.load(page, bytes.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE));
  return bytes;
}
