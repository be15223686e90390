import { describe, expect, test } from 'vitest';
import { guestPhysical } from '../../base/numbers.ts';
import { FakeMemory } from '../testing/doubles.ts';
import { findSymbols, isElf, loadElf, parseElf } from './elf.ts';
import { LoadError } from './payload.ts';
import type { BootMemory, LoadErrorCode } from './payload.ts';
import { buildElf, kernel } from './testing/payloads.ts';
import type { ElfSpec } from './testing/payloads.ts';

const BASE = 0x8000_0000;
const SIZE = 0x10_0000;

function ram(): BootMemory & { readonly memory: FakeMemory } {
  return { placement: { base: guestPhysical(BASE), sizeBytes: SIZE }, memory: new FakeMemory(BASE, SIZE) };
}

const SIMPLE: ElfSpec = {
  segments: [
    { physical: BASE + 0x1000, content: Uint8Array.of(1, 2, 3, 4), memorySize: 16 },
    { physical: BASE + 0x2000, content: Uint8Array.of(5) },
  ],
  entry: BigInt(BASE + 0x1002),
  symbols: { start: BigInt(BASE + 0x1002), tohost: BigInt(BASE + 0x1008), tohostile: 1n },
};

/** Where files that may be refused are loaded. */
const scratch = ram();

/** The code and the sentence of the error that this file gives. */
function refusal(bytes: Uint8Array): { code: LoadErrorCode; message: string } | undefined {
  try {
    const elf = parseElf(kernel(bytes, 'a.elf'));
    findSymbols(elf, ['tohost']);
    loadElf(elf, scratch, 0);
    return undefined;
  } catch (error) {
    if (error instanceof LoadError) return { code: error.code, message: error.message };
    throw error;
  }
}

function damaged(change: (view: DataView, bytes: Uint8Array) => void, spec = SIMPLE): LoadErrorCode | undefined {
  const bytes = buildElf(spec);
  change(new DataView(bytes.buffer), bytes);
  return refusal(bytes)?.code;
}

describe('loading', () => {
  test('segments go to their physical addresses, and what the file does not fill is cleared', () => {
    const into = ram();
    into.memory.bytes.fill(0xee);
    const loaded = loadElf(parseElf(kernel(buildElf(SIMPLE))), into, 0);
    expect(loaded).toEqual({ start: BASE + 0x1000, end: BASE + 0x2001, entry: BASE + 0x1002 });
    expect([...into.memory.bytes.subarray(0xfff, 0x1011)]).toEqual([
      0xee, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xee,
    ]);
    expect(into.memory.bytes[0x2000]).toBe(5);
  });

  test('a large tail is cleared to its last byte and no further', () => {
    const into = ram();
    into.memory.bytes.fill(0xee);
    loadElf(
      parseElf(
        kernel(
          buildElf({
            segments: [{ physical: BASE, content: Uint8Array.of(1), memorySize: 0x2_3457 }],
            entry: BigInt(BASE),
          }),
        ),
      ),
      into,
      0,
    );
    expect(into.memory.bytes.subarray(1, 0x2_3458).findIndex((byte) => byte !== 0)).toBe(0x2_3456);
  });

  test('an entry given as a virtual address becomes a physical one', () => {
    const elf = parseElf(
      kernel(
        buildElf({
          segments: [{ physical: BASE, virtual: 0xffff_ffff_8000_0000n, content: new Uint8Array(8) }],
          entry: 0xffff_ffff_8000_0004n,
        }),
      ),
    );
    expect(loadElf(elf, ram(), 0).entry).toBe(BASE + 4);
  });

  test('a relocatable file that begins at 0 goes where it is put; any other stays where it wants to be', () => {
    const spec = { segments: [{ physical: 0, content: new Uint8Array(8) }], entry: 4n, type: 3 };
    expect(loadElf(parseElf(kernel(buildElf(spec))), ram(), BASE)).toEqual({
      start: BASE,
      end: BASE + 8,
      entry: BASE + 4,
    });
    expect(loadElf(parseElf(kernel(buildElf({ ...SIMPLE, type: 3 }))), ram(), BASE).start).toBe(BASE + 0x1000);
    expect(damaged(() => {}, { ...spec, type: 2 })).toBe('outside-memory');
  });

  test('nothing is written when a later segment does not fit', () => {
    const into = ram();
    const spec = {
      ...SIMPLE,
      segments: [...SIMPLE.segments, { physical: BASE + SIZE - 4, content: new Uint8Array(8) }],
    };
    expect(() => loadElf(parseElf(kernel(buildElf(spec))), into, 0)).toThrow(LoadError);
    expect(into.memory.bytes.every((byte) => byte === 0)).toBe(true);
  });

  test('the view may be anywhere in a larger buffer', () => {
    const bytes = buildElf(SIMPLE);
    const larger = new Uint8Array(bytes.length + 64);
    larger.set(bytes, 33);
    expect(parseElf(kernel(larger.subarray(33, 33 + bytes.length))).entry).toBe(SIMPLE.entry);
  });
});

