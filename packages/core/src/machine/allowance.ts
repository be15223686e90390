/**
 * How much processor time a machine may have: it is executed while each of its token buckets has something in it, and what it used is taken out,
 * also below nothing, so that it is paid back. Its threads share it, in words of shared memory, and its forks do where the process is theirs alone.
 * Its time is the host's (`hostNs`), the same for all of them, whoever stands still.
 *
 *     rate    a limit, or what it is granted of a host that has not enough for all: filled evenly, little of it is kept
 *     bucket  its own: `fillMs` of processor time each `intervalMs`, `burstMs` at most (as Linux-VServer had it)
 */

import type { Clock } from '../base/ports.ts';

/** The time that allowances go by. */
export function hostNs(clock: Clock): number {
  return clock.hostNs?.() ?? clock.monotonicNs();
}

/** A bucket of the machine's own. */
export interface TokenBucket {
  readonly fillMs: number;
  readonly intervalMs: number;
  readonly burstMs: number;
}

/** What was counted since the machine was made, in nanoseconds: of all its threads together. */
export interface AllowanceFigures {
  /** Ready harts were kept from running by the rate, and by the machine's own bucket. */
  readonly heldNs: number;
  readonly bucketNs: number;
  /** Ready harts waited for their turn beside others. */
  readonly waitedNs: number;
  /** Harts that ran had no processor of the host's. */
  readonly stolenNs: number;
}

const CELL = {
  isLimited: 0,
  /** Nanoseconds of processor time for each second; 0: no such bucket. */
  rate: 1,
  kept: 2,
  tokens: 3,
  filledAt: 4,
  fill: 5,
  interval: 6,
  burst: 7,
  bucketTokens: 8,
  bucketFilledAt: 9,
  /** Processor time up to which the process was charged; -1: nothing yet. */
  charged: 10,
  held: 11,
  bucketHeld: 12,
  waited: 13,
  stolen: 14,
} as const;
export const ALLOWANCE_CELLS = 15;

/** What a rate fills up to while nothing is used: so much of a second's worth, and no less than MINIMUM_KEPT_NS. */
const KEPT_SECONDS = 0.1;
const MINIMUM_KEPT_NS = 4_000_000;
/** Who has used up what there was waits for so much. */
const QUANTUM_NS = 2_000_000;
/** What is overdrawn is paid back as far as that takes so long; more is forgotten. */
const LONGEST_DEBT_SECONDS = 5;
const SECOND_NS = 1e9;
/** Below this nothing would ever run. */
const LEAST_RATE_NS = 1_000_000;

export class Allowance {
  readonly #cells: BigInt64Array;
  /** Machines that it is of, and what lets each look again. */
  readonly #machines = new Map<object, () => void>();

  /** In `cells`, that other threads may see, too. */
  constructor(cells: BigInt64Array = new BigInt64Array(ALLOWANCE_CELLS)) {
    this.#cells = cells;
  }

  /** A machine that is held sleeps for as long as it would have been when it looked; when that changes, `lookAgain` is called. */
  join(machine: object, lookAgain: () => void): void {
    this.#machines.set(machine, lookAgain);
  }

  leave(machine: object): void {
    this.#machines.delete(machine);
  }

  get isLimited(): boolean {
    return this.#get(CELL.isLimited) !== 0;
  }

  /** It may have so many processors' time (0.5: half of one); undefined: as much as there is. */
  setRate(processors: number | undefined, nowNs: number): void {
    const rate = processors === undefined ? 0 : Math.max(LEAST_RATE_NS, Math.round(processors * SECOND_NS));
    const kept = Math.max(MINIMUM_KEPT_NS, Math.round(rate * KEPT_SECONDS));
    const isHeld = this.dueInNs(nowNs) > 0;
    if (this.#get(CELL.rate) === 0) {
      this.#set(CELL.tokens, QUANTUM_NS);
      this.#set(CELL.filledAt, nowNs);
    } else this.#fillRate(nowNs);
    this.#set(CELL.kept, kept);
    this.#set(CELL.rate, rate);
    this.#limit();
    if (isHeld) this.#lookAgain();
  }

  /** It begins full. */
  setBucket(bucket: TokenBucket | undefined, nowNs: number): void {
    const ns = (ms = 0): number => Math.round(ms * 1e6);
    const isHeld = this.dueInNs(nowNs) > 0;
    this.#set(CELL.interval, ns(bucket?.intervalMs));
    this.#set(CELL.burst, ns(bucket?.burstMs));
    this.#set(CELL.bucketTokens, ns(bucket?.burstMs));
    this.#set(CELL.bucketFilledAt, nowNs);
    this.#set(CELL.fill, ns(bucket?.fillMs));
    this.#limit();
    if (isHeld) this.#lookAgain();
  }

