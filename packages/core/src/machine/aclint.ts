/**
 * Software interrupts and the timer of every hart (RISC-V ACLINT Specification 1.0-rc4): MSWI (chapter 3), MTIMER (chapter 2) and SSWI
 * (chapter 4). MSWI and MTIMER side by side are the older SiFive CLINT, and it is as that that the device tree describes them.
 *
 * INVARIANT: `mtime` is the platform's tick count plus one offset, modulo 2^64. The `time` CSR of the harts reads the same: whoever sets
 * `mtime` moves the offset, and the machine hears of it. MTIP is `mtime >= mtimecmp`, brought up to date by every write and every `poll`.
 */

import { SavedReader } from '../base/saved.ts';
import type { Saved } from '../base/saved.ts';
import type { AccessSize, MmioDevice, Placement, TimedDevice, TreeNode } from './device.ts';
import { hartInterruptController, regCells } from './fdt/tree-values.ts';
import type { HartPort } from './hart-port.ts';
import { MIP } from './hart-port.ts';
import { MEMORY_MAP, MSWI_PLACEMENT, MTIMER_PLACEMENT, NS_PER_TICK } from './memory-map.ts';

/** The platform's timebase. */
export interface TickSource {
  /** Ticks of TIMEBASE_HZ since some start of its own; never goes back. */
  now(): bigint;
}

/** Interrupt numbers within a hart, as in `mcause` and in the device tree. */
const SUPERVISOR_SOFTWARE = 1;
const MACHINE_SOFTWARE = 3;
const MACHINE_TIMER = 7;

/** Registers of MTIMER: one `mtimecmp` per hart from the start, `mtime` at the end (as the CLINT has it). */
const MTIME = 0x7ff8;
/** What `mtimecmp` is at power-on: an interrupt that never comes. The specification leaves it open. */
const NEVER = 0xffff_ffff_ffff_ffffn;
const LOW_HALF = 0xffff_ffffn;

/** Machine software interrupts: `msip` of hart n at 4n, of which bit 0 is real. */
export class Mswi implements MmioDevice {
  readonly name = `mswi@${MSWI_PLACEMENT.base.toString(16)}`;
  readonly accessSizes = 4;
  readonly #harts: readonly HartPort[];
  readonly #msip: boolean[];

  constructor(harts: readonly HartPort[]) {
    this.#harts = harts;
    this.#msip = harts.map(() => false);
  }

