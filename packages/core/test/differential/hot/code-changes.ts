/** Statements that change code while it runs, and where code and data are found. */

import { addressOf, type Label } from '../code-builder.ts';
import { PAGE } from '../page-tables.ts';
import { CODE } from '../places.ts';
import { plainWord } from '../plain-word.ts';
import { encode } from '../../../src/isa/encode.ts';
import { named } from '../sequence.ts';
import { defined } from '../../../src/base/assert.ts';
import { type HotFunction, LINK } from './function.ts';
import { callWindow } from './calls.ts';
import { ALIAS_VA, CODE_WINDOWS, DATA_WINDOWS, REMAP_WORD, SWITCH_WORD } from './layout.ts';
import { windowData } from './memory.ts';
import type { Statement } from './statement.ts';

/** More changes of code are asked of none but our own tiers: each makes the other emulator translate anew. */
const MOST_CHANGES = 300;
const NEAR_PAGE_END = 64;

/** The address of code to be written to, into `register`: where it runs, or where the same page is mapped once more. */
function writableAddress(f: HotFunction, register: number, label: Label): void {
  const { world, random } = f;
  if (world.level !== 'machine' && world.cells.hasRoom(1) && random.below(3) === 0)
    f.loadCell(
      register,
      world.cells.add(() => BigInt(addressOf(label) - CODE) + ALIAS_VA),
    );
  else f.loadAddress(register, label);
}

/** What is at `label` is exchanged with something else, `difference` apart, by stores of `width`. */
function toggle(f: HotFunction, label: Label, width: 'h' | 'w', difference: () => number): void {
  const { world } = f;
  f.holding((at) =>
    f.holding((value) =>
      f.holding((other) => {
        writableAddress(f, at, label);
        f.loadCell(
          other,
          world.cells.add(() => BigInt(difference() >>> 0)),
        );
        for (const imm of width === 'h' ? [0, 2] : [0]) {
          f.emit(width === 'h' ? 'lhu' : 'lw', { rd: value, rs1: at, imm });
          f.emit('xor', { rd: value, rs1: value, rs2: other });
          f.emit(`s${width}`, { rs1: at, rs2: value, imm });
          if (imm === 0) f.emit('srli', { rd: other, rs1: other, uimm: 16 });
        }
      }),
    ),
  );
  if (!world.isStrict || f.random.below(3) === 0) f.emit('fence.i', {});
}

/** An instruction ahead or behind that computes something else each time. */
function changeInstruction(f: HotFunction): void {
  const { random, code } = f;
  const isWritable = (register: number): boolean => f.writable.includes(register);
  const [first, second] = [plainWord(random, isWritable), plainWord(random, isWritable)];
  const target = code.label();
  f.world.changeable.push({ label: target, difference: first ^ second });
  const isBehind = random.below(3) === 0;
  const slot = (): void => {
    // Across a page's end, where one is near.
    const left = PAGE - (code.address % PAGE);
    if (left < NEAR_PAGE_END) for (let n = 2; n < left; n += 2) f.emit('c.nop', {});
    code.place(target);
    f.place(first, 4);
  };
  if (isBehind) {
    slot();
    f.plain(random.below(3));
  }
  toggle(f, target, random.pick(['h', 'w']), () => first ^ second);
  if (isBehind) return;
  f.plain(random.below(3));
  slot();
}

/** An instruction of another function, or of this one, becomes what else it can be. */
function changeElsewhere(f: HotFunction): void {
  const { label, difference } = f.random.pick(f.world.changeable);
  toggle(f, label, f.random.pick(['h', 'w']), () => difference);
}

/** A jump that leads to one place and then to another. */
function changeJump(f: HotFunction): void {
  const { random, code } = f;
  const [target, one, other, end] = [code.label(), code.label(), code.label(), code.label()];
  const word = (to: Label): number => {
    const encoded = encode(named('jal'), { rd: 0, imm: addressOf(to) - addressOf(target) });
    return defined(typeof encoded === 'number' ? encoded : undefined, 'a jump within a function');
  };
  toggle(f, target, random.pick(['h', 'w']), () => word(one) ^ word(other));
  code.place(target);
  f.place(() => word(one), 4);
  code.place(one);
  f.nested(1, () => f.statements(1));
  f.jump(end);
  code.place(other);
  f.nested(1, () => f.statements(1));
  code.place(end);
}

/** Data among the code: a sum that grows beside the instructions that add to it. */
function dataInCode(f: HotFunction): void {
  const { random, code } = f;
  const [data, over] = [code.label(), code.label()];
  f.jump(over);
  code.place(data);
  for (let n = 0; n < 4; n++) f.place(0, 2);
  code.place(over);
  f.holding((at) =>
    f.holding((value) => {
      writableAddress(f, at, data);
      const [load, store] = random.pick([
        ['ld', 'sd'],
        ['lw', 'sw'],
        ['lbu', 'sb'],
      ] as const);
      f.emit(load, { rd: value, rs1: at, imm: 0 });
      f.emit('add', { rd: value, rs1: value, rs2: random.below(32) });
      f.emit(store, { rs1: at, rs2: value, imm: 0 });
    }),
  );
  if (!f.world.isStrict) f.emit('fence.i', {});
}

/** Asks for another page behind a window, and looks. */
function remap(f: HotFunction): void {
  const { random } = f;
  const window = random.below(DATA_WINDOWS + CODE_WINDOWS);
  f.place((REMAP_WORD | (window << 7)) >>> 0, 4);
  if (random.below(4) === 0) return;
  if (window < DATA_WINDOWS) windowData(f, window);
  else callWindow(f, window);
}

/** To the other address space, by asking or by oneself. */
function switchSpace(f: HotFunction): void {
  const { world } = f;
  if (world.level === 'user' || f.random.below(2) === 0) {
    f.place(SWITCH_WORD, 4);
    return;
  }
  f.holding((space) =>
    f.holding((difference) => {
      f.loadCell(difference, world.otherSpace);
      f.emit('csrrs', { rd: space, csr: 0x180, rs1: 0 });
      f.emit('xor', { rd: space, rs1: space, rs2: difference });
      f.emit('csrrw', { rd: 0, csr: 0x180, rs1: space });
    }),
  );
}

function fence(f: HotFunction): void {
  const name = f.random.pick(['fence.i', 'sfence.vma', 'fence']);
  if (name !== 'sfence.vma') f.emit(name, {});
  else if (f.world.level !== 'user') f.emit(name, { rs1: f.random.pick([0, 8, LINK]), rs2: f.random.pick([0, 0, 4]) });
}

const mayChange = (f: HotFunction): boolean =>
  f.world.cells.hasRoom(2) && (f.world.isStrict || f.weight <= MOST_CHANGES);
const mayRemap = (f: HotFunction): boolean => f.world.level !== 'machine' && f.affords(60);

export const codeChanges: readonly Statement[] = [
  { share: 4, place: changeInstruction, isBound: true, isPossible: mayChange },
  {
    share: 3,
    place: changeElsewhere,
    isBound: true,
    isPossible: (f) => mayChange(f) && f.world.changeable.length > 0,
  },
  { share: 2, place: changeJump, isBound: true, isNest: true, isPossible: mayChange },
  { share: 2, place: dataInCode, isBound: true, isPossible: mayChange },
  { share: 6, place: remap, isBound: true, isPossible: mayRemap },
  { share: 4, place: switchSpace, isBound: true, isPossible: mayRemap },
  { share: 2, place: fence },
];
