/**
 * Programs in M-mode with physical addresses: every instruction entry, in blocks that are laid out in any order and run one after the
 * other, several rounds. Each block ends with a dump of all registers.
 */

import { Random } from '../../src/engine/float/testing/vectors.ts';
import { instructionNamed } from '../../src/isa/instructions.ts';
import { defined } from '../../src/base/assert.ts';
import { encode } from '../../src/isa/encode.ts';
import { Block, type BlockSetting, type Pointer } from './block.ts';
import { CodeBuilder, type Label, addressOf } from './code-builder.ts';
import { machineCsrs } from './csr-choices.ts';
import {
  CODE,
  CODE_END,
  CONSTANTS,
  CONSTANT_COUNT,
  DUMP_WORD,
  LOG,
  RAM_BASE,
  RAM_BYTES,
  ROUND_WORD,
  SCRATCH,
  SCRATCH_BYTES,
} from './places.ts';
import { Context, type Program, runtimeSegment } from './program.ts';
import { plainWord } from './plain-word.ts';
import { interestingBytes, interestingValue } from './values.ts';

/** Room that is left at the end of the code for the block under construction. */
const CODE_MARGIN = 0x4000;

/** Addresses that nothing answers at, on either machine; accesses around them fault. */
const NOWHERE = [
  0x9000_0000n,
  1n << 50n,
  (1n << 55n) + 0x1000n,
  1n << 56n,
  1n << 63n,
  0xffff_ffff_8001_0000n,
  0xffff_ffff_ffff_f000n,
];

function machinePointer(random: Random): Pointer {
  const reach = 2048;
  switch (random.below(10)) {
    case 0:
    case 1: {
      const value = CONSTANTS + reach + 8 * random.below((8 * CONSTANT_COUNT - 2 * reach) / 8 + 1);
      return { value: BigInt(value), low: -reach, high: reach - 8, readOnly: true };
    }
    case 2:
      return { value: random.pick(NOWHERE), low: -16, high: 16 };
    case 3:
      // The last bytes of RAM, and what is behind them. What QEMU keeps near the end is further down.
      return { value: BigInt(RAM_BASE + RAM_BYTES), low: random.pick([0, -7, -8]), high: 16 };
    case 4:
    case 5: {
      // Around a page boundary.
      const page = SCRATCH + 0x1000 * (1 + random.below(SCRATCH_BYTES / 0x1000 - 2));
      return { value: BigInt(page - 8 + random.below(16)), low: -reach, high: reach - 8 };
    }
    case 6: {
      const value = SCRATCH + reach + random.below(SCRATCH_BYTES - 2 * reach);
      return { value: BigInt(value), low: -reach, high: reach - 8 };
    }
    default: {
      const value = SCRATCH + reach + 8 * random.below((SCRATCH_BYTES - 2 * reach) / 8);
      return { value: BigInt(value), low: -reach, high: reach - 8 };
    }
  }
}

/** A jump to where no code is; the handler comes back by x1. */
function jumpNowhere(block: Block): void {
  const register = block.someWritable();
  block.loadImmediate(register, block.random.pick(NOWHERE) + BigInt(block.random.below(4)));
  block.emit('jalr', { rd: 1, rs1: register, imm: block.random.pick([0, 2, -4]) });
}

/** An instruction that is rewritten each time it is passed, with fence.i. */
function modifyCode(block: Block): void {
  const { random, code } = block;
  const target = code.label();
  const address = block.someWritable();
  const value = block.another(address);
  const difference = block.another(address, value);
  const isRegister = (rd: number): boolean => block.writable.includes(rd);
  const [first, second] = [plainWord(random, isRegister), plainWord(random, isRegister)];
  block.loadAddress(address, target);
  block.loadImmediate(difference, BigInt((first ^ second) >>> 0));
  const width = random.pick(['h', 'w']);
  if (width === 'w') {
    block.emit('lw', { rd: value, rs1: address, imm: 0 });
    block.emit('xor', { rd: value, rs1: value, rs2: difference });
    block.emit('sw', { rs1: address, rs2: value, imm: 0 });
  } else {
    for (const imm of [0, 2]) {
      block.emit('lhu', { rd: value, rs1: address, imm });
      block.emit('xor', { rd: value, rs1: value, rs2: difference });
      block.emit('sh', { rs1: address, rs2: value, imm });
      block.emit('srli', { rd: difference, rs1: difference, imm: 16, uimm: 16 });
    }
  }
  block.emit('fence.i', {});
  block.plain(random.below(3));
  code.place(target);
  block.place(first, 4);
}

/** Down to S-mode or U-mode without translation, until the block's end. */
function dropPrivilege(block: Block): void {
  if (block.hasDropped || block.isNested) return;
  block.hasDropped = true;
  const next = block.code.label();
  const register = block.someWritable();
  for (const csr of [0x302, 0x303, 0x180]) block.emit('csrrw', { rd: 0, csr, rs1: 0 });
  block.loadAddress(register, next);
  if (block.random.below(2) === 0) {
    block.emit('csrrw', { rd: 0, csr: 0x141, rs1: register });
    block.writeCsr(block.random.pick(['csrrs', 'csrrc']), 0x100, 0x100n);
    block.emit('sret', {});
  } else {
    block.emit('csrrw', { rd: 0, csr: 0x341, rs1: register });
    block.writeCsr('csrrc', 0x300, 0x1800n);
    if (block.random.below(2) === 0) block.writeCsr('csrrs', 0x300, 0x800n);
    block.emit('mret', {});
  }
  block.code.place(next);
}

