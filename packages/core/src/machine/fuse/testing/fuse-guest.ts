/** A guest's end of FUSE for tests: makes requests as Linux does, or wrong on purpose, and takes answers apart. */

import { OPCODE, OUT_HEADER_BYTES } from '../abi.ts';
import type { FuseExchange } from '../connection.ts';
import { StructReader, StructWriter } from '../wire.ts';

export const IN_HEADER_BYTES = 40;

/** Fields of a struct: numbers of 32 bits, bigints of 64, texts with a NUL behind them, bytes. */
export type Field = number | bigint | string | Uint8Array;

export function struct(...fields: readonly Field[]): Uint8Array {
  const parts = fields.map((field) => {
    if (typeof field === 'number') return new StructWriter(4).u32(field >>> 0).written;
    if (typeof field === 'bigint') return new StructWriter(8).big64(field).written;
    return typeof field === 'string' ? new TextEncoder().encode(`${field}\0`) : field;
  });
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export interface RequestHeader {
  readonly opcode: number;
  readonly node?: number;
  readonly unique?: bigint;
  readonly uid?: number;
  readonly gid?: number;
  /** What the header says; the truth when absent. */
  readonly bytes?: number;
}

export function request(header: RequestHeader, body: Uint8Array): Uint8Array {
  const { opcode, node = 0, unique = 1n, uid = 0, gid = 0, bytes = IN_HEADER_BYTES + body.length } = header;
  return struct(bytes, opcode, unique, BigInt(node), uid, gid, 77, 0, body);
}

export interface Reply {
  readonly errno: number;
  readonly unique: bigint;
  readonly body: Uint8Array;
}

/** Takes an answer apart, whose header must be true to its length. */
export function reply(bytes: Uint8Array): Reply {
  const reader = new StructReader(bytes);
  const length = reader.u32();
  if (length !== bytes.length) throw new Error(`an answer of ${bytes.length} bytes says that it has ${length}`);
  return { errno: -(reader.u32() | 0), unique: reader.i64(), body: bytes.slice(OUT_HEADER_BYTES) };
}

/** Guest memory of one request, without a guest. */
export class ArrayExchange implements FuseExchange {
  readonly requestBytes: number;
  readonly answerRoom: number;
  readonly answer: Uint8Array;
  readonly #request: Uint8Array;

  constructor(requestBytes: Uint8Array, answerRoom: number) {
    this.requestBytes = requestBytes.length;
    this.answerRoom = answerRoom;
    this.answer = new Uint8Array(answerRoom);
    this.#request = requestBytes;
  }

  readRequest(offset: number, bytes: number): Uint8Array {
    if (offset + bytes > this.requestBytes) throw new Error('the session read past the request');
    return this.#request.slice(offset, offset + bytes);
  }

  writeAnswer(offset: number, bytes: Uint8Array): void {
    this.answer.set(bytes, offset);
  }

  takeData(offset: number, bytes: number, act: (views: readonly Uint8Array[]) => Promise<void>): Promise<void> {
    return act([this.readRequest(offset, bytes)]);
  }

  giveData(offset: number, bytes: number, act: (views: readonly Uint8Array[]) => Promise<number>): Promise<number> {
    const middle = offset + (bytes >> 1);
    return act([this.answer.subarray(offset, middle), this.answer.subarray(middle, offset + bytes)]);
  }
}

/** What a kernel of 2024 says it can. */
export const LINUX_FLAGS = [0x7bfffffb, 0x1ff] as const;

export function initBody(major = 7, minor = 41, flags: readonly [number, number] = LINUX_FLAGS): Uint8Array {
  return struct(major, minor, 131_072, flags[0], flags[1], new Uint8Array(44));
}

/** Sends a request to somebody and gives the answer. */
export type Ask = (bytes: Uint8Array, room: number) => Promise<Uint8Array>;

export interface Entry {
  readonly node: number;
  readonly ino: bigint;
  readonly size: number;
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly flags: number;
}

export interface Listed {
  readonly name: string;
  readonly next: number;
  readonly type: number;
  readonly node: number | undefined;
}

/** A kernel that asks for what a test wants, and throws what it is answered: `ENOENT`-like numbers as `errno 2`. */
export class FuseGuest {
  readonly #ask: Ask;
  #unique = 10n;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  async raw(header: RequestHeader, body: Uint8Array, room = 4096): Promise<Reply> {
    const unique = (this.#unique += 2n);
    const answer = reply(await this.#ask(request({ unique, ...header }, body), room));
    if (answer.unique !== (header.unique ?? unique)) throw new Error('the answer is one to another request');
    return answer;
  }

  async ask(opcode: number, node: number, body: Uint8Array, room = 4096): Promise<Uint8Array> {
    const answer = await this.raw({ opcode, node }, body, room);
    if (answer.errno !== 0) throw new Error(`errno ${answer.errno}`);
    return answer.body;
  }

  init(): Promise<Uint8Array> {
    return this.ask(OPCODE.INIT, 0, initBody());
  }

  async lookup(folder: number, name: string | Uint8Array): Promise<Entry> {
    return entryOf(
      await this.ask(OPCODE.LOOKUP, folder, typeof name === 'string' ? struct(name) : struct(name, Uint8Array.of(0))),
    );
  }

  /** From the root, name by name. */
  async walk(path: string): Promise<Entry> {
    let entry: Entry | undefined;
    for (const name of path.split('/')) entry = await this.lookup(entry?.node ?? 1, name);
    if (entry === undefined) throw new Error('a path has names');
    return entry;
  }

  async forget(node: number, count: number): Promise<void> {
    await this.#ask(request({ opcode: OPCODE.FORGET, node }, struct(BigInt(count))), 0);
  }

  async attributes(node: number): Promise<Entry> {
    const body = await this.ask(OPCODE.GETATTR, node, struct(0, 0, 0n));
    return { ...attributesOf(body.subarray(16)), node };
  }

  async open(node: number, flags = 2): Promise<number> {
    return new StructReader(await this.ask(OPCODE.OPEN, node, struct(flags, 0))).u64();
  }

  async read(node: number, handle: number, offset: number, size: number): Promise<Uint8Array> {
    const body = struct(BigInt(handle), BigInt(offset), size, 0, 0n, 0, 0);
    return this.ask(OPCODE.READ, node, body, OUT_HEADER_BYTES + size);
  }

  async write(node: number, handle: number, offset: number, data: Uint8Array): Promise<number> {
    const body = struct(BigInt(handle), BigInt(offset), data.length, 0, 0n, 0, 0, data);
    return new StructReader(await this.ask(OPCODE.WRITE, node, body)).u32();
  }

  async release(node: number, handle: number): Promise<void> {
    await this.ask(OPCODE.RELEASE, node, struct(BigInt(handle), 0, 0, 0n));
  }

  async create(folder: number, name: string, flags = 2, mode = 0o644): Promise<{ entry: Entry; handle: number }> {
    const body = await this.ask(OPCODE.CREATE, folder, struct(flags | 0o100, mode | 0o100000, 0, 0, name));
    return { entry: entryOf(body), handle: new StructReader(body.subarray(128)).u64() };
  }

  async openFolder(node: number): Promise<number> {
    return new StructReader(await this.ask(OPCODE.OPENDIR, node, struct(0, 0))).u64();
  }

  async list(node: number, handle: number, offset: number, room = 4096, plus = false): Promise<Listed[]> {
    const body = struct(BigInt(handle), BigInt(offset), room, 0, 0n, 0, 0);
    const bytes = await this.ask(plus ? OPCODE.READDIRPLUS : OPCODE.READDIR, node, body, OUT_HEADER_BYTES + room);
    const listed: Listed[] = [];
    const reader = new StructReader(bytes);
    for (let at = 0; at < bytes.length;) {
      const start = at;
      const entry = plus ? reader.u64() : undefined;
      if (plus) reader.skip(120);
      reader.skip(8);
      const next = reader.u64();
      const length = reader.u32();
      const type = reader.u32();
      listed.push({ name: new TextDecoder('latin1').decode(reader.bytes(length)), next, type, node: entry });
      const used = (plus ? 128 : 0) + 24 + length;
      at = start + Math.ceil(used / 8) * 8;
      reader.skip(at - start - used);
    }
    return listed;
  }
}

export function entryOf(body: Uint8Array): Entry {
  return { ...attributesOf(body.subarray(40)), node: new StructReader(body).u64() };
}

function attributesOf(attr: Uint8Array): Omit<Entry, 'node'> {
  const reader = new StructReader(attr);
  const ino = reader.i64();
  const size = reader.u64();
  reader.skip(44);
  const [mode, links, uid] = [reader.u32(), reader.u32(), reader.u32()];
  return { ino, size, mode, links, uid, flags: reader.skip(12).u32() };
}
