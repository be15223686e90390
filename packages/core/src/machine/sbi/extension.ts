/**
 * What an SBI extension is: an id, a name, and functions by number (RISC-V Supervisor Binary Interface Specification 2.0, chapter 3,
 * "Binary Encoding"). Extensions are data to the dispatcher; behaviour lies in one file each.
 */

import type { GuestMemory } from '../device.ts';
import type { EndingListener } from '../ending.ts';
import type { HartPort } from '../hart-port.ts';

/** Error codes (chapter 3). */
export const SBI_SUCCESS = 0n;
export const SBI_ERR_FAILED = -1n;
export const SBI_ERR_NOT_SUPPORTED = -2n;
export const SBI_ERR_INVALID_PARAM = -3n;
export const SBI_ERR_DENIED = -4n;
export const SBI_ERR_INVALID_ADDRESS = -5n;
export const SBI_ERR_ALREADY_AVAILABLE = -6n;

/** The debug console: the machine's serial line. */
export interface SbiConsole {
  write(bytes: Uint8Array): void;
  /** The next byte that has been received; undefined when there is none. */
  read(): number | undefined;
}

/** What the SBI works on. */
export interface SbiPlatform {
  /** Hart n is the n-th. */
  readonly harts: readonly HartPort[];
  readonly memory: GuestMemory;
  readonly console: SbiConsole;
  /** Hears of shutdown and reboot; the hart that asked is stopped by then. */
  readonly ended: EndingListener;
  /** The registers of these names, which S-mode cannot read itself. */
  readonly machine: { readonly mvendorid: bigint; readonly marchid: bigint; readonly mimpid: bigint };
}

/** One call: who made it, and its parameters a0 to a5. */
export interface SbiCall {
  readonly hart: HartPort;
  /** a0 to a5 as unsigned 64-bit values. */
  readonly a: readonly [bigint, bigint, bigint, bigint, bigint, bigint];
}

/** What goes into a0 and a1. Undefined: the call does not return to where it was made, and the registers are left alone. */
export type SbiResult = { readonly error: bigint; readonly value: bigint } | undefined;

export type SbiFunction = (call: SbiCall, platform: SbiPlatform, probe: (extension: bigint) => boolean) => SbiResult;

export interface SbiExtension {
  readonly id: bigint;
  readonly name: string;
  /** By function number. */
  readonly functions: readonly SbiFunction[];
}

export function success(value = 0n): SbiResult {
  return { error: SBI_SUCCESS, value };
}

export function failure(error: bigint): SbiResult {
  return { error, value: 0n };
}

/** A parameter that the specification says has 32 bits. */
export function u32(value: bigint): number {
  return Number(BigInt.asUintN(32, value));
}

/** True when a hart could start at this physical address: RAM, and aligned as instructions are. */
export function isCodeAddress(address: bigint, memory: GuestMemory): boolean {
  return address <= BigInt(Number.MAX_SAFE_INTEGER) && (address & 1n) === 0n && memory.contains(Number(address), 2);
}
