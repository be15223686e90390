/** Statements with CSRs, privilege levels and traps. */

import { ABSENT_CSRS } from '../csr-choices.ts';
import { type HotFunction, SCRATCH_REGISTER, STACK_POINTER } from './function.ts';
import { PLAIN_TRAP, type Statement } from './statement.ts';

const CSR = {
  fflags: 1,
  frm: 2,
  fcsr: 3,
  sstatus: 0x100,
  sepc: 0x141,
  mstatus: 0x300,
  mepc: 0x341,
  instret: 0xc02,
} as const;
const STATUS = {
  SIE: 2n,
  MIE: 8n,
  SPP: 0x100n,
  MPP: 0x1800n,
  MPP_S: 0x800n,
  FS: 0x6000n,
  MPRV: 0x2_0000n,
  SUM: 0x4_0000n,
  MXR: 0x8_0000n,
};

const statusOf = (f: HotFunction): number => (f.world.level === 'machine' ? CSR.mstatus : CSR.sstatus);

function set(f: HotFunction, bits: bigint): void {
  f.writeCsr('csrrs', statusOf(f), bits);
}
function clear(f: HotFunction, bits: bigint): void {
  f.writeCsr('csrrc', statusOf(f), bits);
}

/** Flags are read, forgotten or made up; the rounding mode is changed to one that exists. */
function floatState(f: HotFunction): void {
  const { random } = f;
  const rd = random.below(3) === 0 ? 0 : f.someWritable();
  switch (random.below(6)) {
    case 0:
      f.emit('csrrs', { rd: f.someWritable(), csr: random.pick([CSR.fflags, CSR.fcsr, CSR.frm]), rs1: 0 });
      break;
    case 1:
      f.emit('csrrwi', { rd, csr: CSR.fflags, zimm: random.pick([0, 0, random.below(32)]) });
      break;
    case 2:
      f.emit(random.pick(['csrrsi', 'csrrci']), { rd, csr: CSR.fflags, zimm: random.below(32) });
      break;
    case 3: {
      const value = f.someWritable();
      f.emit('addi', { rd: value, rs1: 0, imm: (random.below(5) << 5) | random.below(32) });
      f.emit('csrrw', { rd, csr: CSR.fcsr, rs1: value });
      break;
    }
    default:
      f.emit('csrrwi', { rd, csr: CSR.frm, zimm: random.pick([0, 0, 1, 2, 3, 4]) });
  }
}

/** An operation in a rounding mode that does not exist, by way of frm. */
function reservedRounding(f: HotFunction): void {
  const { random } = f;
  f.emit('csrrwi', { rd: 0, csr: CSR.frm, zimm: 5 + random.below(3) });
  f.emit(random.pick(['fadd.d', 'fmul.s', 'fcvt.s.d']), { rd: random.below(32), rs1: random.below(32), rm: 7 });
  f.emit('csrrwi', { rd: 0, csr: CSR.frm, zimm: random.below(5) });
  f.charge(0, 1);
}

/** Interrupts off, some work, and on again: what kernels do all the time. */
function interruptsOff(f: HotFunction): void {
  const isMachine = f.world.level === 'machine';
  const zimm = Number(isMachine ? STATUS.MIE : STATUS.SIE);
  f.emit('csrrci', { rd: 0, csr: statusOf(f), zimm });
  f.enclosed(() => f.statements(1));
  f.emit('csrrsi', { rd: 0, csr: statusOf(f), zimm });
}

/** Access to user memory, and to what may only be executed. */
function memoryRights(f: HotFunction): void {
  const bits = f.random.pick([STATUS.SUM, STATUS.SUM, STATUS.MXR]);
  set(f, bits);
  f.enclosed(() => f.statements(1 + f.random.below(2)));
  clear(f, bits);
}

/** Float state off: every float instruction traps. */
function floatOff(f: HotFunction): void {
  const { random } = f;
  clear(f, STATUS.FS);
  for (let n = 1 + random.below(2); n > 0; n--) {
    f.emit(random.pick(['fadd.d', 'fmul.s', 'fsgnj.d']), {
      rd: random.below(32),
      rs1: random.below(32),
      rs2: random.below(32),
    });
    f.charge(0, 1);
  }
  set(f, STATUS.FS);
}

