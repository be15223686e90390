/**
 * A hart as the rest of the machine sees it: interrupt controllers set its pending bits, the SBI reads and writes its registers, starts
 * and stops it. The engine stands behind this interface, so that devices and firmware know nothing of WebAssembly.
 */

import type { HartId } from '../base/numbers.ts';

/** Bits of `mip` (Privileged ISA, 3.1.9). */
export const MIP = { SSIP: 1 << 1, MSIP: 1 << 3, STIP: 1 << 5, MTIP: 1 << 7, SEIP: 1 << 9, MEIP: 1 << 11 } as const;

/**
 * What a hart is doing. `waiting` is WFI, `suspended` the same wait entered through the SBI (which must tell them apart when asked);
 * both end when `mip & mie` is not 0, whatever `sstatus.SIE` says. `starting` is a stopped hart that somebody is about to start.
 */
export type HartRunState = 'running' | 'waiting' | 'suspended' | 'stopped' | 'starting';

export interface HartPort {
  readonly id: HartId;
  readonly runState: HartRunState;
  /** An integer register, as the unsigned 64-bit value. x(0) is 0. */
  x(register: number): bigint;
  setX(register: number, value: bigint): void;
  /** Raises or lowers one interrupt-pending bit of `mip` as driven by hardware (software-written SSIP/STIP/SEIP bits are kept apart
   *  for SEIP, as the specification asks). SSIP has no wire of its own: raising it is what a write of 1 does, and S-mode software clears
   *  it. Wakes the hart from WFI. */
  setPending(mipBit: number, level: boolean): void;
  /** Takes a stopped hart for starting; false when it is not stopped. Of several who ask one gets it. */
  claim(): boolean;
  /** Starts execution at `address` in S-mode, satp = 0, sstatus.SIE = 0, a0 = hart id, a1 = opaque (SBI HSM hart_start). Everything else,
   *  `mie` included, stays as it is: a non-retentive suspend is `startSupervisor` and then `suspend`. */
  startSupervisor(address: bigint, opaque: bigint): void;
  /** Waits as WFI does, before the next instruction, in the run state `suspended`. */
  suspend(): void;
  /** Stops executing until started again. */
  stop(): void;
  /** sfence.vma of the addresses [start, start + size), of one ASID or of all when undefined. A size of 2^64 - 1 means every address. */
  fenceVma(start: bigint, size: bigint, asid: number | undefined): void;
  /** fence.i on this hart. */
  fenceInstruction(): void;
  /** stimecmp (Sstc) as written by the SBI timer extension, in ticks of mtime. */
  setSupervisorTimer(ticks: bigint): void;
  /** Where the guest wants to be told of time that was stolen from this hart; nowhere when undefined. */
  setStealMemory(address: number | undefined): void;
}
