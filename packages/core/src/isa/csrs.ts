/**
 * The CSRs of this machine: machine and supervisor level of the Privileged ISA 1.13, counters (Zicntr, Zihpm), float state, Sstc,
 * Svadu and PBMT switches in menvcfg. A CSR that is not in this list does not exist: accessing it is an illegal instruction.
 */

import type { Csr, CsrEffect, CsrField, CsrGuard, CsrSource } from './csr.ts';

const ALL = 0xffff_ffff_ffff_ffffn;
const bit = (position: number): bigint => 1n << BigInt(position);
const bits = (...positions: number[]): bigint => positions.reduce((mask, position) => mask | bit(position), 0n);

/** mstatus (3.1.6). Big-endian modes, vector and other extension state are absent and read as zero; SXL and UXL are fixed at 64 bits. */
export const MSTATUS = {
  SIE: bit(1),
  MIE: bit(3),
  SPIE: bit(5),
  MPIE: bit(7),
  SPP: bit(8),
  MPP: 3n << 11n,
  FS: 3n << 13n,
  MPRV: bit(17),
  SUM: bit(18),
  MXR: bit(19),
  TVM: bit(20),
  TW: bit(21),
  TSR: bit(22),
  UXL: 3n << 32n,
  SXL: 3n << 34n,
  SD: bit(63),
} as const;

/** What sstatus shows of mstatus (10.1.1). */
export const SSTATUS_MASK =
  MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.FS | MSTATUS.SUM | MSTATUS.MXR | MSTATUS.UXL | MSTATUS.SD;

/** menvcfg (3.1.18) and senvcfg (10.1.10). */
export const ENVCFG = {
  FIOM: bit(0),
  CBIE: 3n << 4n,
  CBCFE: bit(6),
  CBZE: bit(7),
  ADUE: bit(61),
  PBMTE: bit(62),
  STCE: bit(63),
} as const;

/** Supervisor interrupts, the only ones that can be delegated. */
export const SUPERVISOR_INTERRUPTS = bits(1, 5, 9);
const MACHINE_INTERRUPTS = bits(3, 7, 11);

/** Exceptions that medeleg can hand to S-mode (3.1.8): all synchronous ones but ecall from M-mode. */
export const DELEGABLE_EXCEPTIONS = bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15);

/** RV64 with A, B, C, D, F, I, M, S, U (3.1.1). */
const MISA = (2n << 62n) | bits(0, 1, 2, 3, 5, 8, 12, 18, 20);

/** Entries of physical memory protection that exist (3.7.1); the grain is one page (G = 10), so that a page is allowed or denied whole. */
export const PMP_ENTRIES = 16;
export const PMP_GRAIN_BITS = 10;

interface Options {
  source?: CsrSource;
  writable?: bigint;
  reset?: bigint;
  fields?: readonly CsrField[];
  effects?: readonly CsrEffect[];
  guard?: CsrGuard;
}

function csr(number: number, name: string, summary: string, options: Options = {}): Csr {
  const { source = { kind: 'stored' }, writable = ALL, reset = 0n, fields = [], effects = [], guard } = options;
  return {
    name,
    number,
    source,
    writable: source.kind === 'constant' ? 0n : writable,
    resetValue: reset,
    fields,
    effects,
    summary,
    ...(guard ? { guard } : {}),
  };
}

const constant = (value: bigint): CsrSource => ({ kind: 'constant', value });
const view = (of: string, mask: bigint): CsrSource => ({ kind: 'view', of, mask });
const computed: CsrSource = { kind: 'computed' };
const CBIE_FIELD: CsrField = { name: 'CBIE', high: 5, low: 4, legal: [0, 1, 3] };

