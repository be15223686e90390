import { expect, test } from 'vitest';
import { withoutFrameTables } from './frame-tables.ts';

const HEADER_BYTES = 64;
const NAMES = '\0.eh_frame\0.interp\0.shstrtab\0';
const TABLES = [0x10, 0, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd];

/** An ELF file of that type with these sections, each with TABLES in it. */
function program(type: number, sections: readonly string[], bits = 2): Buffer {
  const names = Buffer.from(NAMES);
  const content = Buffer.concat([...sections.map(() => Buffer.from(TABLES)), names]);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('\x7fELF', 'latin1');
  header.set([bits, 1], 4);
  header.writeUInt16LE(type, 16);
  header.writeBigUInt64LE(BigInt(HEADER_BYTES + content.length), 40);
  const all = [...sections, '.shstrtab'];
  header.writeUInt16LE(all.length + 1, 60);
  header.writeUInt16LE(all.length, 62);
  const headers = all.map((name, at) => {
    const fields = Buffer.alloc(HEADER_BYTES);
    fields.writeUInt32LE(NAMES.indexOf(`\0${name}\0`) + 1, 0);
    fields.writeUInt32LE(1, 4);
    fields.writeBigUInt64LE(BigInt(HEADER_BYTES + TABLES.length * at), 24);
    fields.writeBigUInt64LE(BigInt(name === '.shstrtab' ? names.length : TABLES.length), 32);
    return fields;
  });
  return Buffer.concat([header, content, Buffer.alloc(HEADER_BYTES), ...headers]);
}

test('of a static program the tables for unwinding are emptied, and nothing else is changed', () => {
  const before = program(2, ['.eh_frame']);
  const after = withoutFrameTables(before, 'x');
  const wanted = Buffer.from(before);
  wanted.fill(0, HEADER_BYTES, HEADER_BYTES + TABLES.length);
  expect(Buffer.compare(after, wanted)).toBe(0);
  // What was read of a package is not changed.
  expect(before[HEADER_BYTES]).toBe(0x10);
});

test('a program that others load, has no tables, or is of another kind stays as it is; one that is cut short is refused', () => {
  for (const other of [
    program(3, ['.eh_frame']),
    program(2, ['.eh_frame', '.interp']),
    program(2, ['.interp']),
    program(2, ['.eh_frame'], 1),
    Buffer.from('#!/bin/sh\n'),
  ])
    expect(withoutFrameTables(other, 'x')).toBe(other);
  const whole = program(2, ['.eh_frame']);
  expect(() => withoutFrameTables(whole.subarray(0, whole.length - 10), 'x')).toThrow('x is not a sound ELF file');
});