  /** Nanoseconds until the machine may run; 0: now. */
  dueInNs(nowNs: number): number {
    return this.isLimited ? Math.max(this.#rateDueInNs(nowNs), this.#bucketDueInNs(nowNs)) : 0;
  }

  /** So much processor time was used. */
  charge(ns: number): void {
    const rate = this.#get(CELL.rate);
    if (rate !== 0) this.#take(CELL.tokens, ns, rate * LONGEST_DEBT_SECONDS);
    const [fill, interval] = [this.#get(CELL.fill), this.#get(CELL.interval)];
    if (fill === 0 || interval === 0) return;
    this.#take(CELL.bucketTokens, ns, Math.max(1, Math.floor((LONGEST_DEBT_SECONDS * SECOND_NS) / interval)) * fill);
  }

  /** The process, which is the machine's and its forks' alone, has used so much in all. */
  chargeUpTo(ns: number): void {
    const before = Number(Atomics.exchange(this.#cells, CELL.charged, BigInt(Math.round(ns))));
    if (before >= 0) this.charge(ns - before);
  }

  /** A thread had harts to run and was kept from it until now, for `ns`. */
  held(ns: number, nowNs: number): void {
    this.#add(this.#bucketDueInNs(nowNs) > this.#rateDueInNs(nowNs) ? CELL.bucketHeld : CELL.held, ns);
  }

  waited(ns: number): void {
    this.#add(CELL.waited, ns);
  }

  stolen(ns: number): void {
    this.#add(CELL.stolen, ns);
  }

  get figures(): AllowanceFigures {
    return {
      heldNs: this.#get(CELL.held),
      bucketNs: this.#get(CELL.bucketHeld),
      waitedNs: this.#get(CELL.waited),
      stolenNs: this.#get(CELL.stolen),
    };
  }

  #lookAgain(): void {
    for (const lookAgain of this.#machines.values()) lookAgain();
  }

  #limit(): void {
    const isLimited = this.#get(CELL.rate) !== 0 || this.#get(CELL.fill) !== 0;
    if (isLimited && !this.isLimited) this.#set(CELL.charged, -1);
    this.#set(CELL.isLimited, isLimited ? 1 : 0);
  }

  #rateDueInNs(nowNs: number): number {
    const rate = this.#get(CELL.rate);
    if (rate === 0) return 0;
    this.#fillRate(nowNs);
    const tokens = this.#get(CELL.tokens);
    return tokens > 0 ? 0 : ((QUANTUM_NS - tokens) / rate) * SECOND_NS;
  }

  #fillRate(nowNs: number): void {
    const before = this.#get(CELL.filledAt);
    const more = Math.floor(((nowNs - before) * this.#get(CELL.rate)) / SECOND_NS);
    if (more > 0 && this.#change(CELL.filledAt, before, nowNs)) this.#pour(CELL.tokens, more, CELL.kept);
  }

  #bucketDueInNs(nowNs: number): number {
    const fill = this.#get(CELL.fill);
    const interval = this.#get(CELL.interval);
    if (fill === 0 || interval === 0) return 0;
    const before = this.#get(CELL.bucketFilledAt);
    const intervals = Math.floor((nowNs - before) / interval);
    if (intervals > 0 && this.#change(CELL.bucketFilledAt, before, before + intervals * interval))
      this.#pour(CELL.bucketTokens, intervals * fill, CELL.burst);
    const tokens = this.#get(CELL.bucketTokens);
    if (tokens > 0) return 0;
    return this.#get(CELL.bucketFilledAt) + Math.ceil((1 - tokens) / fill) * interval - nowNs;
  }

  #take(cell: number, ns: number, mostOwed: number): void {
    const over = -mostOwed - (this.#add(cell, -ns) - ns);
    if (over > 0) this.#add(cell, over);
  }

  #pour(cell: number, ns: number, mostCell: number): void {
    const over = this.#add(cell, ns) + ns - this.#get(mostCell);
    if (over > 0) this.#add(cell, -over);
  }

  #get(cell: number): number {
    return Number(Atomics.load(this.#cells, cell));
  }

  #set(cell: number, value: number): void {
    Atomics.store(this.#cells, cell, BigInt(Math.round(value)));
  }

  #add(cell: number, value: number): number {
    return Number(Atomics.add(this.#cells, cell, BigInt(Math.round(value))));
  }

  #change(cell: number, before: number, after: number): boolean {
    const was = BigInt(before);
    return Atomics.compareExchange(this.#cells, cell, was, BigInt(Math.round(after))) === was;
  }
}