const machine: readonly Csr[] = [
  csr(0xf11, 'mvendorid', 'Vendor: 0, not a commercial implementation.', { source: constant(0n) }),
  csr(0xf12, 'marchid', 'Architecture: 0, no number was assigned.', { source: constant(0n) }),
  csr(0xf13, 'mimpid', 'Implementation: 0.', { source: constant(0n) }),
  csr(0xf14, 'mhartid', 'This hart’s number.', { source: computed }),
  csr(0xf15, 'mconfigptr', 'No configuration structure.', { source: constant(0n) }),
  csr(0x300, 'mstatus', 'Machine status.', {
    source: computed,
    writable:
      MSTATUS.SIE |
      MSTATUS.MIE |
      MSTATUS.SPIE |
      MSTATUS.MPIE |
      MSTATUS.SPP |
      MSTATUS.MPP |
      MSTATUS.FS |
      MSTATUS.MPRV |
      MSTATUS.SUM |
      MSTATUS.MXR |
      MSTATUS.TVM |
      MSTATUS.TW |
      MSTATUS.TSR,
    reset: (2n << 32n) | (2n << 34n),
    fields: [{ name: 'MPP', high: 12, low: 11, legal: [0, 1, 3] }],
    effects: ['interrupts', 'translation'],
  }),
  csr(0x301, 'misa', 'The instruction set; not changeable.', { source: constant(MISA) }),
  csr(0x302, 'medeleg', 'Exceptions that go to S-mode.', { writable: DELEGABLE_EXCEPTIONS }),
  csr(0x303, 'mideleg', 'Interrupts that go to S-mode.', { writable: SUPERVISOR_INTERRUPTS, effects: ['interrupts'] }),
  csr(0x304, 'mie', 'Interrupts enabled.', {
    writable: SUPERVISOR_INTERRUPTS | MACHINE_INTERRUPTS,
    effects: ['interrupts'],
  }),
  csr(0x305, 'mtvec', 'Trap vector; mode direct or vectored.', { writable: ~2n & ALL }),
  csr(0x306, 'mcounteren', 'Counters that S-mode may read.', { writable: 0xffff_ffffn }),
  csr(0x30a, 'menvcfg', 'Environment of S-mode: cache blocks, page-based memory types, A/D updates, stimecmp.', {
    writable: ENVCFG.FIOM | ENVCFG.CBIE | ENVCFG.CBCFE | ENVCFG.CBZE | ENVCFG.ADUE | ENVCFG.PBMTE | ENVCFG.STCE,
    // Svadu without Svade: hardware updates A and D from reset on (Svadu, 2).
    reset: ENVCFG.ADUE,
    fields: [CBIE_FIELD],
    effects: ['interrupts', 'protection'],
  }),
  csr(0x320, 'mcountinhibit', 'Counters cannot be stopped.', { source: constant(0n) }),
  csr(0x340, 'mscratch', 'Scratch for the trap handler.'),
  csr(0x341, 'mepc', 'Address of the trapped instruction.', { writable: ~1n & ALL }),
  csr(0x342, 'mcause', 'Cause of the trap.'),
  csr(0x343, 'mtval', 'Address or instruction of the trap.'),
  csr(0x344, 'mip', 'Interrupts pending.', {
    source: computed,
    writable: SUPERVISOR_INTERRUPTS,
    effects: ['interrupts'],
  }),
  ...Array.from({ length: 8 }, (_, index) =>
    csr(
      0x3a0 + 2 * index,
      `pmpcfg${2 * index}`,
      'Physical memory protection: eight entries’ permissions.',
      8 * index < PMP_ENTRIES ? { source: computed, effects: ['protection'] } : { source: constant(0n) },
    ),
  ),
  ...Array.from({ length: 64 }, (_, index) =>
    csr(
      0x3b0 + index,
      `pmpaddr${index}`,
      'Physical memory protection: an entry’s address, bits 55 to 2.',
      index < PMP_ENTRIES
        ? { source: computed, writable: (1n << 54n) - 1n, effects: ['protection'] }
        : { source: constant(0n) },
    ),
  ),
  csr(0xb00, 'mcycle', 'Cycles: one for each instruction.', { source: computed }),
  csr(0xb02, 'minstret', 'Instructions retired.', { source: computed }),
  ...Array.from({ length: 29 }, (_, index) =>
    csr(0xb03 + index, `mhpmcounter${index + 3}`, 'No event is counted.', { source: constant(0n) }),
  ),
  ...Array.from({ length: 29 }, (_, index) =>
    csr(0x323 + index, `mhpmevent${index + 3}`, 'No event can be chosen.', { source: constant(0n) }),
  ),
];