  reset(): void {
    for (const hart of this.#msip.keys()) this.#set(hart, false);
  }

  read(offset: number, _size: AccessSize): number {
    return this.#msip[offset >>> 2] === true ? 1 : 0;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    if (offset >>> 2 < this.#msip.length) this.#set(offset >>> 2, (value & 1) !== 0);
  }

  save(): Saved {
    return { msip: [...this.#msip] };
  }

  restore(state: Saved): void {
    const msip = new SavedReader(state, this.name)
      .field('msip')
      .list(this.#msip.length)
      .map((bit) => bit.boolean());
    for (const [hart, level] of msip.entries()) this.#set(hart, level);
  }

  #set(hart: number, level: boolean): void {
    this.#msip[hart] = level;
    this.#harts[hart]?.setPending(MIP.MSIP, level);
  }
}

/** `mtime` and one `mtimecmp` per hart. */
export class Mtimer implements MmioDevice, TimedDevice {
  readonly name = `mtimer@${MTIMER_PLACEMENT.base.toString(16)}`;
  readonly accessSizes = 4 | 8;
  readonly #harts: readonly HartPort[];
  readonly #ticks: TickSource;
  readonly #offsetMoved: (offset: bigint) => void;
  readonly #mtimecmp: BigUint64Array;
  /** MTIP as each hart was last given it. */
  readonly #mtip: boolean[];
  #offset = 0n;

  /** `offsetMoved` hears of every new `offset`, the first one included. */
  constructor(harts: readonly HartPort[], ticks: TickSource, offsetMoved: (offset: bigint) => void = () => {}) {
    this.#harts = harts;
    this.#ticks = ticks;
    this.#offsetMoved = offsetMoved;
    this.#mtimecmp = new BigUint64Array(harts.length).fill(NEVER);
    this.#mtip = harts.map(() => false);
    this.#setMtime(0n);
  }

  /** What to add to the tick source, modulo 2^64, to get `mtime` and the harts' `time`. */
  get offset(): bigint {
    return this.#offset;
  }

  mtime(): bigint {
    return BigInt.asUintN(64, this.#ticks.now() + this.#offset);
  }

  /** Back to power-on: `mtime` counts from 0 again. */
  reset(): void {
    this.#mtimecmp.fill(NEVER);
    this.#setMtime(0n);
    this.poll();
  }

  read(offset: number, _size: AccessSize): number {
    const value = this.read64(offset & ~7);
    return Number((offset & 4) === 0 ? value & LOW_HALF : value >> 32n);
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const old = this.read64(offset & ~7);
    const half = BigInt(value);
    this.write64(offset & ~7, (offset & 4) === 0 ? (old & ~LOW_HALF) | half : (old & LOW_HALF) | (half << 32n));
  }

  read64(offset: number): bigint {
    return offset === MTIME ? this.mtime() : (this.#mtimecmp[offset >>> 3] ?? 0n);
  }

  write64(offset: number, value: bigint): void {
    if (offset === MTIME) this.#setMtime(value);
    else if (offset >>> 3 < this.#mtimecmp.length) this.#mtimecmp[offset >>> 3] = value;
    this.poll();
  }

  dueInNs(): number {
    const now = this.mtime();
    let due = Infinity;
    for (const [hart, mtimecmp] of this.#mtimecmp.entries()) {
      if (this.#mtip[hart] === true || mtimecmp === NEVER) continue;
      due = Math.min(due, mtimecmp <= now ? 0 : Number(mtimecmp - now) * NS_PER_TICK);
    }
    return due > Number.MAX_SAFE_INTEGER ? Infinity : due;
  }

  /** Gives every hart its MTIP. */
  poll(): void {
    const now = this.mtime();
    for (const [hart, mtimecmp] of this.#mtimecmp.entries()) {
      const level = now >= mtimecmp;
      if (level !== this.#mtip[hart]) this.#notify(hart, level);
    }
  }

  /** `mtime` is saved as it stands: for the guest, no time passes between save and restore. */
  save(): Saved {
    return { mtime: this.mtime(), mtimecmp: [...this.#mtimecmp] };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.name);
    const mtime = reader.field('mtime').u64();
    const mtimecmp = reader
      .field('mtimecmp')
      .list(this.#mtimecmp.length)
      .map((value) => value.u64());
    this.#mtimecmp.set(mtimecmp);
    this.#setMtime(mtime);
    for (const [hart, value] of mtimecmp.entries()) this.#notify(hart, mtime >= value);
  }

  /** So many nanoseconds have passed that nobody counted. */
  pass(ns: number): void {
    this.#setMtime(BigInt.asUintN(64, this.mtime() + BigInt(Math.floor(ns / NS_PER_TICK))));
  }

  #notify(hart: number, level: boolean): void {
    this.#mtip[hart] = level;
    this.#harts[hart]?.setPending(MIP.MTIP, level);
  }

  #setMtime(value: bigint): void {
    this.#offset = BigInt.asUintN(64, value - this.#ticks.now());
    this.#offsetMoved(this.#offset);
  }
}

/** Supervisor software interrupts: writing 1 to `setssip` of hart n, at 4n, raises SSIP there once; it reads as 0 and keeps nothing. */
export class Sswi implements MmioDevice {
  readonly name = `sswi@${MEMORY_MAP.sswi.base.toString(16)}`;
  readonly accessSizes = 4;
  readonly #harts: readonly HartPort[];

  constructor(harts: readonly HartPort[]) {
    this.#harts = harts;
  }

  reset(): void {}

  read(): number {
    return 0;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    if ((value & 1) !== 0) this.#harts[offset >>> 2]?.setPending(MIP.SSIP, true);
  }

  save(): Saved {
    return null;
  }

  restore(state: Saved): void {
    if (state !== null) new SavedReader(state, this.name).refuse('holds something, and this device keeps nothing');
  }
}

/** MSWI and MTIMER as one node (binding: timer/sifive,clint). */
export function clintNode(placement: Placement, harts: number): TreeNode {
  return {
    name: `clint@${placement.base.toString(16)}`,
    properties: {
      compatible: ['sifive,clint0', 'riscv,clint0'],
      reg: regCells(placement),
      'interrupts-extended': everyHart(harts, MACHINE_SOFTWARE, MACHINE_TIMER),
    },
  };
}

/** SSWI (binding: interrupt-controller/riscv,aclint-sswi). */
export function sswiNode(placement: Placement, harts: number): TreeNode {
  return {
    name: `sswi@${placement.base.toString(16)}`,
    properties: {
      compatible: 'riscv,aclint-sswi',
      reg: regCells(placement),
      'interrupt-controller': true,
      '#interrupt-cells': 0,
      'interrupts-extended': everyHart(harts, SUPERVISOR_SOFTWARE),
    },
  };
}

function everyHart(harts: number, ...interrupts: readonly number[]): NonNullable<TreeNode['properties'][string]> {
  return Array.from({ length: harts }, (_, hart) =>
    interrupts.flatMap((interrupt) => [hartInterruptController(hart), interrupt]),
  ).flat();
}
