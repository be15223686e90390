/**
 * The real-time clock: Google's goldfish RTC, as QEMU's `virt` machine has it and Linux's `rtc-goldfish` drives it. Time is wall-clock
 * time in nanoseconds since 1970, in two halves: reading TIME_LOW latches TIME_HIGH, writing a low half applies the pair.
 *
 * INVARIANT: the guest's time is the host's wall clock plus one offset, so a restored machine shows the time of day and keeps what the
 * guest had set it ahead or behind.
 */

import type { Clock } from '../base/ports.ts';
import { SavedReader } from '../base/saved.ts';
import type { Saved } from '../base/saved.ts';
import type { AccessSize, InterruptLine, MmioDevice, Placement, TimedDevice, TreeNode } from './device.ts';
import { plicInterrupt, regCells } from './fdt/tree-values.ts';
import { MEMORY_MAP } from './memory-map.ts';

const TIME_LOW = 0x00;
const TIME_HIGH = 0x04;
const ALARM_LOW = 0x08;
const ALARM_HIGH = 0x0c;
const IRQ_ENABLED = 0x10;
const CLEAR_ALARM = 0x14;
const ALARM_STATUS = 0x18;
const CLEAR_INTERRUPT = 0x1c;

const LOW_HALF = 0xffff_ffffn;

interface RtcState {
  /** Guest time less wall-clock time, in nanoseconds modulo 2^64. */
  offset: bigint;
  /** TIME_HIGH as the last read of TIME_LOW left it. */
  latchedHigh: number;
  alarm: bigint;
  alarmArmed: boolean;
  interruptEnabled: boolean;
  interruptPending: boolean;
}

function powerOn(): RtcState {
  return { offset: 0n, latchedHigh: 0, alarm: 0n, alarmArmed: false, interruptEnabled: false, interruptPending: false };
}

export class GoldfishRtc implements MmioDevice, TimedDevice {
  readonly name = `rtc@${MEMORY_MAP.rtc.base.toString(16)}`;
  readonly accessSizes = 4;
  readonly #clock: Clock;
  readonly #line: InterruptLine;
  #state = powerOn();

  constructor(clock: Clock, line: InterruptLine) {
    this.#clock = clock;
    this.#line = line;
  }

  /** Back to power-on: the time of day is the host's again. */
  reset(): void {
    this.#state = powerOn();
    this.#notify();
  }

  read(offset: number, _size: AccessSize): number {
    const state = this.#state;
    switch (offset) {
      case TIME_LOW: {
        const now = this.#now();
        state.latchedHigh = Number(now >> 32n);
        return Number(now & LOW_HALF);
      }
      case TIME_HIGH:
        return state.latchedHigh;
      case ALARM_LOW:
        return Number(state.alarm & LOW_HALF);
      case ALARM_HIGH:
        return Number(state.alarm >> 32n);
      case IRQ_ENABLED:
        return state.interruptEnabled ? 1 : 0;
      case ALARM_STATUS:
        this.poll();
        return state.alarmArmed ? 1 : 0;
      default:
        return 0;
    }
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const state = this.#state;
    switch (offset) {
      case TIME_LOW:
        this.#setTime(withLow(this.#now(), value));
        break;
      case TIME_HIGH:
        this.#setTime(withHigh(this.#now(), value));
        break;
      case ALARM_LOW:
        state.alarm = withLow(state.alarm, value);
        state.alarmArmed = true;
        break;
      case ALARM_HIGH:
        state.alarm = withHigh(state.alarm, value);
        break;
      case IRQ_ENABLED:
        state.interruptEnabled = (value & 1) !== 0;
        break;
      case CLEAR_ALARM:
        state.alarmArmed = false;
        break;
      case CLEAR_INTERRUPT:
        state.interruptPending = false;
        break;
    }
    this.poll();
    this.#notify();
  }

  dueInNs(): number {
    if (!this.#state.alarmArmed) return Infinity;
    const left = this.#state.alarm - this.#now();
    if (left <= 0n) return 0;
    return left > Number.MAX_SAFE_INTEGER ? Infinity : Number(left);
  }

  /** Lets an alarm go off whose time has come. */
  poll(): void {
    const state = this.#state;
    if (!state.alarmArmed || state.alarm > this.#now()) return;
    state.alarmArmed = false;
    state.interruptPending = true;
    this.#notify();
  }

  save(): Saved {
    return { ...this.#state };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.name);
    this.#state = {
      offset: reader.field('offset').u64(),
      latchedHigh: reader.field('latchedHigh').u32(),
      alarm: reader.field('alarm').u64(),
      alarmArmed: reader.field('alarmArmed').boolean(),
      interruptEnabled: reader.field('interruptEnabled').boolean(),
      interruptPending: reader.field('interruptPending').boolean(),
    };
    this.#notify();
  }

  #now(): bigint {
    return BigInt.asUintN(64, this.#clock.wallNs() + this.#state.offset);
  }

  #setTime(time: bigint): void {
    this.#state.offset = BigInt.asUintN(64, time - this.#clock.wallNs());
  }

  #notify(): void {
    this.#line.set(this.#state.interruptEnabled && this.#state.interruptPending);
  }
}

function withLow(value: bigint, low: number): bigint {
  return (value & ~LOW_HALF) | BigInt(low);
}

function withHigh(value: bigint, high: number): bigint {
  return (value & LOW_HALF) | (BigInt(high) << 32n);
}

/** The node of the device tree (binding: rtc/google,goldfish-rtc). */
export function goldfishRtcNode(placement: Placement, source: number): TreeNode {
  return {
    name: `rtc@${placement.base.toString(16)}`,
    properties: { compatible: 'google,goldfish-rtc', reg: regCells(placement), ...plicInterrupt(source) },
  };
}
