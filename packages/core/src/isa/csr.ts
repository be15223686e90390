/**
 * Control and status registers as data (Privileged ISA, chapter 2 and the sections named below). What a CSR holds, which bits a write may
 * change, which values of a field are legal (WARL), who may touch it, and what a change has an effect on: the engine generates its access
 * functions from this table, the reference page its text.
 */

/** What must be recomputed after a write. */
export type CsrEffect =
  /** Enabled or pending interrupts may have changed. */
  | 'interrupts'
  /** Address translation or the privilege of data accesses may have changed. */
  | 'translation'
  /** Physical memory protection has changed. */
  | 'protection'
  /** The supervisor timer compare value has changed. */
  | 'timer'
  /** Accrued flags or the rounding mode have changed: float state is dirty. */
  | 'float';

/** A condition besides the privilege level in bits 9:8 of the number; failing it is an illegal instruction. */
export type CsrGuard =
  /** mstatus.FS must not be off (Unprivileged ISA, 22.2). */
  | 'float'
  /** The counter's bit in mcounteren and scounteren (Privileged ISA, 3.1.11, 10.1.5). */
  | 'counter'
  /** mstatus.TVM traps satp in S-mode (3.1.6.6). */
  | 'tvm'
  /** menvcfg.STCE and mcounteren.TM let S-mode have stimecmp (Sstc, 2). */
  | 'stce';

/** A field in which only some values are legal. A write of another keeps the old field, or (`elseIgnoreWrite`) the whole old register. */
export interface CsrField {
  readonly name: string;
  readonly high: number;
  readonly low: number;
  readonly legal: readonly number[];
  readonly elseIgnoreWrite?: boolean;
}

/** Where the value comes from. */
export type CsrSource =
  /** A 64-bit cell of its own in the hart's state, of the CSR's name. */
  | { readonly kind: 'stored' }
  /** A part of another CSR, seen through `mask`. */
  | { readonly kind: 'view'; readonly of: string; readonly mask: bigint }
  /** Always this value; a write (where the number allows one) changes nothing. */
  | { readonly kind: 'constant'; readonly value: bigint }
  /** Computed by the engine, which knows it by name. */
  | { readonly kind: 'computed' };

export interface Csr {
  readonly name: string;
  readonly number: number;
  readonly source: CsrSource;
  /** Bits that a write may change. */
  readonly writable: bigint;
  readonly resetValue: bigint;
  readonly fields: readonly CsrField[];
  readonly effects: readonly CsrEffect[];
  readonly guard?: CsrGuard;
  readonly summary: string;
}

/** The lowest privilege level that may access it: 0 U, 1 S, 3 M (bits 9:8 of the number). */
export function csrPrivilege(csr: Csr): number {
  return (csr.number >> 8) & 3;
}

/** Bits 11:10 = 11: a write is an illegal instruction. */
export function csrIsReadOnly(csr: Csr): boolean {
  return csr.number >> 10 === 3;
}
