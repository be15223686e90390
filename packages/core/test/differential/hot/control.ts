/** Statements that decide where to go on, within a function. */

import { type Label, addressOf } from '../code-builder.ts';
import { plainWord } from '../plain-word.ts';
import { COMPRESSED_REGISTERS } from '../sequence.ts';
import { BRANCHES, CELL_REGISTER, type HotFunction } from './function.ts';
import type { Statement } from './statement.ts';

const TIMES = [2, 3, 7, 20, 60, 200, 600, 2000];
/** Instructions of an iteration, at least: a loop that cannot afford them is not begun. */
const LEAST_BODY = 15;

function loop(f: HotFunction): void {
  const { random, code } = f;
  const counter = f.freeCounter;
  const possible = TIMES.filter((times) => times * f.weight <= f.limits.weight && f.affords(times * LEAST_BODY));
  if (counter === undefined || possible.length === 0) return;
  // Hot ones are what this is about.
  const times = random.pick(random.below(3) === 0 ? possible : possible.slice(-3));
  const [top, next, end] = [code.label(), code.label(), code.label()];
  const body = (first: boolean): void =>
    f.looping(counter, times, { next, end }, () => f.statements((first ? 1 : 0) + random.below(4)));
  switch (random.below(4)) {
    case 0: {
      // Tested at the top; the way out may be too far for a branch.
      f.loadImmediate(counter, BigInt(times));
      code.place(top);
      const inside = code.label();
      f.emit('bne', (address) => ({ rs1: counter, rs2: 0, imm: addressOf(inside) - address }));
      f.jump(end);
      code.place(inside);
      body(true);
      code.place(next);
      decrement(f, counter);
      f.jump(top);
      break;
    }
    case 1: {
      // Counts up.
      f.loadImmediate(counter, 0n);
      code.place(top);
      body(true);
      code.place(next);
      const limit = f.someWritable();
      f.emit('addi', { rd: counter, rs1: counter, imm: 1 });
      f.loadImmediate(limit, BigInt(times));
      backward(f, random.pick(['blt', 'bltu', 'bne']), counter, limit, top);
      break;
    }
    case 2: {
      // Entered in the middle: two ways in, so no natural loop.
      f.loadImmediate(counter, BigInt(times));
      const middle = code.label();
      if (random.below(2) === 0) f.jump(middle);
      else f.branch(middle);
      code.place(top);
      body(true);
      code.place(middle);
      body(false);
      code.place(next);
      decrement(f, counter);
      backward(f, 'bne', counter, 0, top);
      break;
    }
    default:
      f.loadImmediate(counter, BigInt(times));
      code.place(top);
      body(true);
      code.place(next);
      decrement(f, counter);
      if (COMPRESSED_REGISTERS.includes(counter) && code.address - addressOf(top) < 250) {
        const word = (address: number): number => addressOf(top) - address;
        f.emit('c.bnez', (address) => ({ "rs1'": counter, imm: word(address) }));
      } else {
        const [name, rs1, rs2] = random.pick([
          ['bne', counter, 0],
          ['bne', 0, counter],
          ['blt', 0, counter],
          ['bltu', 0, counter],
        ] as const);
        backward(f, name, rs1, rs2, top);
      }
  }
  code.place(end);
}

function decrement(f: HotFunction, counter: number): void {
  if (f.random.below(2) === 0) f.emit('c.addi', { rd: counter, imm: -1 });
  else f.emit('addi', { rd: counter, rs1: counter, imm: -1 });
}

/** A branch back, or around a jump back where that is too far for a branch. */
function backward(f: HotFunction, name: string, rs1: number, rs2: number, top: Label): void {
  if (f.code.address - addressOf(top) < 4000) {
    f.emit(name, (address) => ({ rs1, rs2, imm: addressOf(top) - address }));
    return;
  }
  const opposite: Record<string, string> = { bne: 'beq', blt: 'bge', bltu: 'bgeu' };
  f.emit(opposite[name] ?? name, { rs1, rs2, imm: 8 });
  f.jump(top);
}

function choice(f: HotFunction): void {
  const { random, code } = f;
  const [otherwise, end] = [code.label(), code.label()];
  const hasElse = random.below(2) === 0;
  f.branch(hasElse ? otherwise : end);
  f.nested(1, () => f.statements(1 + random.below(3)));
  if (hasElse) {
    f.jump(end);
    code.place(otherwise);
    f.nested(1, () => f.statements(1 + random.below(3)));
  }
  code.place(end);
}

/** A jump by a table of addresses, or to one of several jumps in a row. */
function jumpTable(f: HotFunction): void {
  const { random, code, world } = f;
  const count = random.pick([2, 4, 8]);
  const cases = Array.from({ length: count }, () => code.label());
  const [end, row] = [code.label(), code.label()];
  const byTable = random.below(3) > 0;
  // In a loop its counter is a good index; otherwise whatever there is.
  const source = f.busyCounters.length > 0 && random.below(2) === 0 ? random.pick(f.busyCounters) : random.below(32);
  f.holding((index) => {
    f.emit('andi', { rd: index, rs1: source, imm: count - 1 });
    f.emit('slli', { rd: index, rs1: index, uimm: 3 });
    if (byTable) {
      const table = world.cells.add(...cases.map((label) => () => BigInt(addressOf(label))));
      f.emit('add', { rd: index, rs1: index, rs2: CELL_REGISTER });
      f.emit('ld', { rd: index, rs1: index, imm: table });
    } else {
      f.holding((base) => {
        f.loadAddress(base, row);
        f.emit('add', { rd: index, rs1: index, rs2: base });
      });
    }
    if (random.below(2) === 0) f.emit('c.jr', { rs1: index });
    else f.emit('jalr', { rd: 0, rs1: index, imm: 0 });
  });
  if (!byTable) {
    code.place(row);
    for (const label of cases) {
      f.place(
        plainWord(random, (register) => f.writable.includes(register)),
        4,
      );
      f.jump(label);
    }
  }
  for (const label of cases) {
    code.place(label);
    f.nested(1, () => f.statements(1 + random.below(2)));
    // Or falls through to the next case.
    if (random.below(4) > 0) f.jump(end);
  }
  code.place(end);
}

/** Leaves a loop, this one or one around it, when two registers happen to be the same; or goes on with its next iteration. */
function leave(f: HotFunction): void {
  const { random, code } = f;
  const { next, end } = random.pick(f.scopes);
  if (random.below(2) === 0) {
    f.branch(next);
    return;
  }
  const over = code.label();
  f.emit('bne', (address) => ({
    rs1: random.pick(f.writable),
    rs2: random.pick(f.writable),
    imm: addressOf(over) - address,
  }));
  f.jump(end);
  code.place(over);
}

/** A branch to the next instruction, or over one. */
function shortBranch(f: HotFunction): void {
  const over = f.code.label();
  f.branch(over, BRANCHES);
  f.plain(f.random.below(3));
  f.code.place(over);
}

export const control: readonly Statement[] = [
  { share: 14, place: loop, isNest: true, isPossible: (f) => f.freeCounter !== undefined && f.affords(2 * LEAST_BODY) },
  { share: 8, place: choice, isNest: true },
  { share: 4, place: jumpTable, isNest: true, isPossible: (f) => f.world.cells.hasRoom(8) },
  { share: 5, place: leave, isPossible: (f) => f.scopes.length > 0 },
  { share: 4, place: shortBranch },
];
