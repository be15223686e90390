/**
 * Decoded code as plain bytes, for another guest that has the same bytes in the same pages: what was executed once need not be decoded again. Records
 * belong to the program that made them (handlers are positions in its lists) and to the bytes they were made of; whoever keeps them knows both.
 *
 *     u32 pages   u32 records   for each page: u32 number, u32 how many records, u64 its lines of code   u16 x records: slots   zeroes to the next 16   records
 *
 * Only of guests that one thread executes: each pCPU has records of its own.
 */

import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import { SPECIAL } from './handlers.ts';
import { frameOf } from './frames.ts';
import type { Guest } from './guest.ts';
import {
  CODE_PAGE_BYTES,
  CODE_PAGE_FRAME,
  FETCH_TLB_ENTRIES,
  LINE_BITS,
  PAGE,
  RECORD,
  RECORDS_PER_PAGE,
  TLB_ENTRY_BYTES,
  TLB_FETCH,
} from './layout.ts';
import { type CodeMemory, decodeRun } from './predecode.ts';

const HEAD_WORDS = 2;
const PAGE_WORDS = 4;
const RECORD_WORDS = RECORD.BYTES / 4;

/**
 * What is decoded of the guest's code, made anew of the bytes that `bytesOf` gives: false for a page that it does not know. So it is sound for
 * those bytes, whatever the guest has written there since.
 */
export function keepCode(guest: Guest, bytesOf: (page: number, into: Uint8Array) => boolean): Uint8Array {
  const scratch = scratchMemory();
  const made: DecodedPage[] = [];
  for (let page = 0; page < guest.pages && guest.domain.words === undefined; page++) {
    if (!hasRecords(guest, page) || !bytesOf(page, scratch.u8.subarray(0, PAGE_SIZE))) continue;
    const decoded = decodedPage(scratch, page, executedSlots(guest, page));
    if (decoded.slots.length > 0) made.push(decoded);
  }
  return packed(made);
}

/**
 * Pages that harts with these bases have executed since their TLBs were cleared: they are in their fetch TLBs, but for those that others of the same place
 * there have taken the place of.
 */
export function executedLately(guest: Guest, bases: readonly number[]): number[] {
  const { u32, layout, frames, words } = guest.domain;
  const pages = new Set<number>();
  if (words !== undefined) return [];
  for (const base of bases)
    for (
      let entry = base + TLB_FETCH;
      entry < base + TLB_FETCH + FETCH_TLB_ENTRIES * TLB_ENTRY_BYTES;
      entry += TLB_ENTRY_BYTES
    ) {
      const records = u32[(entry + 8) >>> 2] ?? 0;
      const number = (records - layout.codeBase) / CODE_PAGE_BYTES;
      if (!Number.isInteger(number) || number < 0 || number >= layout.codePages) continue;
      const frame = (u32[(records + CODE_PAGE_FRAME) >>> 2] ?? 0) << PAGE_SHIFT;
      const page = frames.owner(frame >>> PAGE_SHIFT) - (guest.pageMap >>> 2);
      if (page >= 0 && page < guest.pages && recordsOfPage(guest, page) === records) pages.add(page);
    }
  return [...pages];
}

/** Of a page that is decoded, at which of its half words instructions begin that were. */
export function executedSlots(guest: Guest, page: number): number[] {
  const { u16 } = guest.domain;
  const known = recordsOfPage(guest, page);
  const slots: number[] = [];
  for (let slot = 0; slot < RECORDS_PER_PAGE && known !== 0; slot++)
    if (u16[(known + slot * RECORD.BYTES) >>> 1] !== SPECIAL.decode) slots.push(slot);
  return slots;
}

/** Decodes what pages of a guest that has not run yet hold, where instructions begin there; gives of how many pages. */
export function decodeAhead(guest: Guest, pages: readonly ExecutedPage[]): number {
  const { domain } = guest;
  const scratch = scratchMemory();
  const made: DecodedPage[] = [];
  for (const { page, slots } of pages) {
    const entry = page < guest.pages ? (domain.u32[(guest.pageMap >>> 2) + page] ?? 0) : 0;
    if ((entry & PAGE.WRITABLE) === 0 || recordsOfPage(guest, page) !== 0) continue;
    const host = guest.host(page, false);
    scratch.u8.set(domain.u8.subarray(host, host + PAGE_SIZE));
    const decoded = decodedPage(scratch, page, slots);
    if (decoded.slots.length > 0) made.push(decoded);
  }
  return placeCode(guest, packed(made));
}

/** A page, and at which of its half words instructions begin that somebody has executed. */
export interface ExecutedPage {
  readonly page: number;
  readonly slots: readonly number[];
}

interface DecodedPage extends ExecutedPage {
  readonly records: Uint32Array;
}

/** Whether something of the page is decoded. */
export function hasRecords(guest: Guest, page: number): boolean {
  return recordsOfPage(guest, page) !== 0;
}

/** Where the records of a page are; 0 when it has none. */
function recordsOfPage({ domain: { u32, layout }, pageMap }: Guest, page: number): number {
  const entry = u32[(pageMap >>> 2) + page] ?? 0;
  return entry & PAGE.PRESENT ? (u32[(layout.codeMap >>> 2) + (frameOf(entry) >>> PAGE_SHIFT)] ?? 0) : 0;
}

