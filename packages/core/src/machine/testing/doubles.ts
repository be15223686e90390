/** Stand-ins for what surrounds a device, for unit tests: a hart, an interrupt line, guest RAM, a clock. They record and check nothing. */

import type { Clock, Entropy } from '../../base/ports.ts';
import { hartId } from '../../base/numbers.ts';
import type { HartId } from '../../base/numbers.ts';
import type { FaultSink, GuestMemory, InterruptLine } from '../device.ts';
import type { HartPort, HartRunState } from '../hart-port.ts';

export class FakeHart implements HartPort {
  readonly id: HartId;
  runState: HartRunState = 'running';
  /** Pending bits as driven from outside. */
  mip = 0;
  timer: bigint | undefined;
  stealMemory: number | undefined;
  started: { address: bigint; opaque: bigint } | undefined;
  readonly fences: (string | { start: bigint; size: bigint; asid: number | undefined })[] = [];
  readonly #x = new BigUint64Array(32);

  constructor(id: number) {
    this.id = hartId(id);
  }

  x(register: number): bigint {
    return this.#x[register] ?? 0n;
  }

  setX(register: number, value: bigint): void {
    if (register !== 0) this.#x[register] = value;
  }

  setPending(mipBit: number, level: boolean): void {
    this.mip = level ? this.mip | mipBit : this.mip & ~mipBit;
    if (level && (this.runState === 'waiting' || this.runState === 'suspended')) this.runState = 'running';
  }

  claim(): boolean {
    if (this.runState !== 'stopped') return false;
    this.runState = 'starting';
    return true;
  }

  startSupervisor(address: bigint, opaque: bigint): void {
    this.started = { address, opaque };
    this.runState = 'running';
  }

  suspend(): void {
    this.runState = 'suspended';
  }

  stop(): void {
    this.runState = 'stopped';
  }

  fenceVma(start: bigint, size: bigint, asid: number | undefined): void {
    this.fences.push({ start, size, asid });
  }

  fenceInstruction(): void {
    this.fences.push('fence.i');
  }

  setStealMemory(address: number | undefined): void {
    this.stealMemory = address;
  }

  setSupervisorTimer(ticks: bigint): void {
    this.timer = ticks;
  }
}

export function fakeHarts(count: number): FakeHart[] {
  return Array.from({ length: count }, (_, id) => new FakeHart(id));
}

export class FakeLine implements InterruptLine {
  level = false;
  /** Every change of level, in order. */
  readonly changes: boolean[] = [];

  set(level: boolean): void {
    if (level !== this.level) this.changes.push(level);
    this.level = level;
  }
}

/** Time stands still until a test moves it. */
export class FakeClock implements Clock {
  monotonic = 0;
  wall = 0n;

  monotonicNs(): number {
    return this.monotonic;
  }

  wallNs(): bigint {
    return this.wall;
  }

  advanceNs(ns: number): void {
    this.monotonic += ns;
    this.wall += BigInt(ns);
  }
}

/** Counts upwards: recognizable, and never the same twice. */
export class CountingEntropy implements Entropy {
  #next = 1;

  fill(into: Uint8Array): void {
    for (let index = 0; index < into.length; index++) into[index] = this.#next++ & 0xff;
  }
}

export class RecordedFaults implements FaultSink {
  readonly reports: string[] = [];
  readonly broken: unknown[] = [];

  report(device: string, reason: string): void {
    this.reports.push(`${device}: ${reason}`);
  }

  broke(error: unknown): void {
    this.broken.push(error);
  }
}

/** RAM of `size` bytes from `base`, in one array. */
export class FakeMemory implements GuestMemory {
  readonly base: number;
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(base: number, size: number) {
    this.base = base;
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  contains(address: number, size: number): boolean {
    return (
      Number.isSafeInteger(address) &&
      Number.isSafeInteger(size) &&
      size >= 0 &&
      address >= this.base &&
      address + size <= this.base + this.bytes.length
    );
  }

  load8(address: number): number | undefined {
    return this.contains(address, 1) ? this.#view.getUint8(address - this.base) : undefined;
  }

  load16(address: number): number | undefined {
    return this.contains(address, 2) ? this.#view.getUint16(address - this.base, true) : undefined;
  }

  load32(address: number): number | undefined {
    return this.contains(address, 4) ? this.#view.getUint32(address - this.base, true) : undefined;
  }

  load64(address: number): number | undefined {
    if (!this.contains(address, 8)) return undefined;
    const value = Number(this.#view.getBigUint64(address - this.base, true));
    return value > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : value;
  }

  store8(address: number, value: number): boolean {
    if (!this.contains(address, 1)) return false;
    this.#view.setUint8(address - this.base, value);
    return true;
  }

  store16(address: number, value: number): boolean {
    if (!this.contains(address, 2)) return false;
    this.#view.setUint16(address - this.base, value, true);
    return true;
  }

  store32(address: number, value: number): boolean {
    if (!this.contains(address, 4)) return false;
    this.#view.setUint32(address - this.base, value, true);
    return true;
  }

  read(address: number, into: Uint8Array): boolean {
    if (!this.contains(address, into.length)) return false;
    into.set(this.bytes.subarray(address - this.base, address - this.base + into.length));
    return true;
  }

  write(address: number, from: Uint8Array): boolean {
    if (!this.contains(address, from.length)) return false;
    this.bytes.set(from, address - this.base);
    return true;
  }

  views(address: number, size: number): Uint8Array[] | undefined {
    return this.contains(address, size)
      ? [this.bytes.subarray(address - this.base, address - this.base + size)]
      : undefined;
  }

  release(): void {}

  forget(): boolean {
    return true;
  }
}
