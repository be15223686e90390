/**
 * What the two ends of a migration say to each other. Each message is
 *
 *     u32 CRC-32 of what follows | u32 number | u8 kind | 3 x 0 | what the kind says      (little-endian)
 *
 * Each end counts its messages from 0: one that is missing, there twice, or changed on its way ends the migration.
 *
 *     source                                     target
 *     HELLO {version, machine, about} ------->
 *                                     <------- ACCEPT, or REFUSE {code, message} at any time before RUNNING
 *     PAGES (numbers, bytes) ...      ------->
 *     CODE (pages, half words) ...    -------> where instructions begin that were executed: decoded before the machine runs
 *     DISK (disk, offset, bytes) ...  ------->
 *                                     <------- TAKEN u32: so many messages with pages or parts of disks are in place by now
 *     DISK_SYNC                       -------> what came of disks is made durable meanwhile
 *     MISSING (bitmap), when pages follow later
 *     STATE {harts, devices}          ------->
 *     COMMIT {how long it stood still} ------> right behind it: the target's, if all that came of disks is durable, and all else is there
 *                                     <------- RUNNING: it is the target's, which has kept that. After REFUSE it never will be
 *                                     <------- FETCH u32: the page is needed now
 *     PAGES ...                       ------->
 *                                     <------- COMPLETE, when no page is missing
 *     CANCEL {code, message} instead of any message before COMMIT
 *     RESUME, RESUMED begin another link, when one is lost while pages follow: resume.ts
 */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { Json } from '../../vm/snapshot/saved-json.ts';
import { MigrationError } from './migration-error.ts';
import type { MigrationCodec } from './ports.ts';

/** Of this file. Ends of two versions refuse each other. */
export const MIGRATION_VERSION = 4;

export const MESSAGE = {
  HELLO: 1,
  ACCEPT: 2,
  REFUSE: 3,
  CANCEL: 4,
  PAGES: 5,
  TAKEN: 6,
  MISSING: 7,
  STATE: 8,
  COMMIT: 9,
  RUNNING: 10,
  FETCH: 11,
  COMPLETE: 12,
  DISK: 13,
  DISK_SYNC: 14,
  CODE: 15,
  RESUME: 16,
  RESUMED: 17,
} as const;

export type MessageKind = (typeof MESSAGE)[keyof typeof MESSAGE];

const KINDS: ReadonlySet<number> = new Set(Object.values(MESSAGE));
export const HEADER_BYTES = 12;
/** Pages in one message: so many that what a message costs is little beside them, and so few that whoever carries it on has it soon. */
export const BATCH_PAGES = 64;
/** Of a message: state of devices is the longest. */
export const MAXIMUM_MESSAGE_BYTES = 15 * 1024 * 1024;

export interface Message {
  readonly kind: MessageKind;
  readonly number: number;
  readonly body: Uint8Array;
}

/** Numbers and checks what one end sends. */
export class MessageWriter {
  readonly #codec: Pick<MigrationCodec, 'checksum'>;
  #next = 0;

  constructor(codec: Pick<MigrationCodec, 'checksum'>) {
    this.#codec = codec;
  }

  /** Finishes a message whose body lies behind HEADER_BYTES of room; gives its number. */
  finish(kind: MessageKind, message: Uint8Array): number {
    const view = new DataView(message.buffer, message.byteOffset);
    const number = this.#next++;
    view.setUint32(4, number, true);
    view.setUint32(8, kind, true);
    view.setUint32(0, this.#codec.checksum(message.subarray(4)) >>> 0, true);
    return number;
  }

  bytes(kind: MessageKind, body: Uint8Array = new Uint8Array(0)): Uint8Array {
    const message = new Uint8Array(HEADER_BYTES + body.length);
    message.set(body, HEADER_BYTES);
    this.finish(kind, message);
    return message;
  }

  word(kind: MessageKind, value: number): Uint8Array {
    const body = new Uint8Array(4);
    new DataView(body.buffer).setUint32(0, value, true);
    return this.bytes(kind, body);
  }

  json(kind: MessageKind, value: Json): Uint8Array {
    return this.bytes(kind, new TextEncoder().encode(JSON.stringify(value)));
  }
}

/** Checks what the other end sends; throws a MigrationError. */
export class MessageReader {
  readonly #codec: Pick<MigrationCodec, 'checksum'>;
  #next = 0;

  constructor(codec: Pick<MigrationCodec, 'checksum'>) {
    this.#codec = codec;
  }