/** Of the page whose bytes are in `scratch`. More may be decoded than was asked for. */
function decodedPage(scratch: ScratchMemory, page: number, wanted: readonly number[]): DecodedPage {
  scratch.u8.fill(0, PAGE_SIZE);
  for (const slot of wanted)
    if (scratch.u16[(PAGE_SIZE + slot * RECORD.BYTES) >>> 1] === SPECIAL.decode) decodeRun(scratch, PAGE_SIZE, 0, slot);
  const slots: number[] = [];
  for (let slot = 0; slot < RECORDS_PER_PAGE; slot++)
    if (scratch.u16[(PAGE_SIZE + slot * RECORD.BYTES) >>> 1] !== SPECIAL.decode) slots.push(slot);
  const records = new Uint32Array(slots.length * RECORD_WORDS);
  for (const [n, slot] of slots.entries()) {
    const at = (PAGE_SIZE + slot * RECORD.BYTES) >>> 2;
    records.set(scratch.u32.subarray(at, at + RECORD_WORDS), n * RECORD_WORDS);
  }
  return { page, slots, records };
}

/** Room in the guest's memory domain for what was kept of so many pages, to be placed from there; undefined when there is none. */
export function codeRoom({ domain }: Guest, pages: number, bytes: number): Uint8Array | undefined {
  return domain.codeRoom(pages, bytes);
}

/**
 * Gives the pages of a guest that has not run yet the records that were kept of them; gives how many pages. Only of pages that hold the bytes which
 * `keepCode` was given. Pages without memory are passed over. What lies in `codeRoom` is zeroed then.
 */
export function placeCode(guest: Guest, code: Uint8Array): number {
  const { domain } = guest;
  const pages = pagesOf(code);
  if (pages === undefined || domain.words !== undefined) return 0;
  const isThere = code.buffer === domain.memory.buffer;
  const room = isThere ? code : codeRoom(guest, pages, code.length);
  if (room === undefined) return 0;
  if (!isThere) room.set(code);
  try {
    return placeFrom(guest, room.byteOffset, pages);
  } finally {
    room.fill(0);
  }
}

function placeFrom({ domain, pageMap, pages: guestPages }: Guest, start: number, pages: number): number {
  const { u32, blocks, layout } = domain;
  const head = start >>> 2;
  const places = placesOf(pages, u32[head + 1] ?? 0);
  let [slots, records, placed] = [start + places.slotsAt, start + places.recordsAt, 0];
  for (let n = 0; n < pages; n++) {
    const at = head + HEAD_WORDS + n * PAGE_WORDS;
    const [page = 0, count = 0] = [u32[at], u32[at + 1]];
    const slot = (pageMap >>> 2) + page;
    const entry = page < guestPages ? (u32[slot] ?? 0) : 0;
    if (entry & PAGE.WRITABLE && placed < layout.codePages) {
      // Nobody has it in a write TLB yet, so it need not be looked for there.
      u32[slot] = (entry | PAGE.WATCHED) >>> 0;
      const frame = frameOf(entry) >>> PAGE_SHIFT;
      blocks?.placeRecords(domain.codePage(frame), slots, records, count);
      domain.watchLines(frame, u32[at + 2] ?? 0, u32[at + 3] ?? 0);
      placed++;
    }
    slots += 2 * count;
    records += RECORD.BYTES * count;
  }
  return placed;
}

/** Of the bytes of a page that its records are of, the lines: bits, the first 32 and the others. An instruction of four bytes may reach into the next one. */
function linesOf(slots: readonly number[]): readonly [low: number, high: number] {
  const lines: [number, number] = [0, 0];
  for (const slot of slots)
    for (let line = (2 * slot) >>> LINE_BITS; line <= Math.min(2 * slot + 3, PAGE_SIZE - 1) >>> LINE_BITS; line++)
      lines[line >>> 5] = ((lines[line >>> 5] ?? 0) | (1 << (line & 31))) >>> 0;
  return lines;
}

function packed(made: readonly DecodedPage[]): Uint8Array {
  const total = made.reduce((sum, { slots }) => sum + slots.length, 0);
  const { slotsAt, recordsAt, bytes } = placesOf(made.length, total);
  const code = new Uint8Array(bytes);
  const words = new Uint32Array(code.buffer);
  words.set([made.length, total]);
  let at = 0;
  for (const [n, { page, slots, records }] of made.entries()) {
    words.set([page, slots.length, ...linesOf(slots)], HEAD_WORDS + n * PAGE_WORDS);
    new Uint16Array(code.buffer, slotsAt + 2 * at, slots.length).set(slots);
    words.set(records, recordsAt / 4 + at * RECORD_WORDS);
    at += slots.length;
  }
  return code;
}

/** Of how many pages it is, which begins where words may; undefined where its parts do not fit one another. */
function pagesOf({ buffer, byteOffset, length }: Uint8Array): number | undefined {
  if (length < 4 * HEAD_WORDS) return undefined;
  const [pages = 0, total = 0] = new Uint32Array(buffer, byteOffset, HEAD_WORDS);
  if (placesOf(pages, total).bytes !== length) return undefined;
  const heads = new Uint32Array(buffer, byteOffset + 4 * HEAD_WORDS, pages * PAGE_WORDS);
  let records = 0;
  for (let n = 0; n < pages; n++) records += heads[n * PAGE_WORDS + 1] ?? 0;
  return records === total ? pages : undefined;
}

function placesOf(
  pages: number,
  records: number,
): { readonly slotsAt: number; readonly recordsAt: number; readonly bytes: number } {
  const slotsAt = 4 * (HEAD_WORDS + PAGE_WORDS * pages);
  const recordsAt = Math.ceil((slotsAt + 2 * records) / RECORD.BYTES) * RECORD.BYTES;
  return { slotsAt, recordsAt, bytes: recordsAt + records * RECORD.BYTES };
}

/** A page of code, and behind it room for its records. */
type ScratchMemory = CodeMemory & { readonly u32: Uint32Array };

function scratchMemory(): ScratchMemory {
  const buffer = new ArrayBuffer(PAGE_SIZE + CODE_PAGE_BYTES);
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
  };
}
