/**
 * Writes a tree of nodes as a flattened device tree (Devicetree Specification v0.4, chapter 5). Labelled nodes get their phandles here,
 * from 1 in the order of the tree; a reference to a label that is not there is a mistake of ours.
 */

import { assert } from '../../base/assert.ts';
import { alignUp } from '../../base/numbers.ts';
import type { TreeNode, TreeReference, TreeValue } from '../device.ts';
import {
  FDT_LAST_COMPATIBLE_VERSION,
  FDT_MAGIC,
  FDT_VERSION,
  HEADER,
  HEADER_BYTES,
  MAXIMUM_FDT_BYTES,
  NODE_NAME,
  PROPERTY_NAME,
  RESERVATION_BYTES,
  TOKEN,
} from './format.ts';

/** The tree under `root`, whose own name is not written, as bytes to hand to a guest. */
export function flattenTree(root: TreeNode): Uint8Array {
  const phandles = assignPhandles(root);
  const structure = new BlockWriter();
  const strings = new StringsBlock();
  writeNode({ ...root, name: '' }, structure, strings, phandles);
  structure.cell(TOKEN.end);

  const structOffset = HEADER_BYTES + RESERVATION_BYTES;
  const stringsOffset = structOffset + structure.length;
  const total = alignUp(stringsOffset + strings.block.length, 8);
  assert(total <= MAXIMUM_FDT_BYTES, `the device tree has ${total} bytes, more than ${MAXIMUM_FDT_BYTES}`);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(HEADER.magic, FDT_MAGIC);
  view.setUint32(HEADER.totalsize, total);
  view.setUint32(HEADER.off_dt_struct, structOffset);
  view.setUint32(HEADER.off_dt_strings, stringsOffset);
  view.setUint32(HEADER.off_mem_rsvmap, HEADER_BYTES);
  view.setUint32(HEADER.version, FDT_VERSION);
  view.setUint32(HEADER.last_comp_version, FDT_LAST_COMPATIBLE_VERSION);
  view.setUint32(HEADER.size_dt_strings, strings.block.length);
  view.setUint32(HEADER.size_dt_struct, structure.length);
  structure.copyTo(bytes, structOffset);
  strings.block.copyTo(bytes, stringsOffset);
  return bytes;
}

type Phandles = ReadonlyMap<string, number>;

function assignPhandles(root: TreeNode): Phandles {
  const phandles = new Map<string, number>();
  const visit = (node: TreeNode): void => {
    if (node.label !== undefined) {
      assert(!phandles.has(node.label), `two nodes of the device tree have the label ${node.label}`);
      phandles.set(node.label, phandles.size + 1);
    }
    for (const child of node.children ?? []) visit(child);
  };
  visit(root);
  return phandles;
}

/** 5.4.2: the node's properties, then its children. */
function writeNode(node: TreeNode, structure: BlockWriter, strings: StringsBlock, phandles: Phandles): void {
  assert(node.name === '' || NODE_NAME.test(node.name), `a device tree node cannot be called "${node.name}"`);
  structure.cell(TOKEN.beginNode);
  structure.bytes(new TextEncoder().encode(`${node.name}\0`));
  structure.align();
  const properties: Record<string, TreeValue> = { ...node.properties };
  if (node.label !== undefined) properties['phandle'] = { phandleOf: node.label };
  for (const [name, value] of Object.entries(properties)) {
    assert(PROPERTY_NAME.test(name), `a device tree property cannot be called "${name}"`);
    const encoded = encodeValue(value, phandles, `${node.name}/${name}`);
    structure.cell(TOKEN.property);
    structure.cell(encoded.length);
    structure.cell(strings.offsetOf(name));
    structure.bytes(encoded);
    structure.align();
  }
  const names = new Set<string>();
  for (const child of node.children ?? []) {
    assert(!names.has(child.name), `the device tree node "${node.name}" has two children called "${child.name}"`);
    names.add(child.name);
    writeNode(child, structure, strings, phandles);
  }
  structure.cell(TOKEN.endNode);
}

/** 2.2.4.2: values by their kind. */
function encodeValue(value: TreeValue, phandles: Phandles, where: string): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'string') return encodeStrings([value], where);
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return encodeStrings(value, where);
  const block = new BlockWriter();
  if (typeof value === 'bigint') {
    assert(value >= 0n && value < 1n << 64n, `${where} does not fit two cells`);
    block.cell(Number(value >> 32n));
    block.cell(Number(value & 0xffff_ffffn));
  } else {
    const cells = Array.isArray(value)
      ? (value as readonly (number | TreeReference)[])
      : [value as number | TreeReference];
    for (const cell of cells)
      block.cell(typeof cell === 'number' ? checkedCell(cell, where) : phandleOf(cell, phandles, where));
  }
  return block.toBytes();
}

function encodeStrings(strings: readonly string[], where: string): Uint8Array {
  assert(
    strings.every((string) => !string.includes('\0')),
    `${where} has a string with a NUL in it`,
  );
  return new TextEncoder().encode(strings.map((string) => `${string}\0`).join(''));
}

function checkedCell(value: number, where: string): number {
  assert(
    Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff,
    `${where} has ${value}, which does not fit a cell`,
  );
  return value;
}

function phandleOf(reference: TreeReference, phandles: Phandles, where: string): number {
  const phandle = phandles.get(reference.phandleOf);
  assert(phandle !== undefined, `${where} refers to the label ${reference.phandleOf}, which no node has`);
  return phandle;
}

/** Property names, each once. */
class StringsBlock {
  readonly block = new BlockWriter();
  readonly #offsets = new Map<string, number>();

  offsetOf(name: string): number {
    let offset = this.#offsets.get(name);
    if (offset === undefined) {
      offset = this.block.length;
      this.#offsets.set(name, offset);
      this.block.bytes(new TextEncoder().encode(`${name}\0`));
    }
    return offset;
  }
}

/** Big-endian bytes, growing. */
class BlockWriter {
  #bytes = new Uint8Array(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  cell(value: number): void {
    const at = this.#grow(4);
    new DataView(this.#bytes.buffer).setUint32(at, value);
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Zeros up to a multiple of 4. */
  align(): void {
    this.#grow(alignUp(this.#length, 4) - this.#length);
  }

  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  copyTo(into: Uint8Array, offset: number): void {
    into.set(this.#bytes.subarray(0, this.#length), offset);
  }

  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return at;
  }
}
