/**
 * CODE, of messages.ts: for each page u32 its number | a bit for each of its half words where an instruction begins that was executed (little-endian).
 * It says nothing that is not found out by executing the pages' bytes: the other end decodes what it has itself.
 */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { GuestPages } from '../../machine/guest-pages.ts';
import { garbled, type Message } from './messages.ts';

/** Instructions begin at half words. */
const SLOTS = PAGE_SIZE / 2;
const PAGE_BYTES = 4 + SLOTS / 8;
/** Pages in one message: decoding them takes some milliseconds. */
const CODE_BATCH_PAGES = 32;

export interface ExecutedCode {
  readonly page: number;
  readonly slots: readonly number[];
}

function codeBody(pages: readonly ExecutedCode[]): Uint8Array {
  const body = new Uint8Array(pages.length * PAGE_BYTES);
  const view = new DataView(body.buffer);
  for (const [n, { page, slots }] of pages.entries()) {
    const at = n * PAGE_BYTES;
    view.setUint32(at, page, true);
    for (const slot of slots) body[at + 4 + (slot >>> 3)] = (body[at + 4 + (slot >>> 3)] ?? 0) | (1 << (slot & 7));
  }
  return body;
}

export function codeOf({ body }: Message, guestPages: number): ExecutedCode[] {
  const count = body.length / PAGE_BYTES;
  if (!Number.isInteger(count) || count > CODE_BATCH_PAGES) throw garbled('has another length than its kind');
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  return Array.from({ length: count }, (_, n) => {
    const at = n * PAGE_BYTES;
    const page = view.getUint32(at, true);
    if (page >= guestPages) throw garbled('has a page that the machine has not');
    const slots: number[] = [];
    for (let slot = 0; slot < SLOTS; slot++)
      if ((body[at + 4 + (slot >>> 3)] ?? 0) & (1 << (slot & 7))) slots.push(slot);
    return { page, slots };
  });
}

/** What the other end has not been told yet. */
export class UnsaidCode {
  readonly #said = new Set<number>();

  /** Of messages about what was executed lately. */
  *bodies(pages: Pick<GuestPages, 'executedLately' | 'executedSlots'>): Generator<Uint8Array> {
    const executed = pages.executedLately.filter((page) => !this.#said.has(page));
    for (let at = 0; at < executed.length; at += CODE_BATCH_PAGES) {
      const batch = executed.slice(at, at + CODE_BATCH_PAGES);
      for (const page of batch) this.#said.add(page);
      yield codeBody(batch.map((page) => ({ page, slots: pages.executedSlots(page) })));
    }
  }
}
