/** Shorthand for reading and writing a hart's state in generated code. `hart` is always the local that holds the hart's base address. */

import type { Body } from '../wasm/body.ts';
import type { AsI32, AsI64, I32, I64 } from '../wasm/expression.ts';
import { load32, load64 } from '../wasm/memory-access.ts';
import { csrIndex } from '../isa/csrs.ts';
import { defined } from '../base/assert.ts';
import { HART } from './layout.ts';

/** Names of the single 32-bit and 64-bit cells (arrays are addressed by hand). */
export type Cell = Exclude<keyof typeof HART, 'END'>;

export const get32 = (hart: I32, cell: Cell): I32 => load32(hart, HART[cell]);
export const get64 = (hart: I32, cell: Cell): I64 => load64(hart, HART[cell]);

export function put32(body: Body, hart: I32, cell: Cell, value: AsI32): void {
  body.store32(hart, value, HART[cell]);
}

export function put64(body: Body, hart: I32, cell: Cell, value: AsI64): void {
  body.store64(hart, value, HART[cell]);
}

/** Adds one to a 64-bit counter of the hart. */
export function count(body: Body, hart: I32, cell: Cell): void {
  put64(body, hart, cell, get64(hart, cell).add(1));
}

/** Whoever waits for another hart lets it have its turn: `run` ends soon. */
export function yieldTurn(body: Body, hart: I32): void {
  put32(body, hart, 'yielded', 1);
  put32(body, hart, 'limit', 0);
}

/** Offset of a stored CSR's cell from the hart's base. */
export function csrOffset(number: number): number {
  return HART.csr + 8 * defined(csrIndex(number), `CSR ${number}`);
}

/** CSRs the engine itself works with. */
export const CSR = {
  mstatus: 0x300,
  medeleg: 0x302,
  mideleg: 0x303,
  mie: 0x304,
  mtvec: 0x305,
  mcounteren: 0x306,
  menvcfg: 0x30a,
  mepc: 0x341,
  mcause: 0x342,
  mtval: 0x343,
  stvec: 0x105,
  scounteren: 0x106,
  senvcfg: 0x10a,
  sepc: 0x141,
  scause: 0x142,
  stval: 0x143,
  stimecmp: 0x14d,
  satp: 0x180,
} as const;

export const getCsr = (hart: I32, name: Exclude<keyof typeof CSR, 'mstatus'>): I64 =>
  load64(hart, csrOffset(CSR[name]));

export function putCsr(body: Body, hart: I32, name: Exclude<keyof typeof CSR, 'mstatus'>, value: AsI64): void {
  body.store64(hart, value, csrOffset(CSR[name]));
}

/** Privilege levels as they are encoded (Privileged ISA, 1.2). */
export const PRIVILEGE = { U: 0, S: 1, M: 3 } as const;

/** Exception codes (Privileged ISA, table of mcause). */
export const CAUSE = {
  FETCH_ACCESS: 1,
  ILLEGAL: 2,
  BREAKPOINT: 3,
  LOAD_MISALIGNED: 4,
  LOAD_ACCESS: 5,
  STORE_MISALIGNED: 6,
  STORE_ACCESS: 7,
  ECALL_U: 8,
  ECALL_S: 9,
  ECALL_M: 11,
  FETCH_PAGE: 12,
  LOAD_PAGE: 13,
  STORE_PAGE: 15,
} as const;

/** What an access is for. */
export const ACCESS = { FETCH: 0, LOAD: 1, STORE: 2 } as const;
