/**
 * Reads a flattened device tree (Devicetree Specification v0.4, chapter 5) and refuses one that is malformed. The bytes may come from
 * anywhere: every offset, length and nesting is checked before it is followed.
 */

import {
  FDT_LAST_COMPATIBLE_VERSION,
  FDT_MAGIC,
  FDT_VERSION,
  HEADER,
  HEADER_BYTES,
  MAXIMUM_DEPTH,
  MAXIMUM_FDT_BYTES,
  MAXIMUM_ITEMS,
  NODE_NAME,
  PROPERTY_NAME,
  RESERVATION_BYTES,
  TOKEN,
} from './format.ts';

/** A node as read: values stay bytes, for only the binding knows what they are. */
export interface FdtNode {
  readonly name: string;
  readonly properties: ReadonlyMap<string, Uint8Array>;
  readonly children: readonly FdtNode[];
}

export interface Fdt {
  readonly root: FdtNode;
  readonly reservations: readonly { readonly address: bigint; readonly size: bigint }[];
  readonly bootCpu: number;
}

export type FdtErrorCode =
  | 'not-a-tree'
  | 'truncated'
  | 'too-large'
  | 'unsupported-version'
  | 'bad-layout'
  | 'bad-structure'
  | 'bad-name';

/** A device tree that cannot be read, and why. */
export class FdtError extends Error {
  override readonly name = 'FdtError';
  readonly code: FdtErrorCode;
  constructor(code: FdtErrorCode, problem: string) {
    super(`The device tree is not usable: ${problem}`);
    this.code = code;
  }
}

interface Block {
  readonly offset: number;
  readonly end: number;
}

interface Source {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly strings: Block;
}

