/**
 * Numbers that say what they mean. A brand is made in one function each, which checks once; afterwards the type carries the proof.
 * Guest-physical addresses and sizes are `number` below 2^53 (RISC-V allows 2^56, we map nothing above 2^53 and a larger
 * address is refused at the edge). Guest-virtual addresses outside wasm are `bigint`.
 */

import { assert } from './assert.ts';

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A guest-physical address in bytes, 0 <= address < 2^53. */
export type GuestPhysical = Branded<number, 'GuestPhysical'>;
/** A hart's number within its machine, from 0. */
export type HartId = Branded<number, 'HartId'>;

/** Size of a page and of a frame in bytes. */
export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

export function guestPhysical(address: number): GuestPhysical {
  assert(Number.isSafeInteger(address) && address >= 0, `guest-physical address ${address} is out of range`);
  return address as GuestPhysical;
}

export function hartId(id: number): HartId {
  assert(Number.isInteger(id) && id >= 0 && id < 4096, `hart id ${id} is out of range`);
  return id as HartId;
}

/** `value` rounded up to a multiple of `unit` (a power of two or any positive integer). */
export function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** `0x` and at least `digits` lower-case hex digits. */
export function hex(value: number | bigint, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}
