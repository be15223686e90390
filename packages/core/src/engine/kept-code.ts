/**
 * Decoded code as plain bytes, for another guest that has the same bytes in the same pages: what was executed once need not be decoded again. Records
 * belong to the program that made them (handlers are positions in its lists) and to the bytes they were made of; whoever keeps them knows both.
 *
 *     u32 pages   u32 records   u32 x pages: numbers   u32 x pages: how many records   u16 x records: slots   zeroes to the next 16   records
 *
 * Only of guests that one thread executes: each pCPU has records of its own.
 */

import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import { SPECIAL } from './handlers.ts';
import { frameOf } from './frames.ts';
import type { Guest } from './guest.ts';
import { CODE_PAGE_BYTES, LINE_BITS, PAGE, RECORD, RECORDS_PER_PAGE } from './layout.ts';
import { type CodeMemory, decodeRun } from './predecode.ts';

const HEAD_WORDS = 2;
const RECORD_WORDS = RECORD.BYTES / 4;

/**
 * What is decoded of the guest's code, made anew of the bytes that `bytesOf` gives: false for a page that it does not know. So it is sound for
 * those bytes, whatever the guest has written there since.
 */
export function keepCode(guest: Guest, bytesOf: (page: number, into: Uint8Array) => boolean): Uint8Array {
  const { u16, u32, layout, words } = guest.domain;
  const scratch = scratchMemory();
  const made: { page: number; slots: number[]; records: Uint32Array }[] = [];
  for (let page = 0; page < guest.pages && words === undefined; page++) {
    const entry = u32[(guest.pageMap >>> 2) + page] ?? 0;
    const known = entry & PAGE.PRESENT ? (u32[(layout.codeMap >>> 2) + (frameOf(entry) >>> PAGE_SHIFT)] ?? 0) : 0;
    if (known === 0 || !bytesOf(page, scratch.u8.subarray(0, PAGE_SIZE))) continue;
    scratch.u8.fill(0, PAGE_SIZE);
    const slots: number[] = [];
    for (let slot = 0; slot < RECORDS_PER_PAGE; slot++) {
      if (u16[(known + slot * RECORD.BYTES) >>> 1] === SPECIAL.decode) continue;
      decodeRun(scratch, PAGE_SIZE, 0, slot);
    }
    for (let slot = 0; slot < RECORDS_PER_PAGE; slot++)
      if (scratch.u16[(PAGE_SIZE + slot * RECORD.BYTES) >>> 1] !== SPECIAL.decode) slots.push(slot);
    const records = new Uint32Array(slots.length * RECORD_WORDS);
    for (const [n, slot] of slots.entries()) {
      const at = (PAGE_SIZE + slot * RECORD.BYTES) >>> 2;
      records.set(scratch.u32.subarray(at, at + RECORD_WORDS), n * RECORD_WORDS);
    }
    if (slots.length > 0) made.push({ page, slots, records });
  }
  return packed(made);
}

/**
 * Gives the pages of a guest that has not run yet the records that were kept of them; gives how many pages. Only of pages that hold the bytes which
 * `keepCode` was given. Pages without memory are passed over.
 */
export function placeCode(guest: Guest, code: Uint8Array): number {
  const { domain } = guest;
  if (domain.words !== undefined) return 0;
  const { pages, counts, slots, records } = unpacked(code);
  let [placed, first] = [0, 0];
  for (const [n, page] of pages.entries()) {
    const end = first + (counts[n] ?? 0);
    const at = (guest.pageMap >>> 2) + page;
    const entry = page < guest.pages ? (domain.u32[at] ?? 0) : 0;
    if (entry & PAGE.WRITABLE && placed < domain.layout.codePages) {
      // Nobody has it in a write TLB yet, so it need not be looked for there.
      domain.u32[at] = (entry | PAGE.WATCHED) >>> 0;
      const frame = frameOf(entry) >>> PAGE_SHIFT;
      placeRecords(domain.u32, domain.codePage(frame) >>> 2, slots, records, first, end);
      domain.watch(frame, linesOf(slots.subarray(first, end)));
      placed++;
    }
    first = end;
  }
  return placed;
}

