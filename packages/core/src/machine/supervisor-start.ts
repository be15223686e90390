/** What firmware does before it enters S-mode, done from outside the guest for our own SBI: hands down traps, interrupts, counters and memory. */

import { defined } from '../base/assert.ts';
import type { Hart } from '../engine/hart.ts';
import { CSR } from '../engine/state.ts';
import { DELEGABLE_EXCEPTIONS, ENVCFG, SUPERVISOR_INTERRUPTS, csrIndex } from '../isa/csrs.ts';

/** ecall from S-mode stays with the SBI. */
const ECALL_FROM_SUPERVISOR = 1n << 9n;
/** pmpaddr0 and pmpcfg0: one NAPOT entry over everything, readable, writable, executable. */
const PMPADDR0 = 0x3b0;
const PMPCFG0 = 0x3a0;
const EVERYTHING = (1n << 54n) - 1n;
const NAPOT_RWX = 0x1fn;
/** cycle, time and instret. */
const BASIC_COUNTERS = 7n;

export function handToSupervisor(hart: Hart): void {
  const write = (number: number, value: bigint): void => hart.writeCsr(defined(csrIndex(number), 'a CSR'), value);
  write(CSR.medeleg, DELEGABLE_EXCEPTIONS & ~ECALL_FROM_SUPERVISOR);
  write(CSR.mideleg, SUPERVISOR_INTERRUPTS);
  write(CSR.mcounteren, 0xffff_ffffn);
  // As OpenSBI leaves it. Linux counts on `time` for U-mode (its vDSO reads it) without a PMU driver to set it.
  write(CSR.scounteren, BASIC_COUNTERS);
  write(CSR.menvcfg, ENVCFG.STCE | ENVCFG.PBMTE | ENVCFG.ADUE | ENVCFG.CBZE | ENVCFG.CBCFE | ENVCFG.CBIE);
  write(PMPADDR0, EVERYTHING);
  write(PMPCFG0, NAPOT_RWX);
  hart.put32('ownSbi', 1);
}
