/**
 * A hart as the rest of the machine sees it: interrupt controllers set its pending bits, the SBI reads and writes its registers, starts
 * and stops it. The engine stands behind this interface, so that devices and firmware know nothing of WebAssembly.
 */

import type { HartId } from '../base/numbers.ts';

/** Bits of `mip` (Privileged ISA, 3.1.9). */
export const MIP = { SSIP: 1 << 1, MSIP: 1 << 3, STIP: 1 << 5, MTIP: 1 << 7, SEIP: 1 << 9, MEIP: 1 << 11 } as const;

export interface HartPort {
  readonly id: HartId;
  /** An integer register, as the unsigned 64-bit value. x(0) is 0. */
  x(register: number): bigint;
  setX(register: number, value: bigint): void;
  /** Raises or lowers one interrupt-pending bit of `mip` as driven by hardware (software-written SSIP/STIP/SEIP bits are kept apart
   *  for SEIP, as the specification asks). Wakes the hart from WFI. */
  setPending(mipBit: number, level: boolean): void;
  /** Starts execution at `address` in S-mode, satp = 0, sstatus.SIE = 0, a0 = hart id, a1 = opaque (SBI HSM hart_start). */
  startSupervisor(address: bigint, opaque: bigint): void;
  /** Stops executing until started again. */
  stop(): void;
  /** sfence.vma for the whole address space of one ASID (or all when undefined), or of the addresses [start, start + size). */
  fenceVma(start: bigint, size: bigint, asid: number | undefined): void;
  /** fence.i on this hart. */
  fenceInstruction(): void;
  /** stimecmp (Sstc) as written by the SBI timer extension, in ticks of mtime. */
  setSupervisorTimer(ticks: bigint): void;
}