function placeRecords(
  memory: Uint32Array,
  base: number,
  slots: Uint16Array,
  records: Uint32Array,
  first: number,
  end: number,
): void {
  // Most follow one another: their records are put there in one piece.
  for (let n = first; n < end;) {
    const slot = (slots[n] ?? 0) % RECORDS_PER_PAGE;
    let next = n + 1;
    while (next < end && slots[next] === slot + next - n && slot + next - n < RECORDS_PER_PAGE) next++;
    memory.set(records.subarray(n * RECORD_WORDS, next * RECORD_WORDS), base + slot * RECORD_WORDS);
    n = next;
  }
}

/** The bytes of a page that its records are of, in whole lines. An instruction of four bytes may reach into the next one. */
function linesOf(slots: Uint16Array): [from: number, to: number][] {
  const ranges: [number, number][] = [];
  let last: [number, number] | undefined;
  for (const slot of slots) {
    const from = ((2 * slot) >>> LINE_BITS) << LINE_BITS;
    const to = Math.min((((2 * slot + 3) >>> LINE_BITS) + 1) << LINE_BITS, PAGE_SIZE);
    if (last !== undefined && from <= last[1]) last[1] = to;
    else ranges.push((last = [from, to]));
  }
  return ranges;
}

function packed(made: readonly { page: number; slots: readonly number[]; records: Uint32Array }[]): Uint8Array {
  const total = made.reduce((sum, { slots }) => sum + slots.length, 0);
  const { slotsAt, recordsAt, bytes } = placesOf(made.length, total);
  const code = new Uint8Array(bytes);
  const words = new Uint32Array(code.buffer);
  words.set([made.length, total]);
  words.set(made.map(({ page }) => page), HEAD_WORDS); // prettier-ignore
  words.set(made.map(({ slots }) => slots.length), HEAD_WORDS + made.length); // prettier-ignore
  let at = 0;
  for (const { slots, records } of made) {
    new Uint16Array(code.buffer, slotsAt + 2 * at, slots.length).set(slots);
    words.set(records, recordsAt / 4 + at * RECORD_WORDS);
    at += slots.length;
  }
  return code;
}

/** Views of what was kept, which begins where words may. Nothing where its parts do not fit one another. */
function unpacked(code: Uint8Array): {
  readonly pages: Uint32Array;
  readonly counts: Uint32Array;
  readonly slots: Uint16Array;
  readonly records: Uint32Array;
} {
  const { buffer, byteOffset: start, length } = code;
  const [pages = 0, total = 0] = length < 4 * HEAD_WORDS ? [] : new Uint32Array(buffer, start, HEAD_WORDS);
  const { countsAt, slotsAt, recordsAt, bytes } = placesOf(pages, total);
  const none = new Uint32Array(0);
  if (bytes !== length) return { pages: none, counts: none, slots: new Uint16Array(0), records: none };
  return {
    pages: new Uint32Array(buffer, start + 4 * HEAD_WORDS, pages),
    counts: new Uint32Array(buffer, start + countsAt, pages),
    slots: new Uint16Array(buffer, start + slotsAt, total),
    records: new Uint32Array(buffer, start + recordsAt, total * RECORD_WORDS),
  };
}

function placesOf(
  pages: number,
  records: number,
): { readonly countsAt: number; readonly slotsAt: number; readonly recordsAt: number; readonly bytes: number } {
  const countsAt = 4 * (HEAD_WORDS + pages);
  const slotsAt = countsAt + 4 * pages;
  const recordsAt = Math.ceil((slotsAt + 2 * records) / RECORD.BYTES) * RECORD.BYTES;
  return { countsAt, slotsAt, recordsAt, bytes: recordsAt + records * RECORD.BYTES };
}

/** A page of code, and behind it room for its records. */
function scratchMemory(): CodeMemory & { readonly u32: Uint32Array } {
  const buffer = new ArrayBuffer(PAGE_SIZE + CODE_PAGE_BYTES);
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
  };
}