/** Reads `bytes`, which may be longer than the tree in them. Throws FdtError. */
export function readTree(bytes: Uint8Array): Fdt {
  if (bytes.length < HEADER_BYTES)
    throw new FdtError('truncated', `it has ${bytes.length} bytes, fewer than its header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(HEADER.magic) !== FDT_MAGIC) throw new FdtError('not-a-tree', 'it does not begin with 0xd00dfeed');
  const total = view.getUint32(HEADER.totalsize);
  if (total > MAXIMUM_FDT_BYTES)
    throw new FdtError('too-large', `it says it has ${total} bytes, more than ${MAXIMUM_FDT_BYTES}`);
  if (total > bytes.length)
    throw new FdtError('truncated', `it says it has ${total} bytes, but there are ${bytes.length}`);
  const version = view.getUint32(HEADER.version);
  if (version < FDT_VERSION || view.getUint32(HEADER.last_comp_version) > FDT_VERSION) {
    throw new FdtError(
      'unsupported-version',
      `it is of version ${version}, and readable are ${FDT_VERSION} and what is compatible with ${FDT_LAST_COMPATIBLE_VERSION}`,
    );
  }
  const block = (what: string, offset: number, size: number, alignment: number): Block => {
    if (offset < HEADER_BYTES || offset % alignment !== 0 || offset + size > total)
      throw new FdtError('bad-layout', `its ${what} block is not within it`);
    return { offset, end: offset + size };
  };
  const structure = block('structure', view.getUint32(HEADER.off_dt_struct), view.getUint32(HEADER.size_dt_struct), 4);
  const strings = block('strings', view.getUint32(HEADER.off_dt_strings), view.getUint32(HEADER.size_dt_strings), 1);
  const reserved = block('memory reservation', view.getUint32(HEADER.off_mem_rsvmap), RESERVATION_BYTES, 8);
  return {
    reservations: readReservations(view, reserved.offset, total),
    root: new StructureReader({ bytes, view, strings }, structure).readRoot(),
    bootCpu: view.getUint32(HEADER.boot_cpuid_phys),
  };
}

function readReservations(view: DataView, start: number, total: number): Fdt['reservations'] {
  const reservations = [];
  for (let offset = start; offset + RESERVATION_BYTES <= total; offset += RESERVATION_BYTES) {
    const address = view.getBigUint64(offset);
    const size = view.getBigUint64(offset + 8);
    if (address === 0n && size === 0n) return reservations;
    reservations.push({ address, size });
  }
  throw new FdtError('bad-layout', 'its list of memory reservations does not end');
}

/** Walks the structure block once, token by token. */
class StructureReader {
  readonly #source: Source;
  readonly #end: number;
  #offset: number;
  #items = 0;

  constructor(source: Source, block: Block) {
    this.#source = source;
    this.#offset = block.offset;
    this.#end = block.end;
  }

  readRoot(): FdtNode {
    const token = this.#token();
    if (token !== TOKEN.beginNode)
      throw new FdtError('bad-structure', `it begins with token ${token} instead of a node`);
    const root = this.#node('', 0);
    if (root.name !== '') throw new FdtError('bad-name', `its root is called "${root.name}"`);
    const last = this.#token();
    if (last !== TOKEN.end) throw new FdtError('bad-structure', `token ${last} follows its root node`);
    return root;
  }

  #node(parent: string, depth: number): FdtNode {
    if (depth > MAXIMUM_DEPTH) throw new FdtError('too-large', `its nodes are nested more than ${MAXIMUM_DEPTH} deep`);
    const name = this.#text(this.#offset, this.#end, 'a node name');
    this.#skip(name.length + 1);
    const path = depth === 0 ? '/' : `${parent}${depth === 1 ? '' : '/'}${name}`;
    if (depth > 0 && !NODE_NAME.test(name))
      throw new FdtError('bad-name', `a node cannot be called "${name}" (${path})`);
    const properties = new Map<string, Uint8Array>();
    const children: FdtNode[] = [];
    for (;;) {
      if (++this.#items > MAXIMUM_ITEMS)
        throw new FdtError('too-large', `it has more than ${MAXIMUM_ITEMS} nodes and properties`);
      const token = this.#token();
      if (token === TOKEN.endNode) return { name, properties, children };
      if (token === TOKEN.beginNode) {
        const child = this.#node(path, depth + 1);
        if (children.some((other) => other.name === child.name))
          throw new FdtError('bad-structure', `${path} has two children called "${child.name}"`);
        children.push(child);
      } else if (token === TOKEN.property) {
        if (children.length > 0) throw new FdtError('bad-structure', `${path} has a property behind its children`);
        const property = this.#property(path);
        if (properties.has(property.name))
          throw new FdtError('bad-structure', `${path} has the property "${property.name}" twice`);
        properties.set(property.name, property.value);
      } else {
        throw new FdtError('bad-structure', `token ${token} stands in ${path}`);
      }
    }
  }

  #property(path: string): { name: string; value: Uint8Array } {
    const length = this.#cell();
    const nameOffset = this.#cell();
    const { strings, bytes } = this.#source;
    if (nameOffset >= strings.end - strings.offset)
      throw new FdtError('bad-layout', `a property of ${path} has its name outside the strings block`);
    const name = this.#text(strings.offset + nameOffset, strings.end, `the name of a property of ${path}`);
    if (!PROPERTY_NAME.test(name)) throw new FdtError('bad-name', `a property cannot be called "${name}" (${path})`);
    if (length > this.#end - this.#offset)
      throw new FdtError('truncated', `the value of ${path}:${name} reaches over the end of the structure block`);
    const value = bytes.slice(this.#offset, this.#offset + length);
    this.#skip(length);
    return { name, value };
  }

  /** The next token that is not a NOP. */
  #token(): number {
    let token;
    do token = this.#cell();
    while (token === TOKEN.nop);
    return token;
  }

  #cell(): number {
    if (this.#offset + 4 > this.#end) throw new FdtError('truncated', 'its structure block ends in the middle');
    const cell = this.#source.view.getUint32(this.#offset);
    this.#offset += 4;
    return cell;
  }

  /** Goes on behind `count` bytes, at the next multiple of 4 from the start of the tree (which the block is aligned to). */
  #skip(count: number): void {
    this.#offset += (count + 3) & ~3;
  }

  #text(offset: number, end: number, what: string): string {
    const stop = this.#source.bytes.subarray(0, end).indexOf(0, offset);
    if (stop < 0) throw new FdtError('truncated', `${what} does not end`);
    return String.fromCharCode(...this.#source.bytes.subarray(offset, Math.min(stop, offset + LONGEST_NAME)));
  }
}

/** Longer names are cut here, and refused by the patterns that follow. */
const LONGEST_NAME = 128;

/** The node at a path such as `/soc/serial@10000000`. */
export function nodeAt(root: FdtNode, path: string): FdtNode | undefined {
  let node: FdtNode | undefined = root;
  for (const name of path.split('/').filter((part) => part !== ''))
    node = node?.children.find((child) => child.name === name);
  return node;
}

/** A value as cells. */
export function asCells(value: Uint8Array): number[] {
  if (value.length % 4 !== 0)
    throw new FdtError('bad-structure', `a value of ${value.length} bytes is no list of cells`);
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return Array.from({ length: value.length / 4 }, (_, index) => view.getUint32(index * 4));
}

/** A value as a list of strings. */
export function asStrings(value: Uint8Array): string[] {
  if (value.at(-1) !== 0) throw new FdtError('bad-structure', 'a list of strings does not end');
  return new TextDecoder().decode(value.subarray(0, -1)).split('\0');
}
