/** Statements that load and store. */

import type { Instruction } from '../../../src/isa/instruction.ts';
import { instructions } from '../../../src/isa/instructions.ts';
import { withField } from '../../../src/isa/encoding.ts';
import { boundary } from '../operands.ts';
import { COMPRESSED_REGISTERS, isMemory } from '../sequence.ts';
import { type HotFunction, LOCALS_BYTES, POINTERS, RISK_POINTER, SCRATCH_REGISTER, STACK_POINTER } from './function.ts';
import { CODE_RISKS, DATA_WINDOWS, DATA_WINDOW_VA, FOREIGN_VA, RISKS, RISK_VA, WINDOW_STRIDE } from './layout.ts';
import { PLAIN_TRAP, type Statement } from './statement.ts';

const all = instructions.filter(
  (entry) => isMemory(entry) && !/^(lr|sc)\./.test(entry.name) && !['Zicbom', 'Zicboz'].includes(entry.extension),
);
const atomics = all.filter((entry) => entry.encoding.fields.has('aq'));
const ofStack = all.filter((entry) => entry.syntax.includes('(x2)'));
const loadsAndStores = all.filter((entry) => !atomics.includes(entry) && !ofStack.includes(entry));
const wide = loadsAndStores.filter((entry) => entry.encoding.bits === 32);

/** Nothing is there: an access fault, or a page fault where addresses are translated. */
const NOWHERE = [0x9000_0000n, 1n << 50n, 1n << 63n, 0x1f_0000_0000n, 0xffff_ffff_ffff_f000n];

/** `entry` at `base`, with an offset of at most `reach` either way. */
function access(f: HotFunction, entry: Instruction, base: number, reach: number): void {
  const { random } = f;
  const { fields } = entry.encoding;
  const immediate = fields.get('imm') ?? fields.get('uimm');
  const fixed: Record<string, number> = fields.has("rs1'") ? { "rs1'": base } : fields.has('rs1') ? { rs1: base } : {};
  if (immediate !== undefined) {
    const offset = boundary(random, immediate) & (random.below(5) === 0 ? -1 : -8);
    if (Math.abs(offset) > reach || withField(immediate, 0, offset) === undefined) fixed[immediate.name] = 0;
    else fixed[immediate.name] = offset;
  }
  f.placeRandom(entry, fixed, base);
}

function loadOrStore(f: HotFunction): void {
  const { random } = f;
  for (let n = 1 + random.below(3); n > 0; n--) {
    const entry = random.pick(loadsAndStores);
    const base = random.pick(entry.encoding.fields.has("rs1'") ? POINTERS : [...POINTERS, SCRATCH_REGISTER]);
    access(f, entry, base, 2040);
  }
}

function local(f: HotFunction): void {
  access(f, f.random.pick(ofStack), STACK_POINTER, LOCALS_BYTES - 8);
}

/** A pointer to another place in scratch memory, wherever a register says. */
function movePointer(f: HotFunction): void {
  const { random } = f;
  const pointer = random.pick(POINTERS);
  f.holding((offset) => {
    f.emit('slli', { rd: offset, rs1: random.below(32), uimm: 49 });
    f.emit('srli', { rd: offset, rs1: offset, uimm: random.pick([49, 49, 50, 55]) });
    if (random.below(2) === 0) f.emit('andi', { rd: offset, rs1: offset, imm: -8 });
    f.emit('add', { rd: offset, rs1: offset, rs2: SCRATCH_REGISTER });
    f.emit('lui', { rd: pointer, imm: random.pick([-7, -5, -3, -1]) * 0x1000 });
    f.emit('add', { rd: pointer, rs1: pointer, rs2: offset });
  });
}

/** Through memory by the counter of a loop: neighbours, every cache line, or a page at a time. */
function walk(f: HotFunction): void {
  const { random } = f;
  f.holding((at) => {
    f.emit('slli', { rd: at, rs1: random.pick(f.busyCounters), uimm: random.below(13) });
    f.emit('slli', { rd: at, rs1: at, uimm: 50 });
    f.emit('srli', { rd: at, rs1: at, uimm: 50 });
    f.emit('add', { rd: at, rs1: at, rs2: SCRATCH_REGISTER });
    for (let n = 1 + random.below(2); n > 0; n--) {
      const fits = COMPRESSED_REGISTERS.includes(at) ? loadsAndStores : wide;
      access(f, random.pick(fits), at, 64);
    }
  });
}

/** Atomics want alignment. */
function atomic(f: HotFunction): void {
  f.holding((at) => {
    f.emit('andi', { rd: at, rs1: f.random.pick(POINTERS), imm: -8 });
    for (let n = 1 + f.random.below(2); n > 0; n--) access(f, f.random.pick(atomics), at, 0);
  });
}