describe('symbols', () => {
  test('are found by their whole name', () => {
    expect(findSymbols(parseElf(kernel(buildElf(SIMPLE))), ['tohost', 'fromhost'])).toEqual(
      new Map([['tohost', BigInt(BASE + 0x1008)]]),
    );
  });

  test('a stripped file has none', () => {
    expect(findSymbols(parseElf(kernel(buildElf({ ...SIMPLE, symbols: {} }))), ['tohost']).size).toBe(0);
  });
});

describe('what is refused', () => {
  test('files that are no program for this machine', () => {
    expect(isElf(new TextEncoder().encode('#!/bin/sh'))).toBe(false);
    expect(refusal(new TextEncoder().encode('x'.repeat(100)))?.code).toBe('malformed');
    expect(damaged((_, bytes) => (bytes[4] = 1))).toBe('wrong-machine');
    expect(damaged((_, bytes) => (bytes[5] = 2))).toBe('wrong-machine');
    expect(damaged((view) => view.setUint16(18, 62, true))).toBe('wrong-machine');
    expect(damaged((view) => view.setUint16(16, 1, true))).toBe('unsupported');
  });

  test('the sentence says what is wrong with which file', () => {
    const bytes = buildElf(SIMPLE);
    new DataView(bytes.buffer).setUint16(18, 62, true);
    expect(refusal(bytes)?.message).toBe(
      'Cannot load kernel "a.elf": it is a program for another processor (ELF machine 62), and this one is RISC-V (243).',
    );
  });

  test('headers that contradict themselves or the file', () => {
    expect(damaged((view) => view.setUint16(56, 0, true))).toBe('malformed');
    expect(damaged((view) => view.setUint16(56, 0xffff, true))).toBe('too-large');
    expect(damaged((view) => view.setUint16(54, 32, true))).toBe('malformed');
    expect(damaged((view) => view.setBigUint64(32, 0xffff_ffff_ffff_fff0n, true))).toBe('malformed');
    expect(damaged((view) => view.setBigUint64(32, 0x10_0000n, true))).toBe('truncated');
    expect(damaged((view) => view.setBigUint64(40, 0x10_0000n, true))).toBe('truncated');
    expect(damaged((view) => view.setUint16(58, 1, true))).toBe('malformed');
    expect(damaged((view) => view.setUint16(60, 0xff00, true))).toBe('too-large');
    expect(damaged((view) => view.setBigUint64(24, 0n, true))).toBe('malformed');
    // No segment is loadable.
    expect(damaged((view) => [64, 64 + 56].forEach((at) => view.setUint32(at, 2, true)))).toBe('malformed');
  });

  test('segments that contradict themselves or the file', () => {
    const segment = 64;
    expect(damaged((view) => view.setBigUint64(segment + 8, 1n << 40n, true))).toBe('truncated');
    expect(damaged((view) => view.setBigUint64(segment + 32, 17n, true))).toBe('malformed');
    expect(damaged((view) => view.setBigUint64(segment + 40, 1n << 60n, true))).toBe('malformed');
    expect(damaged((view) => view.setBigUint64(segment + 40, 1n << 41n, true))).toBe('too-large');
    expect(damaged((view) => view.setBigUint64(segment + 24, 1n << 63n, true))).toBe('malformed');
    expect(damaged((view) => view.setBigUint64(segment + 40, 0x1001n, true))).toBe('malformed');
  });

  test('a symbol table outside the file or without names', () => {
    const sections = (view: DataView): number => Number(view.getBigUint64(40, true));
    expect(damaged((view) => view.setBigUint64(sections(view) + 64 + 24, 1n << 30n, true))).toBe('truncated');
    expect(damaged((view) => view.setUint32(sections(view) + 64 + 40, 99, true))).toBe('malformed');
    expect(damaged((view) => view.setBigUint64(sections(view) + 128 + 32, 1n << 62n, true))).toBe('malformed');
  });

  test('segments outside RAM, with the need when more memory would do', () => {
    const at = (physical: number, memorySize: number): ElfSpec => ({
      segments: [{ physical, content: new Uint8Array(4), memorySize }],
      entry: BigInt(physical),
    });
    expect(refusal(buildElf(at(0x1000, 4)))).toEqual({
      code: 'outside-memory',
      message: 'Cannot load kernel "a.elf": it wants to be at 0x1000 to 0x1004, and RAM begins at 0x80000000.',
    });
    expect(refusal(buildElf(at(BASE + 0x8000, 0x3f_8001)))).toEqual({
      code: 'too-little-memory',
      message: 'Cannot load kernel "a.elf": it needs a machine with at least 5 MiB of memory, and this one has 1 MiB.',
    });
  });

  test('a file cut off anywhere', () => {
    const bytes = buildElf(SIMPLE);
    expect(refusal(bytes.subarray(0, 63))?.message).toBe(
      'Cannot load kernel "a.elf": the file ends before its header does (it has 63 bytes and needs 64); is it complete?',
    );
    for (let length = 0; length < bytes.length; length++) {
      expect(refusal(bytes.subarray(0, length)), `${length} bytes`).toBeDefined();
    }
    expect(refusal(bytes)).toBeUndefined();
  });

  test('any byte damaged: a LoadError or a program, never anything else', () => {
    const bytes = buildElf(SIMPLE);
    for (let offset = 0; offset < bytes.length; offset++) {
      for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
        const copy = bytes.slice();
        copy[offset] = value;
        expect(() => refusal(copy)).not.toThrow();
      }
    }
  });
});
