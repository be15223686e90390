import { describe, expect, test } from 'vitest';
import { AssertionFailure } from '../../base/assert.ts';
import type { TreeNode, TreeValue } from '../device.ts';
import { HEADER, MAXIMUM_DEPTH, MAXIMUM_FDT_BYTES, TOKEN } from './format.ts';
import { FdtError, asCells, asStrings, nodeAt, readTree } from './read.ts';
import type { FdtErrorCode } from './read.ts';
import { flattenTree } from './write.ts';

function tree(properties: Record<string, TreeValue>, ...children: TreeNode[]): TreeNode {
  return { name: '', properties, children };
}

function valueOf(value: TreeValue, ...children: TreeNode[]): Uint8Array | undefined {
  return readTree(flattenTree(tree({ value }, ...children))).root.properties.get('value');
}

describe('writing', () => {
  test('every kind of value has its bytes', () => {
    expect(valueOf(true)).toEqual(Uint8Array.of());
    expect(valueOf(0x01020304)).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect(valueOf(0x01n)).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1));
    expect(valueOf(0xffff_ffff_0000_0001n)).toEqual(Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 1));
    expect(valueOf('ab')).toEqual(Uint8Array.of(97, 98, 0));
    expect(valueOf(['a', 'b'])).toEqual(Uint8Array.of(97, 0, 98, 0));
    expect(valueOf([1, 2])).toEqual(Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 2));
    expect(valueOf([])).toEqual(Uint8Array.of());
    expect(valueOf(Uint8Array.of(1, 2, 3))).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('labelled nodes get phandles, and references become them', () => {
    const flat = flattenTree(
      tree(
        { 'interrupt-parent': { phandleOf: 'late' }, list: [{ phandleOf: 'early' }, 9] },
        { name: 'a', label: 'early', properties: {} },
        { name: 'b', label: 'late', properties: {} },
      ),
    );
    const { root } = readTree(flat);
    expect(asCells(root.properties.get('interrupt-parent')!)).toEqual([2]);
    expect(asCells(root.properties.get('list')!)).toEqual([1, 9]);
    expect(root.children.map((child) => asCells(child.properties.get('phandle')!))).toEqual([[1], [2]]);
  });

  test('the header is version 17, and every block lies where it says', () => {
    const flat = flattenTree(tree({ a: 1 }, { name: 'child', properties: { a: 2 } }));
    const view = new DataView(flat.buffer);
    expect(view.getUint32(HEADER.magic)).toBe(0xd00dfeed);
    expect(view.getUint32(HEADER.totalsize)).toBe(flat.length);
    expect([view.getUint32(HEADER.version), view.getUint32(HEADER.last_comp_version)]).toEqual([17, 16]);
    expect(view.getUint32(HEADER.off_mem_rsvmap) % 8).toBe(0);
    expect(view.getUint32(HEADER.off_dt_struct) % 4).toBe(0);
    // One name, written once.
    expect(view.getUint32(HEADER.size_dt_strings)).toBe(2);
  });

  test.each<[string, TreeNode]>([
    ['a reference to no node', tree({ a: { phandleOf: 'nobody' } })],
    [
      'two nodes of one label',
      tree({}, { name: 'a', label: 'x', properties: {} }, { name: 'b', label: 'x', properties: {} }),
    ],
    ['two children of one name', tree({}, { name: 'a', properties: {} }, { name: 'a', properties: {} })],
    ['a node name that does not exist', tree({}, { name: 'a/b', properties: {} })],
    ['a property name that does not exist', tree({ 'a b': 1 })],
    ['a cell that does not fit', tree({ a: 2 ** 32 })],
    ['a negative cell', tree({ a: [-1] })],
    ['a string with a NUL', tree({ a: 'a\0b' })],
    ['too much', tree({ a: new Uint8Array(MAXIMUM_FDT_BYTES) })],
  ])('%s is a mistake of ours', (_, root) => {
    expect(() => flattenTree(root)).toThrow(AssertionFailure);
  });
});