const supervisor: readonly Csr[] = [
  csr(0x100, 'sstatus', 'Supervisor status.', {
    source: view('mstatus', SSTATUS_MASK),
    writable: MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.FS | MSTATUS.SUM | MSTATUS.MXR,
    effects: ['interrupts', 'translation'],
  }),
  csr(0x104, 'sie', 'Supervisor interrupts enabled: the delegated ones.', {
    source: computed,
    effects: ['interrupts'],
  }),
  csr(0x105, 'stvec', 'Trap vector; mode direct or vectored.', { writable: ~2n & ALL }),
  csr(0x106, 'scounteren', 'Counters that U-mode may read.', { writable: 0xffff_ffffn }),
  csr(0x10a, 'senvcfg', 'Environment of U-mode: cache blocks.', {
    writable: ENVCFG.FIOM | ENVCFG.CBIE | ENVCFG.CBCFE | ENVCFG.CBZE,
    fields: [CBIE_FIELD],
  }),
  csr(0x140, 'sscratch', 'Scratch for the trap handler.'),
  csr(0x141, 'sepc', 'Address of the trapped instruction.', { writable: ~1n & ALL }),
  csr(0x142, 'scause', 'Cause of the trap.'),
  csr(0x143, 'stval', 'Address or instruction of the trap.'),
  csr(0x144, 'sip', 'Supervisor interrupts pending: the delegated ones.', {
    source: computed,
    effects: ['interrupts'],
  }),
  csr(0x14d, 'stimecmp', 'The time at which the supervisor timer interrupt is pending (Sstc).', {
    effects: ['timer', 'interrupts'],
    guard: 'stce',
    reset: ALL,
  }),
  csr(0x180, 'satp', 'Address translation: mode, address-space identifier, root page.', {
    fields: [{ name: 'MODE', high: 63, low: 60, legal: [0, 8, 9, 10], elseIgnoreWrite: true }],
    effects: ['translation'],
    guard: 'tvm',
  }),
];

const user: readonly Csr[] = [
  csr(0x001, 'fflags', 'Accrued float exceptions.', {
    source: computed,
    writable: 0x1fn,
    effects: ['float'],
    guard: 'float',
  }),
  csr(0x002, 'frm', 'Float rounding mode.', { source: computed, writable: 7n, effects: ['float'], guard: 'float' }),
  csr(0x003, 'fcsr', 'Float rounding mode and accrued exceptions.', {
    source: computed,
    writable: 0xffn,
    effects: ['float'],
    guard: 'float',
  }),
  csr(0xc00, 'cycle', 'Cycles: one for each instruction.', { source: computed, guard: 'counter' }),
  csr(0xc01, 'time', 'Time in ticks of 100 ns.', { source: computed, guard: 'counter' }),
  csr(0xc02, 'instret', 'Instructions retired.', { source: computed, guard: 'counter' }),
  ...Array.from({ length: 29 }, (_, index) =>
    csr(0xc03 + index, `hpmcounter${index + 3}`, 'No event is counted.', { source: constant(0n), guard: 'counter' }),
  ),
];

/** Every CSR, by number. The position in this list is the dense index the engine's tables use. */
export const csrs: readonly Csr[] = [...user, ...supervisor, ...machine].toSorted((a, b) => a.number - b.number);

const byNumber = new Map(csrs.map((entry, index) => [entry.number, index]));

/** The dense index of a CSR number; undefined when there is no such CSR. */
export function csrIndex(number: number): number | undefined {
  return byNumber.get(number);
}
