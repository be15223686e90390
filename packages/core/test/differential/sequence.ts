/** Instructions one after the other, in items that the minimiser can take out: what blocks and hot functions are written with. */

import { assert, defined } from '../../src/base/assert.ts';
import type { Random } from '../../src/engine/float/testing/vectors.ts';
import { assemble } from '../../src/isa/assemble.ts';
import { encode } from '../../src/isa/encode.ts';
import { withField } from '../../src/isa/encoding.ts';
import type { Instruction } from '../../src/isa/instruction.ts';
import { instructionNamed, instructions } from '../../src/isa/instructions.ts';
import { loadImmediate } from '../../src/isa/pseudo-instructions.ts';
import { type CodeBuilder, type Item, type Label, type Word, addressOf } from './code-builder.ts';
import { type Operands, isFloatOperand, randomWord, writesStackPointer } from './operands.ts';

export const COMPRESSED_REGISTERS: readonly number[] = [8, 9, 10, 11, 12, 13, 14, 15];

export function named(name: string): Instruction {
  return defined(instructionNamed(name), name);
}

/** A compressed entry's flow is that of its expansion. */
export function flowOf(entry: Instruction): Instruction['flow'] {
  return entry.expansion === undefined ? entry.flow : named(entry.expansion.name).flow;
}

export const isMemory = (entry: Instruction): boolean => entry.syntax.includes('(') && flowOf(entry) === undefined;

/** Neither jumps nor traps nor touches memory. */
export const plainEntries = instructions.filter(
  (entry) =>
    flowOf(entry) === undefined &&
    !isMemory(entry) &&
    !['Zicsr', 'Zicond', 'Zawrs'].includes(entry.extension) &&
    !entry.encoding.fields.has('rm') &&
    !isFloatOperand(entry, 'rd') &&
    entry.name !== 'ctzw',
);

export abstract class Sequence {
  readonly random: Random;
  readonly code: CodeBuilder;
  /** How often each entry was used. */
  readonly used: Map<string, number>;
  /** Instructions that are executed at most, loops counted as often as they turn. */
  executed = 0;
  /** How often what is placed now is executed. */
  weight = 1;
  protected item: Item | undefined;

  constructor(random: Random, code: CodeBuilder, used: Map<string, number>) {
    this.random = random;
    this.code = code;
    this.used = used;
  }

  /** Integer registers that an instruction may write now. */
  abstract get writable(): number[];

  /** Everything that `work` places is one item. */
  grouped(work: () => void): void {
    if (this.item !== undefined) {
      work();
      return;
    }
    this.item = this.code.item();
    work();
    this.item = undefined;
  }

  /** What `work` places belongs to `item`, or to items of its own when there is none. */
  within(item: Item | undefined, work: () => void): void {
    const outer = this.item;
    this.item = item;
    work();
    this.item = outer;
  }

  /** Places an instruction by its name. */
  emit(name: string, operands: Operands | ((address: number) => Operands)): void {
    const entry = named(name);
    if (typeof operands === 'function') {
      this.count(entry);
      this.place(
        (address) => {
          const word = encode(entry, operands(address));
          return typeof word === 'number' ? word : undefined;
        },
        entry.encoding.bits === 16 ? 2 : 4,
      );
      return;
    }
    const word = encode(entry, operands);
    assert(typeof word === 'number', typeof word === 'number' ? '' : word.refused);
    this.placeEntry(entry, word);
  }

  place(word: Word, size: 2 | 4): void {
    this.code.add(this.item, { word, size });
    this.executed += this.weight;
  }

  placeEntry(entry: Instruction, word: Word): void {
    this.count(entry);
    this.place(word, entry.encoding.bits === 16 ? 2 : 4);
  }

  /** A branch or jump whose word is `word` but for its distance. */
  placeToward(entry: Instruction, word: number, target: Label): void {
    const immediate = defined(entry.encoding.fields.get('imm'), entry.name);
    let mask = 0;
    for (const { at, width } of immediate.slices) mask |= (2 ** width - 1) << at;
    const cleared = (word & ~mask) >>> 0;
    this.placeEntry(entry, (address) => withField(immediate, cleared, addressOf(target) - address));
  }

  loadImmediate(register: number, value: bigint): void {
    for (const text of loadImmediate(`x${register}`, BigInt.asIntN(64, value))) this.place(assemble(text), 4);
  }

  /** The address of `label` plus `distance` into a register, by two instructions. */
  loadAddress(register: number, label: Label, distance = 0): void {
    const from = this.code.address;
    const offset = (): number => addressOf(label) + distance - from;
    this.emit('auipc', () => ({ rd: register, imm: upper(offset()) }));
    this.emit('addi', () => ({ rd: register, rs1: register, imm: lower(offset()) }));
  }

  /** A CSR instruction that writes `value` (or sets or clears its bits) by way of a register. */
  writeCsr(name: 'csrrw' | 'csrrs' | 'csrrc', number: number, value: bigint, rd = 0): void {
    const register = this.someWritable();
    this.loadImmediate(register, value);
    this.emit(name, { rd, csr: number, rs1: register });
  }

  someWritable(): number {
    return this.random.pick(this.writable);
  }

  /** A writable register other than those given. */
  another(...than: number[]): number {
    return this.random.pick(this.writable.filter((register) => !than.includes(register)));
  }

  /** Random plain instructions: for between two others. */
  plain(count: number, ...untouched: number[]): void {
    const writable = this.writable.filter((register) => !untouched.includes(register));
    for (let n = 0; n < count; n++) {
      const entry = this.random.pick(plainEntries);
      const word = randomWord({ random: this.random, writable }, entry);
      if (word !== undefined && !writesStackPointer(entry)) this.placeEntry(entry, word);
    }
  }

  protected count(entry: Instruction): void {
    this.used.set(entry.name, (this.used.get(entry.name) ?? 0) + 1);
  }
}

/** `offset` as auipc's upper part and addi's lower one. */
const upper = (offset: number): number => ((offset + 0x800) >> 12) << 12;
const lower = (offset: number): number => offset - upper(offset);

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
