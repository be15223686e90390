/**
 * A copy as the guest sends it (RECORD in protocol.ts), turned into steps that are safe to follow: every name is a single one, in a folder
 * that came before and that is still being filled; no name comes twice; hard links lead to files of this copy. So no step can lead out of
 * the folder that the copy goes to, nor through a link that an earlier step made.
 */

import type { AgentFileKind, AgentFileStatus, AgentTreeStep } from './guest-agent.ts';
import { ProtocolViolation } from './guest-message.ts';
import {
  DATA_RECORD_BYTES,
  END_RECORD_BYTES,
  ENTRY_FLAG,
  ENTRY_RECORD_BYTES,
  MAXIMUM_DATA_RECORD_BYTES,
  MAXIMUM_DEPTH,
  MAXIMUM_LINKED_FILES,
  MAXIMUM_NAME_BYTES,
  MAXIMUM_PATH_BYTES,
  RECORD,
} from './protocol.ts';

const KINDS: ReadonlyMap<number, AgentFileKind> = new Map([
  [RECORD.FOLDER, 'folder'],
  [RECORD.FILE, 'file'],
  [RECORD.SYMLINK, 'symlink'],
  [RECORD.FIFO, 'fifo'],
  [RECORD.SOCKET, 'socket'],
  [RECORD.CHARACTER_DEVICE, 'character-device'],
  [RECORD.BLOCK_DEVICE, 'block-device'],
]);

const SLASH = 0x2f;
const DOT = 0x2e;
const LARGEST_MODE = 0o7777;
const NS_PER_SECOND = 1_000_000_000;

interface Level {
  readonly name: Uint8Array;
  /** The last name that came in it. */
  last: Uint8Array | undefined;
}

export class TreeDecoder {
  #buffer = new Uint8Array(DATA_RECORD_BYTES + MAXIMUM_DATA_RECORD_BYTES);
  #buffered = 0;
  /** The folders that are being filled, the root first. */
  #levels: Level[] = [];
  #hasRoot = false;
  /** Where the next data of the file that came last may begin; undefined when no file came last. */
  #dataFrom: number | undefined;
  readonly #linked = new Set<string>();
  #hasEnded = false;