/** mepc, mcause, mtval and mtvec keep what is written to them, as far as they hold it. */
function machineTrapCsrs(block: Block): void {
  if (block.hasDropped) return;
  const { random } = block;
  const csr = random.pick([0x341, 0x342, 0x343]);
  // QEMU 7.2 keeps bit 0 of mepc, which is always zero (Privileged ISA, 3.1.14).
  const value = (): bigint => interestingValue(random) & ~1n;
  block.writeCsr('csrrw', csr, value());
  block.writeCsr(random.pick(['csrrs', 'csrrc']), csr, value(), block.someWritable());
  block.emit('csrrs', { rd: block.someWritable(), csr, rs1: 0 });
}

/**
 * Float state off, initial or clean: what traps, what dirties it and what does not. Instructions that only may raise a flag are left out: an
 * implementation may call state dirty that has not changed (Privileged ISA, 3.1.6.6), and we do where QEMU does not.
 */
function floatState(block: Block): void {
  if (block.hasDropped) return;
  const { random } = block;
  const state = BigInt(random.below(3));
  block.writeCsr('csrrc', 0x300, 0x6000n);
  block.writeCsr('csrrs', 0x300, state << 13n);
  const [rd, rs1, rs2] = [random.below(32), random.below(32), random.below(32)];
  const pointer = block.roomyPointer();
  switch (random.below(5)) {
    case 0:
      block.emit(random.pick(['fmv.x.w', 'fmv.x.d']), { rd: block.someWritable(), rs1 });
      break;
    case 1:
      block.emit(random.pick(['fmv.w.x', 'fmv.d.x']), { rd, rs1 });
      break;
    case 2:
      block.emit(random.pick(['fadd.d', 'fmul.s', 'fdiv.d']), { rd, rs1, rs2, rm: 7 });
      break;
    case 3:
      if (pointer !== undefined) block.emit(random.pick(['fsd', 'fsw']), { rs1: pointer[0], rs2, imm: 8 });
      break;
    default:
      if (pointer !== undefined) block.emit(random.pick(['fld', 'flw']), { rd, rs1: pointer[0], imm: 8 });
  }
  block.emit('csrrs', { rd: block.someWritable(), csr: 0x300, rs1: 0 });
  // Off until the block's end, or on again.
  if (state !== 0n || random.below(2) === 0) block.writeCsr('csrrs', 0x300, 0x6000n);
}

const setting: BlockSetting = {
  kind: 'machine',
  pointer: machinePointer,
  csrs: machineCsrs,
  extras: [jumpNowhere, modifyCode, modifyCode, machineTrapCsrs, floatState, dropPrivilege],
  extraRate: 30,
};

export interface MachineProgramSize {
  readonly blocks: number;
  readonly statements: number;
  readonly rounds: number;
}

export function machineProgram(seed: number, size: MachineProgramSize): Program {
  const random = new Random(seed);
  const code = new CodeBuilder(CODE);
  const used = new Map<string, number>();
  const labels: Label[] = Array.from({ length: size.blocks + 1 }, () => code.label());
  const order = shuffled(random, size.blocks);
  let executed = 0;
  for (const number of order) {
    code.place(defined(labels[number], 'a block'));
    const room = code.address < CODE_END - CODE_MARGIN;
    if (random.below(8) === 0 && room) leaveGap(random, code, labels[number] as Label);
    const block = new Block(random, code, setting, used);
    // Float state on, whatever the block before has done.
    block.grouped(() => block.writeCsr('csrrs', 0x300, 0x6000n));
    block.fill(size.statements, () => code.address < CODE_END - CODE_MARGIN);
    code.add(undefined, { word: DUMP_WORD, size: 4 }, { word: jump(defined(labels[number + 1], 'a block')), size: 4 });
    executed += block.executed;
  }
  code.place(defined(labels[size.blocks], 'the end'));
  code.add(undefined, { word: ROUND_WORD, size: 4 });

  const context = new Context();
  context.put('logPointer', LOG);
  context.put('rounds', size.rounds);
  context.put('entry', addressOf(defined(labels[0], 'the first block')));
  for (let register = 1; register < 32; register++) context.put('initialX', interestingValue(random), register);
  for (let register = 0; register < 32; register++) context.put('initialF', interestingValue(random), register);
  return {
    kind: 'machine',
    seed,
    segments: [
      runtimeSegment,
      context.segment,
      { address: CONSTANTS, bytes: interestingBytes(random, CONSTANT_COUNT) },
      { address: SCRATCH, bytes: interestingBytes(random, SCRATCH_BYTES / 8) },
      { address: CODE, bytes: code.bytes() },
    ],
    items: code.items,
    cells: [],
    instructions: executed * size.rounds,
    used,
  };
}

/** Some blocks begin near a page's end, so that all kinds of instructions cross it. */
function leaveGap(random: Random, code: CodeBuilder, label: Label): void {
  const boundary = Math.ceil(code.address / 0x1000) * 0x1000;
  const start = boundary - 2 * random.below(32);
  if (start > code.address) code.moveTo(start);
  label.address = code.address;
}

function jump(to: Label) {
  const entry = defined(instructionNamed('jal'), 'jal');
  return (address: number): number | undefined => {
    const word = encode(entry, { rd: 0, imm: addressOf(to) - address });
    return typeof word === 'number' ? word : undefined;
  };
}

function shuffled(random: Random, count: number): number[] {
  const numbers = Array.from({ length: count }, (_, index) => index);
  for (let n = count - 1; n > 0; n--) {
    const other = random.below(n + 1);
    [numbers[n], numbers[other]] = [numbers[other] as number, numbers[n] as number];
  }
  return numbers;
}