/** Read, compute, write if nobody came between; how often it took is forgotten. */
function reserved(f: HotFunction): void {
  const { random } = f;
  const width = random.pick(['w', 'd']);
  const order = (): { aq: number; rl: number } => ({ aq: random.below(2), rl: random.below(2) });
  f.holding((at) =>
    f.holding((value) =>
      f.holding((failed) => {
        f.emit('andi', { rd: at, rs1: random.pick(POINTERS), imm: -8 });
        const start = f.code.address;
        f.emit(`lr.${width}`, { rd: value, rs1: at, ...order() });
        f.emit(random.pick(['add', 'xor', 'sub', 'maxu']), {
          rd: value,
          rs1: value,
          rs2: random.pick([0, 3, 4, 8, 15]),
        });
        f.emit(`sc.${width}`, { rd: failed, rs1: at, rs2: value, ...order() });
        f.emit('bne', { rs1: failed, rs2: 0, imm: start - f.code.address });
        if (random.below(4) === 0) {
          // The reservation is used up: this one fails.
          f.emit(`sc.${width}`, { rd: failed, rs1: at, rs2: value, ...order() });
        }
      }),
    ),
  );
}

function nowhere(f: HotFunction): void {
  f.holding((at) => {
    f.loadImmediate(at, f.random.pick(NOWHERE) + 8n * BigInt(f.random.below(100)));
    f.emit(f.random.pick(['ld', 'lw', 'lbu', 'flw', 'fld']), { rd: 0, rs1: at, imm: 0 });
    f.charge(0, 1);
  });
}

/** Pages that fault: one access may need two of them. */
function risk(f: HotFunction): void {
  const { random } = f;
  const pages = RISKS - CODE_RISKS;
  const first = RISK_VA + BigInt(CODE_RISKS) * 4096n;
  if (random.below(2) === 0) {
    const offset = random.pick([-8, -4, -3, -1, 8, 1024, 2048]);
    f.loadImmediate(RISK_POINTER, first + 4096n * BigInt(1 + random.below(pages - 1)) + BigInt(offset));
  } else {
    // Any of them.
    const page = random.pick([random.below(32), ...f.busyCounters]);
    f.emit('andi', { rd: RISK_POINTER, rs1: page, imm: pages - 1 });
    f.emit('slli', { rd: RISK_POINTER, rs1: RISK_POINTER, uimm: 12 });
    f.holding((base) => {
      f.loadImmediate(base, first + BigInt(random.pick([0, 64, 4088])));
      f.emit('add', { rd: RISK_POINTER, rs1: RISK_POINTER, rs2: base });
    });
  }
  for (let n = 1 + random.below(2); n > 0; n--) {
    f.charge(0, 2);
    if (random.below(4) > 0) access(f, random.pick(wide), RISK_POINTER, 8);
    else
      f.holding((at) => {
        f.emit('andi', { rd: at, rs1: RISK_POINTER, imm: -8 });
        access(f, random.pick(atomics), at, 0);
      });
  }
}

/** What a window of data shows. */
export function windowData(f: HotFunction, window: number): void {
  const { random } = f;
  f.holding((at) => {
    f.loadImmediate(at, DATA_WINDOW_VA + WINDOW_STRIDE * BigInt(window) + BigInt(8 * random.below(16)));
    for (let n = 1 + random.below(3); n > 0; n--) access(f, random.pick(wide), at, 64);
  });
}

/** Memory of the other level: S-mode reaches U-mode's under SUM, U-mode never reaches S-mode's. */
function foreign(f: HotFunction): void {
  f.holding((at) => {
    f.loadImmediate(at, FOREIGN_VA + BigInt(8 * f.random.below(100)));
    access(f, f.random.pick(wide), at, 64);
    f.charge(0, 1);
  });
}

const isTranslated = (f: HotFunction): boolean => f.world.level !== 'machine';

export const memory: readonly Statement[] = [
  { share: 14, place: loadOrStore },
  { share: 3, place: local, isPossible: (f) => f.isFramed },
  { share: 5, place: movePointer },
  { share: 8, place: walk, isPossible: (f) => f.busyCounters.length > 0 },
  { share: 3, place: atomic },
  { share: 3, place: reserved },
  { share: 1, place: nowhere, isPossible: (f) => f.affords(0, PLAIN_TRAP) },
  { share: 10, place: risk, isPossible: (f) => isTranslated(f) && f.affords(0, 4) },
  { share: 2, place: (f) => windowData(f, f.random.below(DATA_WINDOWS)), isPossible: isTranslated },
  { share: 1, place: foreign, isPossible: (f) => isTranslated(f) && f.affords(0, PLAIN_TRAP) },
];