/** A return from a trap that was none, to the next instruction at the same level. Nothing may trap between. */
function returnHere(f: HotFunction): void {
  const isMachine = f.world.level === 'machine';
  const zimm = Number(isMachine ? STATUS.MIE : STATUS.SIE);
  const next = f.code.label();
  f.emit('csrrci', { rd: 0, csr: statusOf(f), zimm });
  set(f, isMachine ? STATUS.MPP | 0x80n : STATUS.SPP | 0x20n);
  f.holding((register) => {
    f.loadAddress(register, next);
    f.emit('csrrw', { rd: 0, csr: isMachine ? CSR.mepc : CSR.sepc, rs1: register });
  });
  f.emit(isMachine ? 'mret' : 'sret', {});
  f.code.place(next);
}

/** M-mode with the address space and the rights of S-mode for its data. */
function lend(f: HotFunction): void {
  const { random } = f;
  f.emit('csrrci', { rd: 0, csr: CSR.mstatus, zimm: Number(STATUS.MIE) });
  clear(f, STATUS.MPP);
  set(f, STATUS.MPRV | STATUS.MPP_S);
  for (let n = 1 + random.below(3); n > 0; n--)
    f.emit(random.pick(['ld', 'lw', 'lhu']), {
      rd: f.someWritable(),
      rs1: SCRATCH_REGISTER,
      imm: 8 * random.below(200),
    });
  if (random.below(2) === 0)
    f.emit('sd', { rs1: SCRATCH_REGISTER, rs2: random.below(32), imm: -8 * random.below(200) });
  clear(f, STATUS.MPRV);
  f.emit('csrrsi', { rd: 0, csr: CSR.mstatus, zimm: Number(STATUS.MIE) });
}

/** What traps wherever it is executed. */
function trap(f: HotFunction): void {
  const { random } = f;
  f.charge(0, 1);
  switch (random.below(5)) {
    case 0:
    case 1:
      f.emit('ecall', {});
      break;
    case 2:
      f.emit(random.pick(['ebreak', 'c.ebreak']), {});
      break;
    case 3:
      f.place(0xffff_ffff, 4);
      break;
    default:
      f.emit('csrrs', { rd: f.someWritable(), csr: random.pick(ABSENT_CSRS), rs1: 0 });
  }
}

/** How many instructions something took. */
function countInstructions(f: HotFunction): void {
  f.holding((before) => {
    f.emit('csrrs', { rd: before, csr: CSR.instret, rs1: 0 });
    if (f.isFramed && f.hasSlots(1) && f.random.below(3) === 0) {
      // What is between has all registers.
      const slot = f.slot();
      f.emit('sd', { rs1: STACK_POINTER, rs2: before, imm: slot });
      f.enclosed(() => f.statements(1 + f.random.below(2)));
      f.emit('ld', { rd: before, rs1: STACK_POINTER, imm: slot });
    } else f.plain(1 + f.random.below(4), before);
    f.holding((after) => {
      f.emit('csrrs', { rd: after, csr: CSR.instret, rs1: 0 });
      f.emit('sub', { rd: before, rs1: after, rs2: before });
    });
    f.emit('add', { rd: f.another(before), rs1: before, rs2: f.random.below(32) });
  });
}

/** Until the next interrupt. */
function wait(f: HotFunction): void {
  f.emit('wfi', {});
}

const isPrivileged = (f: HotFunction): boolean => f.world.level !== 'user';

export const privileged: readonly Statement[] = [
  { share: 4, place: floatState },
  { share: 1, place: reservedRounding, isPossible: (f) => f.affords(0, PLAIN_TRAP) },
  { share: 3, place: interruptsOff, isNest: true, isPossible: isPrivileged },
  { share: 2, place: memoryRights, isNest: true, isPossible: (f) => f.world.level === 'supervisor' },
  { share: 1, place: floatOff, isPossible: (f) => isPrivileged(f) && f.affords(0, PLAIN_TRAP) },
  { share: 2, place: returnHere, isBound: true, isPossible: isPrivileged },
  { share: 2, place: lend, isPossible: (f) => f.world.level === 'machine' },
  { share: 2, place: trap, isPossible: (f) => f.affords(0, PLAIN_TRAP) },
  { share: 3, place: countInstructions, isNest: true, isPossible: (f) => f.world.isStrict && !f.world.hasInterrupts },
  { share: 1, place: wait, isPossible: (f) => isPrivileged(f) && f.world.hasInterrupts && f.weight <= 3 },
];