describe('reading', () => {
  const source = tree(
    { compatible: ['x,y', 'z'] },
    { name: 'soc', properties: { ranges: true }, children: [{ name: 'uart@1000', properties: { reg: [0, 0x1000] } }] },
  );

  test('gives back what was written', () => {
    const { root, reservations, bootCpu } = readTree(flattenTree(source));
    expect(asStrings(root.properties.get('compatible')!)).toEqual(['x,y', 'z']);
    expect(nodeAt(root, '/soc/uart@1000')?.name).toBe('uart@1000');
    expect(nodeAt(root, '/soc')?.properties.get('ranges')).toEqual(new Uint8Array(0));
    expect(nodeAt(root, '/soc/nobody/there')).toBeUndefined();
    expect(nodeAt(root, '/')).toBe(root);
    expect([reservations, bootCpu]).toEqual([[], 0]);
  });

  test('a tree may lie in a larger buffer, at any offset', () => {
    const flat = flattenTree(source);
    const buffer = new Uint8Array(flat.length + 100).fill(0xaa);
    buffer.set(flat, 13);
    expect(readTree(buffer.subarray(13)).root.children[0]?.name).toBe('soc');
  });

  /** The code of the error that the tree gives when it was changed so. */
  function codeOf(
    change: (view: DataView, bytes: Uint8Array) => void,
    root: TreeNode = source,
  ): FdtErrorCode | undefined {
    const bytes = flattenTree(root);
    change(new DataView(bytes.buffer), bytes);
    try {
      readTree(bytes);
      return undefined;
    } catch (error) {
      if (error instanceof FdtError) return error.code;
      throw error;
    }
  }

  const structure = (view: DataView): number => view.getUint32(HEADER.off_dt_struct);

  test('a wrong header is refused', () => {
    expect(codeOf((view) => view.setUint32(HEADER.magic, 0xedfe0dd0))).toBe('not-a-tree');
    expect(codeOf((view) => view.setUint32(HEADER.totalsize, 0xffff_ffff))).toBe('too-large');
    expect(codeOf((view) => view.setUint32(HEADER.totalsize, view.byteLength + 4))).toBe('truncated');
    expect(codeOf((view) => view.setUint32(HEADER.version, 16))).toBe('unsupported-version');
    expect(codeOf((view) => view.setUint32(HEADER.last_comp_version, 18))).toBe('unsupported-version');
    for (const offset of [HEADER.off_dt_struct, HEADER.off_dt_strings, HEADER.off_mem_rsvmap]) {
      for (const value of [0, 1, 0x7fff_fffc, 0xffff_ffff])
        expect(codeOf((view) => view.setUint32(offset, value))).toBe('bad-layout');
    }
    for (const size of [HEADER.size_dt_struct, HEADER.size_dt_strings])
      expect(codeOf((view) => view.setUint32(size, 0xffff_fff0))).toBe('bad-layout');
    expect(() => readTree(new Uint8Array(39))).toThrow(/fewer than its header/);
    expect(() => readTree(new TextEncoder().encode('#!/bin/sh\n'.repeat(9)))).toThrow(
      'The device tree is not usable: it does not begin with 0xd00dfeed',
    );
  });

  test('memory reservations that never end are refused', () => {
    expect(
      codeOf((view, bytes) => {
        bytes.fill(1, view.getUint32(HEADER.off_mem_rsvmap));
        view.setUint32(HEADER.off_mem_rsvmap, bytes.length - 16 - (bytes.length % 8));
      }),
    ).toBe('bad-layout');
  });

  test('a wrong structure is refused', () => {
    const names = { properties: {}, name: '' };
    expect(codeOf((view) => view.setUint32(structure(view), TOKEN.end))).toBe('bad-structure');
    expect(codeOf((view) => view.setUint32(structure(view), 0x1234))).toBe('bad-structure');
    expect(codeOf((view) => view.setUint32(HEADER.size_dt_struct, 12))).toBe('truncated');
    expect(codeOf((view) => view.setUint32(structure(view) + 8, 7), names)).toBe('bad-structure');
    expect(codeOf((view) => view.setUint32(structure(view) + 12, TOKEN.beginNode), names)).toBe('bad-structure');
    // The root's first property: token, length, name offset.
    expect(codeOf((view) => view.setUint32(structure(view) + 12, 0x7fff_ffff))).toBe('truncated');
    expect(codeOf((view) => view.setUint32(structure(view) + 16, 0x1000))).toBe('bad-layout');
    expect(codeOf((view) => view.setUint8(view.getUint32(HEADER.off_dt_strings), 0x20))).toBe('bad-name');
    expect(codeOf((view) => view.setUint8(structure(view) + 4, 0x61))).not.toBeUndefined();
  });

  test('a node name with a stroke, a name that does not end, a property behind a child, twins: refused', () => {
    const two = tree({}, { name: 'aaa', properties: {} }, { name: 'bbb', properties: {} });
    const first = (view: DataView): number => structure(view) + 12;
    expect(codeOf((view) => view.setUint8(first(view), 0x2f), two)).toBe('bad-name');
    expect(codeOf((view, bytes) => bytes.copyWithin(first(view) + 12, first(view), first(view) + 3), two)).toBe(
      'bad-structure',
    );
    expect(codeOf((view, bytes) => bytes.fill(0x61, first(view)), two)).not.toBeUndefined();
    const late = tree({}, { name: 'a', properties: { x: 1 } });
    expect(
      codeOf((view) => {
        // Ends the child before its property, which then follows it in the root.
        const at = structure(view) + 16;
        const cells = Array.from({ length: 4 }, (_, index) => view.getUint32(at + index * 4));
        view.setUint32(at, TOKEN.endNode);
        cells.forEach((cell, index) => view.setUint32(at + 4 + index * 4, cell));
      }, late),
    ).toBe('bad-structure');
  });

  test('nodes nested too deep are refused', () => {
    let node: TreeNode = { name: 'n', properties: {} };
    for (let depth = 0; depth < MAXIMUM_DEPTH; depth++) node = { name: 'n', properties: {}, children: [node] };
    expect(codeOf(() => {}, tree({}, node))).toBe('too-large');
  });

  test('damage anywhere gives an FdtError or another tree, never anything else', () => {
    const flat = flattenTree(source);
    for (let offset = 0; offset < flat.length; offset++) {
      for (const value of [0, 1, 0x2f, 0x80, 0xff]) {
        expect(() => codeOf((_, bytes) => (bytes[offset] = value))).not.toThrow();
      }
    }
    for (let length = 0; length < flat.length; length++)
      expect(() => readTree(flat.subarray(0, length))).toThrow(FdtError);
  });
});

test('values that are no cells or strings are refused', () => {
  expect(() => asCells(new Uint8Array(3))).toThrow(FdtError);
  expect(() => asStrings(Uint8Array.of(65))).toThrow(FdtError);
});
