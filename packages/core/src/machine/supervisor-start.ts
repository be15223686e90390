/**
 * How harts start at power-on; and what firmware does before it enters S-mode, done from outside the guest for our own SBI: hands down traps,
 * interrupts, counters and memory.
 */

import { defined } from '../base/assert.ts';
import type { Hart } from '../engine/hart.ts';
import { CSR } from '../engine/state.ts';
import { DELEGABLE_EXCEPTIONS, ENVCFG, SUPERVISOR_INTERRUPTS, csrIndex } from '../isa/csrs.ts';
import type { MachineHart } from './hart.ts';
import type { BootPlan } from './loader/boot-plan.ts';

/** ecall from S-mode stays with the SBI. */
const ECALL_FROM_SUPERVISOR = 1n << 9n;
/** pmpaddr0 and pmpcfg0: one NAPOT entry over everything, readable, writable, executable. */
const PMPADDR0 = 0x3b0;
const PMPCFG0 = 0x3a0;
const EVERYTHING = (1n << 54n) - 1n;
const NAPOT_RWX = 0x1fn;
/** cycle, time and instret. */
const BASIC_COUNTERS = 7n;

function handToSupervisor(hart: Hart): void {
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

/** Harts as they are at power-on; those that `plan` starts run from where it says. */
export function startHarts(harts: readonly MachineHart[], plan: BootPlan): void {
  for (const hart of harts) {
    hart.stop();
    hart.engine.reset(BigInt(plan.entry));
    hart.setX(10, BigInt(hart.id));
    hart.setX(11, BigInt(plan.a1));
    hart.setX(12, BigInt(plan.a2));
    if (plan.mode === 'S') handToSupervisor(hart.engine);
    if (plan.harts === 'first' && hart.id !== 0) continue;
    if (plan.mode === 'S') hart.startSupervisor(BigInt(plan.entry), BigInt(plan.a1));
    else hart.startMachine(BigInt(plan.entry));
  }
}
