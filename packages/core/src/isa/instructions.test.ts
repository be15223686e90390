import { expect, test } from 'vitest';

import { defined } from '../base/assert.ts';
import { decode } from './decode.ts';
import { encode } from './encode.ts';
import type { Decoded, Instruction } from './instruction.ts';
import { immediateOf } from './instruction.ts';
import { instructionNamed, instructions } from './instructions.ts';
import { operandsOf } from './operands.ts';

/** Entries whose words are all words of another entry too, which is the less specific one: "special in general". */
const SPECIALISATIONS = [
  'pause in fence',
  'fence.tso in fence',
  'c.nop in c.addi',
  'c.addi16sp in c.lui',
  'c.jr in c.mv',
  'c.jalr in c.add',
  'c.ebreak in c.add',
  'c.ebreak in c.jalr',
];

/** Every 16-bit word that is an instruction. */
const compressedWords: readonly (readonly [number, Decoded])[] = Array.from({ length: 0x10000 }, (_, word) => word)
  .filter((word) => (word & 3) !== 3)
  .flatMap((word) => {
    const decoded = decode(word);
    return decoded === undefined ? [] : [[word, decoded] as const];
  });

function overlap(a: Instruction, b: Instruction): boolean {
  return (
    a.encoding.bits === b.encoding.bits &&
    ((a.encoding.match ^ b.encoding.match) & a.encoding.mask & b.encoding.mask) === 0
  );
}

test('two entries share words only where one specialises the other on purpose', () => {
  const found: string[] = [];
  for (const [index, a] of instructions.entries()) {
    for (const b of instructions.slice(index + 1)) {
      if (!overlap(a, b)) continue;
      const common = (a.encoding.mask & b.encoding.mask) >>> 0;
      if (common === b.encoding.mask) found.push(`${a.name} in ${b.name}`);
      else if (common === a.encoding.mask) found.push(`${b.name} in ${a.name}`);
      else found.push(`${a.name} and ${b.name} overlap in part`);
    }
  }
  expect(found.toSorted()).toEqual(SPECIALISATIONS.toSorted());
});

test('every entry either means something or expands to an entry that does', () => {
  for (const entry of instructions) {
    if (entry.expansion === undefined) expect(entry.meaning, entry.name).toBeTypeOf('function');
    else expect(instructionNamed(entry.expansion.name)?.meaning, entry.name).toBeTypeOf('function');
  }
});

test('every entry has a syntax of its own fields and a sentence that says what it does', () => {
  for (const entry of instructions) {
    expect(() => operandsOf(entry)).not.toThrow();
    expect(entry.summary, entry.name).toMatch(/^\S.*\.$/);
  }
});

test('every compressed entry has words, and every field of its full instruction has a source', () => {
  const seen = new Set(compressedWords.map(([, { written }]) => written));
  for (const entry of instructions.filter(({ extension }) => extension === 'C')) {
    expect(seen.has(entry), entry.name).toBe(true);
    const { name, operands } = defined(entry.expansion, entry.name);
    const full = defined(instructionNamed(name), name);
    const immediate = immediateOf(full)?.name;
    const needed = [...full.encoding.fields.keys()].map((field) => (field === immediate ? 'imm' : field));
    expect(Object.keys(operands).toSorted(), entry.name).toEqual(needed.toSorted());
  }
});

test("every 16-bit instruction's operands fit its full instruction", () => {
  for (const [word, { instruction, rd, rs1, rs2, imm }] of compressedWords) {
    const immediate = immediateOf(instruction)?.name;
    const full = encode(instruction, { rd, rs1, rs2, ...(immediate === undefined ? {} : { [immediate]: imm }) });
    const again = typeof full === 'number' ? decode(full) : undefined;
    const same =
      again?.instruction === instruction &&
      again.rd === rd &&
      again.rs1 === rs1 &&
      again.rs2 === rs2 &&
      again.imm === imm;
    if (!same) expect.fail(`0x${word.toString(16)} is ${JSON.stringify(full)} as ${instruction.name}`);
  }
});
