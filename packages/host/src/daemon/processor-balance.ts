/**
 * What each machine may have of the processors until the next look, by what was measured since the last one. Where there is enough for all, nobody is
 * held; else what there is is divided (core's hypervisor/processor-division.ts), and machines obey (core's machine/allowance.ts). Machines that take turns on
 * one thread have no more than one processor together, whatever others leave.
 */

import { type Claim, DEFAULT_SHARES, divide } from '@ringfence/core';
import type { ProcessorSettings } from '@ringfence/api';

/** Since the last look, in processors: a second of two threads in a second is 2. */
export interface Measured {
  readonly used: number;
  /** Kept back by what was granted, by the machine's own bucket, by its other harts, and because the host was busy. */
  readonly held: number;
  readonly bucket: number;
  readonly waited: number;
  readonly stolen: number;
}

export interface Weighed {
  readonly settings: ProcessorSettings;
  readonly cpus: number;
  readonly measured: Measured;
  /** What it might have meanwhile; undefined: what its settings allow. */
  readonly granted?: number | undefined;
  /** That on which it takes turns, with those that have the same; undefined where its processors have threads of their own. */
  readonly thread?: string | undefined;
}

/** Whoever was kept back for more than this of the time wants all that it may have. */
const HELD = 0.02;
/** Whoever was not may want a little more than it had. */
const MORE = 1.05;
const MORE_PROCESSORS = 0.01;
/**
 * One that wants more and had less than this of what it was granted shows that the host has other work: then there is less to divide, so that
 * again each has its part. When all have more than that for a while, a little more is tried each time.
 */
const SERVED = 0.95;
const FULLY_SERVED = 0.98;
const GIVING_WAY = 0.5;
/** One that wanted less than this of what it was granted says nothing of that. */
const WANTED = 0.5;
const RECOVERY = 1.02;
const RECOVERY_PROCESSORS = 0.01;
/** No machine gets less, so that it is still seen what it wants. */
const LEAST = 0.01;

export class ProcessorBalance {
  readonly #host: Supply;
  /** Of threads on which machines take turns, by their names; how they do that is their process's matter (core's hypervisor/fair-turns.ts). */
  readonly #threads = new Map<string, Supply>();

  /** Machines may have so many processors together. */
  constructor(capacity: number) {
    this.#host = new Supply(capacity);
  }

  /** Whether machines were held back when looked at last. */
  isShort = false;

  /** For each machine how many processors' time it may have; undefined: what its settings allow. */
  grants(machines: readonly Weighed[]): (number | undefined)[] {
    const claims = machines.map(claimOf);
    const threads = this.#threadsOf(machines);
    this.#host.served(machines.filter(({ thread }) => thread === undefined));
    for (const { members, supply } of threads) supply.served(members.map((index) => machines[index] as Weighed));
    const wanted = wantedOf(claims, threads);
    const { available, capacity } = this.#host;
    this.isShort = machines.length > 1 && wanted > available;
    if (!this.isShort) return machines.map(() => (wanted > capacity ? Math.max(LEAST, capacity) : undefined));
    const got = divideWith(threads, available, claims);
    // Who wants little may have its part at once when it wants more.
    const parts = divideWith(
      threads,
      available,
      claims.map((claim) => ({ ...claim, demand: claim.limit })),
    );
    return got.map((each, index) => Math.max(LEAST, each, parts[index] ?? 0));
  }

  #threadsOf(machines: readonly Weighed[]): Thread[] {
    const members = new Map<string, number[]>();
    for (const [index, { thread }] of machines.entries())
      if (thread !== undefined) members.set(thread, [...(members.get(thread) ?? []), index]);
    for (const name of this.#threads.keys()) if (!members.has(name)) this.#threads.delete(name);
    return [...members].map(([name, those]) => {
      const supply = this.#threads.get(name) ?? new Supply(ONE_THREAD);
      this.#threads.set(name, supply);
      return { members: those, supply };
    });
  }
}

/** What there is to divide: less where who wants it does not get it, because of others' work, or of what else a thread does. */
class Supply {
  readonly capacity: number;
  available: number;
  #served = 1;

  constructor(capacity: number) {
    this.capacity = this.available = capacity;
  }

  /** Those that it was divided among when looked at last. */
  served(machines: readonly Weighed[]): void {
    // One look alone says little.
    this.#served = (this.#served + Math.min(1, ...machines.map(servedOf))) / 2;
    const served = this.#served;
    if (served < SERVED) this.available = Math.max(LEAST, this.available * (1 - GIVING_WAY * (1 - served)));
    else if (served > FULLY_SERVED)
      this.available = Math.min(this.capacity, this.available * RECOVERY + this.capacity * RECOVERY_PROCESSORS);
  }
}

interface Thread {
  /** Machines that take turns on it, by their indices. */
  readonly members: readonly number[];
  readonly supply: Supply;
}

/** What a thread executes when it has a processor for itself. */
const ONE_THREAD = 1;

/** What part of what a machine was granted was not kept from it by the host; 1 when it had all that it wanted, or wanted little. */
function servedOf({ measured, granted }: Weighed): number {
  const { used, held, bucket, stolen } = measured;
  if (granted === undefined || held > HELD || bucket > HELD || stolen < HELD * granted) return 1;
  const wanted = Math.min(granted, used + stolen);
  return wanted < WANTED * granted ? 1 : 1 - Math.max(0, wanted - used) / granted;
}

function claimOf({ settings, cpus, measured }: Weighed): Claim {
  const { shares = DEFAULT_SHARES, reservation = 0, limit } = settings;
  const most = Math.min(cpus, limit === undefined ? Infinity : limit / 100);
  return { shares, reservation: reservation / 100, limit: most, demand: Math.min(most, wantedBy(measured)) };
}

/** Where its settings do not matter. */
function wantedBy({ used, held, bucket, stolen }: Measured): number {
  // One whose own bucket was empty had all that this gives, whatever the host had it wait for before.
  if (bucket > HELD) return used;
  return held > HELD ? Infinity : (used + stolen) * MORE + MORE_PROCESSORS;
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, each) => sum + each, 0);
}

function demandOf({ members }: Thread, claims: readonly Claim[]): number {
  return sumOf(members.map((index) => claims[index]?.demand ?? 0));
}

function wantedOf(claims: readonly Claim[], threads: readonly Thread[]): number {
  const tooMuch = threads.map((thread) => Math.max(0, demandOf(thread, claims) - thread.supply.available));
  return sumOf(claims.map(({ demand }) => demand)) - sumOf(tooMuch);
}

/** As `divide`. Where machines of a thread would have more than it gives, that is divided among them alone, and the rest among the others. */
function divideWith(threads: readonly Thread[], processors: number, claims: readonly Claim[]): number[] {
  const got = claims.map(() => 0);
  const give = (members: readonly number[], available: number): void => {
    const those = members.map((index) => claims[index] as Claim);
    for (const [at, part] of divide(available, those).entries()) got[members[at] as number] = part;
  };
  let rest = claims.map((_claim, index) => index);
  let left = processors;
  const open = new Set(threads);
  for (;;) {
    give(rest, Math.max(0, left));
    const full = [...open].find(
      ({ members, supply }) => sumOf(members.map((index) => got[index] ?? 0)) > supply.available,
    );
    if (full === undefined) return got;
    open.delete(full);
    give(full.members, full.supply.available);
    rest = rest.filter((index) => !full.members.includes(index));
    left -= full.supply.available;
  }
}