  /** The copy is whole. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The steps that are whole now. Throws a ProtocolViolation. */
  *push(bytes: Uint8Array): Generator<AgentTreeStep, void, undefined> {
    let rest = bytes;
    while (rest.length > 0) {
      const count = Math.min(rest.length, this.#buffer.length - this.#buffered);
      this.#buffer.set(rest.subarray(0, count), this.#buffered);
      this.#buffered += count;
      rest = rest.subarray(count);
      let at = 0;
      for (;;) {
        const size = recordBytes(this.#buffer.subarray(at, this.#buffered));
        if (size === undefined || at + size > this.#buffered) break;
        const step = this.#step(this.#buffer.slice(at, at + size));
        at += size;
        if (step !== undefined) yield step;
      }
      this.#buffer.copyWithin(0, at, this.#buffered);
      this.#buffered -= at;
    }
  }

  #step(record: Uint8Array): AgentTreeStep | undefined {
    if (this.#hasEnded) throw new ProtocolViolation('more behind the end of a copy');
    const fields = new DataView(record.buffer, record.byteOffset, record.byteLength);
    const [kind = 0] = record;
    if (kind === RECORD.END) {
      if (!this.#hasRoot) throw new ProtocolViolation('a copy of nothing');
      this.#hasEnded = true;
      return undefined;
    }
    if (kind === RECORD.DATA) return this.#data(fields, record);
    return this.#entry(kind, fields, record);
  }

  #data(fields: DataView, record: Uint8Array): AgentTreeStep {
    const offset = fields.getBigUint64(8, true);
    const bytes = record.subarray(DATA_RECORD_BYTES);
    if (
      this.#dataFrom === undefined ||
      // Nothing at all could be said for ever.
      bytes.length === 0 ||
      offset < this.#dataFrom ||
      offset + BigInt(bytes.length) > Number.MAX_SAFE_INTEGER
    )
      throw new ProtocolViolation('data that belongs to no file of a copy');
    this.#dataFrom = Number(offset) + bytes.length;
    return { kind: 'data', offsetBytes: Number(offset), bytes };
  }

  #entry(kind: number, fields: DataView, record: Uint8Array): AgentTreeStep {
    const nameEnd = ENTRY_RECORD_BYTES + fields.getUint16(2, true);
    const name = record.subarray(ENTRY_RECORD_BYTES, nameEnd);
    const target = record.subarray(nameEnd);
    const path = this.#place(fields.getUint16(4, true), name);
    this.#dataFrom = kind === RECORD.FILE ? 0 : undefined;
    if (kind === RECORD.HARD_LINK) {
      if (!this.#linked.has(key(target))) throw new ProtocolViolation('a link to a file that is not in the copy');
      return { kind: 'hard-link', path, to: names(target) };
    }
    const fileKind = KINDS.get(kind);
    if (fileKind === undefined) throw new ProtocolViolation(`a record of kind ${kind}`);
    if (kind === RECORD.FOLDER) this.#levels.push({ name, last: undefined });
    if ((fields.getUint8(1) & ENTRY_FLAG.MORE_NAMES) !== 0) {
      if (this.#linked.size >= MAXIMUM_LINKED_FILES)
        throw new ProtocolViolation(`more than ${MAXIMUM_LINKED_FILES} files with several names`);
      const place = joined(path);
      // A longer one no hard link can name, and of these a guest could make up gigabytes.
      if (place.length <= MAXIMUM_PATH_BYTES) this.#linked.add(key(place));
    }
    return { kind: 'entry', path, status: status(fileKind, fields, target) };
  }

  /** Checks where an entry is, leaves the folders that are full, and gives its path. */
  #place(depth: number, name: Uint8Array): Uint8Array[] {
    if (depth > MAXIMUM_DEPTH)
      throw new ProtocolViolation(`a copy with more than ${MAXIMUM_DEPTH} folders in each other`);
    if (depth === 0) {
      if (this.#hasRoot || name.length > 0) throw new ProtocolViolation('a copy with two roots');
      this.#hasRoot = true;
      return [];
    }
    const folder = this.#levels[depth - 1];
    if (folder === undefined) throw new ProtocolViolation('a file in no folder of a copy');
    if (!isName(name)) throw new ProtocolViolation('a file whose name is none');
    if (folder.last !== undefined && compare(folder.last, name) >= 0)
      throw new ProtocolViolation('the names of a copy in disorder');
    folder.last = name;
    this.#levels.length = depth;
    return [...this.#levels.slice(1).map((level) => level.name), name];
  }
}

/** How long the record at the beginning of `bytes` is; undefined when that cannot be told yet. */
function recordBytes(bytes: Uint8Array): number | undefined {
  const [kind] = bytes;
  if (kind === undefined) return undefined;
  if (kind === RECORD.END) return END_RECORD_BYTES;
  const fields = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (kind === RECORD.DATA) {
    if (bytes.length < DATA_RECORD_BYTES) return undefined;
    const count = fields.getUint32(4, true);
    if (count > MAXIMUM_DATA_RECORD_BYTES) throw new ProtocolViolation(`${count} bytes of data in one record`);
    return DATA_RECORD_BYTES + count;
  }
  if (bytes.length < ENTRY_RECORD_BYTES) return undefined;
  const [nameBytes, targetBytes] = [fields.getUint16(2, true), fields.getUint16(6, true)];
  if (nameBytes > MAXIMUM_NAME_BYTES || targetBytes > MAXIMUM_PATH_BYTES)
    throw new ProtocolViolation('a name that is too long');
  return ENTRY_RECORD_BYTES + nameBytes + targetBytes;
}

function status(kind: AgentFileKind, fields: DataView, target: Uint8Array): AgentFileStatus {
  const nanoseconds = fields.getUint32(20, true);
  const size = fields.getBigUint64(32, true);
  const mode = fields.getUint32(8, true);
  if (mode > LARGEST_MODE) throw new ProtocolViolation(`the mode ${mode}`);
  if (nanoseconds >= NS_PER_SECOND || size > Number.MAX_SAFE_INTEGER)
    throw new ProtocolViolation('a time or a size that cannot be');
  if (kind === 'symlink' ? target.length === 0 || target.includes(0) : target.length > 0)
    throw new ProtocolViolation('a link that leads nowhere');
  return {
    kind,
    mode,
    uid: fields.getUint32(12, true),
    gid: fields.getUint32(16, true),
    mtimeNs: fields.getBigInt64(24, true) * BigInt(NS_PER_SECOND) + BigInt(nanoseconds),
    sizeBytes: Number(size),
    device: { major: fields.getUint32(40, true), minor: fields.getUint32(44, true) },
    target,
  };
}

/** A single name that leads nowhere else. */
export function isName(name: Uint8Array): boolean {
  const isDots = name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
  return name.length > 0 && name.length <= MAXIMUM_NAME_BYTES && !isDots && !name.includes(SLASH) && !name.includes(0);
}

/** Names with a `/` between them. */
export function joined(path: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(path.reduce((sum, name) => sum + name.length + 1, 0));
  let at = 0;
  for (const name of path) {
    bytes.set(name, at);
    at += name.length;
    bytes[at++] = SLASH;
  }
  return bytes.subarray(0, Math.max(0, at - 1));
}

function names(path: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let from = 0;
  for (let at = 0; at <= path.length; at++) {
    if (at < path.length && path[at] !== SLASH) continue;
    parts.push(path.subarray(from, at));
    from = at + 1;
  }
  return parts;
}

/** Bytes as a key, one character each. */
function key(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function compare(one: Uint8Array, other: Uint8Array): number {
  const common = Math.min(one.length, other.length);
  for (let at = 0; at < common; at++) {
    const difference = (one[at] ?? 0) - (other[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}