  read(message: Uint8Array): Message {
    if (message.length < HEADER_BYTES || message.length > MAXIMUM_MESSAGE_BYTES)
      throw garbled('has a length that cannot be');
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    if (view.getUint32(0, true) !== this.#codec.checksum(message.subarray(4)) >>> 0)
      throw garbled('was changed on its way');
    const [number, kind] = [view.getUint32(4, true), view.getUint32(8, true)];
    if (number !== this.#next) throw garbled('is not the one that comes next');
    if (!KINDS.has(kind)) throw garbled('is of a kind that there is not');
    this.#next++;
    return { kind: kind as MessageKind, number, body: message.subarray(HEADER_BYTES) };
  }
}

export function wordOf({ body }: Message): number {
  if (body.length !== 4) throw garbled('has another length than its kind');
  return new DataView(body.buffer, body.byteOffset).getUint32(0, true);
}

/** What a message with JSON says; who uses it checks its members. */
export function jsonOf({ body }: Message): { readonly [key: string]: Json } {
  let value: Json;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as Json;
  } catch (error) {
    throw garbled('is no JSON', error);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw garbled('says something else than its kind');
  return value as { readonly [key: string]: Json };
}

/*
 * PAGES: u16 count | u8 form: 0 plain, 1 compressed | 0 | u32 x count: a page's number, with ZERO when it is all zeroes | the bytes of the others
 */
const PAGES_HEAD_BYTES = 4;
const ZERO = 0x8000_0000;
const PLAIN = 0;
const COMPRESSED = 1;

/** Of the longest message with pages. */
export const BATCH_BYTES = HEADER_BYTES + PAGES_HEAD_BYTES + BATCH_PAGES * (4 + PAGE_SIZE);

/** Pages that are put together for one message. */
export class PageBatch {
  /** Where the bytes of the pages are, so that nothing is copied for a message that is sent plain. */
  readonly #message: Uint8Array;
  readonly #numbers: readonly number[];
  readonly #dataAt: number;
  #stored = 0;

  /**
   * Of these pages, BATCH_PAGES at most; `copy` puts the bytes of those that are not all zeroes into what it is given, side by side, and gives which these
   * are, in their order. The message lies in `into`, of BATCH_BYTES at its beginning.
   */
  constructor(
    pages: readonly number[],
    copy: (pages: readonly number[], into: Uint8Array) => readonly number[],
    into: Uint8Array = new Uint8Array(BATCH_BYTES),
  ) {
    this.#dataAt = HEADER_BYTES + PAGES_HEAD_BYTES + 4 * pages.length;
    this.#message = into;
    const held = copy(pages, this.#message.subarray(this.#dataAt, this.#dataAt + pages.length * PAGE_SIZE));
    this.#numbers = pages.map((index) => {
      if (held[this.#stored] !== index) return (index | ZERO) >>> 0;
      this.#stored++;
      return index;
    });
  }

  async finish(writer: MessageWriter, codec: MigrationCodec): Promise<Uint8Array> {
    const [start, end] = [this.#dataAt, this.#dataAt + this.#stored * PAGE_SIZE];
    const packed = this.#stored === 0 ? undefined : await codec.compress(this.#message.subarray(start, end));
    if (packed === undefined || packed.length >= end - start) return this.finishPlain(writer);
    const message = new Uint8Array(start + packed.length);
    message.set(packed, start);
    return this.#headed(writer, message, COMPRESSED);
  }

  finishPlain(writer: MessageWriter): Uint8Array {
    return this.#headed(writer, this.#message.subarray(0, this.#dataAt + this.#stored * PAGE_SIZE), PLAIN);
  }

  #headed(writer: MessageWriter, message: Uint8Array, form: number): Uint8Array {
    const view = new DataView(message.buffer, message.byteOffset);
    view.setUint16(HEADER_BYTES, this.#numbers.length, true);
    view.setUint16(HEADER_BYTES + 2, form, true);
    for (const [n, number] of this.#numbers.entries())
      view.setUint32(HEADER_BYTES + PAGES_HEAD_BYTES + 4 * n, number, true);
    writer.finish(MESSAGE.PAGES, message);
    return message;
  }
}

/** Gives each page of a message to `put`, with undefined for zeroes. */
export function readPages(
  { body }: Message,
  guestPages: number,
  codec: Pick<MigrationCodec, 'decompress'>,
  put: (index: number, bytes: Uint8Array | undefined) => void,
): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < PAGES_HEAD_BYTES) throw garbled('is too short');
  const [count, form] = [view.getUint16(0, true), view.getUint16(2, true)];
  const at = PAGES_HEAD_BYTES + 4 * count;
  if (count > BATCH_PAGES || body.length < at) throw garbled('has more pages than it can');
  const numbers = Array.from({ length: count }, (_, n) => view.getUint32(PAGES_HEAD_BYTES + 4 * n, true));
  if (numbers.some((number) => (number & ~ZERO) >>> 0 >= guestPages))
    throw garbled('has a page that the machine has not');
  const bytes = numbers.filter((number) => number < ZERO).length * PAGE_SIZE;
  const data =
    form === PLAIN ? body.subarray(at) : form === COMPRESSED ? unpacked(body.subarray(at), bytes, codec) : undefined;
  if (data?.length !== bytes) throw garbled('has another length than its pages');
  let next = 0;
  for (const number of numbers) {
    if (number >= ZERO) put((number & ~ZERO) >>> 0, undefined);
    else put(number, data.subarray(next, (next += PAGE_SIZE)));
  }
}

function unpacked(packed: Uint8Array, bytes: number, codec: Pick<MigrationCodec, 'decompress'>): Uint8Array {
  try {
    return codec.decompress(packed, bytes);
  } catch (error) {
    throw garbled('cannot be unpacked', error);
  }
}

/** The pages of a list as a bit each. */
export function bitmapOf(pages: readonly number[], guestPages: number): Uint8Array {
  const bitmap = new Uint8Array(Math.ceil(guestPages / 8));
  for (const index of pages) bitmap[index >>> 3] = (bitmap[index >>> 3] ?? 0) | (1 << (index & 7));
  return bitmap;
}

export function pagesOf({ body }: Message, guestPages: number): number[] {
  if (body.length !== Math.ceil(guestPages / 8)) throw garbled('has another length than its kind');
  const pages: number[] = [];
  for (let index = 0; index < guestPages; index++) if ((body[index >>> 3] ?? 0) & (1 << (index & 7))) pages.push(index);
  return pages;
}

export function garbled(how: string, cause?: unknown): MigrationError {
  return new MigrationError('protocol', `what the other side says cannot be right: a message ${how}`, { cause });
}
