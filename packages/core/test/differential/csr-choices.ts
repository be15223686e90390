/**
 * CSRs that random programs use, and how: values that both machines take the same way. Where the Privileged ISA leaves a choice (WARL
 * fields, identification, counters) the masks here stay inside what both choose alike.
 */

import type { Random } from '../../src/engine/float/testing/vectors.ts';
import { csrs } from '../../src/isa/csrs.ts';
import { DELEGABLE_EXCEPTIONS } from '../../src/isa/csrs.ts';

export interface CsrChoice {
  readonly number: number;
  /** Instructions that may write it: csrrw, csrrs, csrrc. Empty: it is only read. */
  readonly operations: readonly string[];
  /** Bits that are written. */
  readonly mask: bigint;
  /** Values to write; by default any worth computing with. */
  readonly value?: (random: Random) => bigint;
  /** What is read differs by nature: only whether it traps is compared. */
  readonly isOpaque?: boolean;
}

const ALL = 0xffff_ffff_ffff_ffffn;
const EVERY = ['csrrw', 'csrrs', 'csrrc'];
const readOnly = (number: number): CsrChoice => ({ number, operations: [], mask: ALL });
const all = (number: number, mask = ALL): CsrChoice => ({ number, operations: EVERY, mask });
const bits = (number: number, mask: bigint): CsrChoice => ({ number, operations: ['csrrs', 'csrrc'], mask });

const float = [all(1), all(1), all(2), all(2), all(3), all(3)];

/** SIE SPIE SPP SUM MXR. FS has sequences of its own. */
const SSTATUS = 0xc_0122n;
/** And TVM TW TSR. Neither MIE and MPIE, which each trap moves, nor MPP and MPRV, which only sequences of their own change. */
const MSTATUS = SSTATUS | 0x70_0000n;

/** satp: any mode, even one that does not exist; nobody uses it. */
const anySatp = (random: Random): bigint =>
  (BigInt(random.pick([0, 1, 5, 8, 9, 10, 11, 15])) << 60n) | (random.bits64() >> 4n);
const OPAQUE = [0xc00, 0xc01, 0xc02, 0xb00, 0xb02].map((number) => ({ ...readOnly(number), isOpaque: true }));

/** M-mode, with physical addresses. */
export const machineCsrs: readonly CsrChoice[] = [
  ...float,
  ...float,
  all(0x140),
  all(0x141, ~1n & ALL),
  all(0x142),
  all(0x143),
  all(0x105, ~2n & ALL),
  all(0x302, DELEGABLE_EXCEPTIONS),
  all(0x303, 0x222n),
  all(0x304, 0xaaan),
  all(0x344, 0x222n),
  all(0x104, 0x222n),
  all(0x144, 0x222n),
  all(0x306, 7n),
  all(0x106, 7n),
  { number: 0x180, operations: ['csrrw'], mask: ALL, value: anySatp },
  bits(0x300, MSTATUS),
  bits(0x300, MSTATUS),
  bits(0x100, SSTATUS),
  readOnly(0x300),
  readOnly(0x100),
  readOnly(0xf14),
  readOnly(0x340),
  ...OPAQUE,
];

/** S-mode in a scene. satp is changed by sequences of their own. */
export const supervisorCsrs: readonly CsrChoice[] = [
  ...float,
  ...float,
  all(0x140),
  all(0x141, ~1n & ALL),
  all(0x142),
  all(0x143),
  readOnly(0x105),
  all(0x104, 0x222n),
  all(0x144, 0x222n),
  all(0x106, 7n),
  bits(0x100, SSTATUS),
  bits(0x100, SSTATUS),
  bits(0x100, 0xc_0000n),
  bits(0x100, 0xc_0000n),
  readOnly(0x100),
  readOnly(0x180),
  // Not for S-mode: they trap.
  readOnly(0x300),
  readOnly(0x341),
  readOnly(0x344),
  readOnly(0xf14),
  ...OPAQUE,
];

export const userCsrs: readonly CsrChoice[] = [
  ...float,
  ...float,
  ...OPAQUE,
  readOnly(0x100),
  readOnly(0x180),
  readOnly(0x300),
  readOnly(0x140),
];

/** Numbers that no version of the manuals gives to anything: custom and reserved ones. */
export const ABSENT_CSRS: readonly number[] = [
  0x005, 0x0c5, 0x1c0, 0x5c0, 0x7c0, 0x800, 0x8ff, 0x9c0, 0xbc0, 0xcc0, 0xdc0, 0xfc0, 0xfff,
].filter((number) => csrs.every((csr) => csr.number !== number));
