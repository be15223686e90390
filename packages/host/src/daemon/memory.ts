/**
 * What machines may have of this computer's memory together. Those without `overcommit` have all of theirs, whatever they do: one begins only when there
 * is enough for it, beside what the others can still come to. Each of the others has a pool of its own, or one with all of its label, in its process (core's
 * hypervisor/memory-pool.ts), and what is left is divided among these pools again and again: one that is made smaller shares, asks its guest's balloon,
 * compresses and pages out. A machine keeps what it was told when the daemon is gone.
 *
 *     enough, with `--memory`      all of the memory of those without `overcommit`, and what pools have, are not more than was said
 *     enough, without              what those can still take (whole-memory.ts), and pools may, is not more than is free now, less what the host keeps
 */

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostMemory, UsageView } from '@ringfence/api';
import { MOST_POOL_BYTES } from '@ringfence/core';
import { formatSize } from '@ringfence/core/sizes';
import { OVERHEAD_BYTES } from '../advice/consolidation.ts';
import { hasEnded, HostError } from '../failure.ts';
import { type MachineConfig, memoryBytesOf } from '../machine-folder/config.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import { type Overcommit, overcommitOf } from '../machine-folder/overcommit.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import { hostBytes } from './capacity.ts';
import type { Entry } from './entry.ts';
import { hostMemory } from './host-memory.ts';
import type { Labels } from './labels.ts';
import { beginBytes, leastBytes, mostBytes, type Pooled, pooledOf, poolSizes } from './memory-balance.ts';
import { Pools } from './pools.ts';
import { wholeBytes, WholeMachines } from './whole-memory.ts';

/** Of this computer's memory, for machines, as long as nobody says otherwise; and what the host keeps of it in any case. */
const CAPACITY_PART = 0.8;
const HOST_PART = 0.05;
/** Milliseconds between two looks: while somebody lacks memory, and while nobody does. */
const SHORT_LOOK_MS = 250;
const LOOK_MS = 1000;
/** How long others may take to give what a machine needs that begins. */
const ROOM_TIMEOUT_MS = 20_000;
const ROOM_TIMEOUT = `within ${ROOM_TIMEOUT_MS / 1000} s`;

/** What a machine is to have, as it was started. */
export interface MachineMemory {
  readonly bytes: number;
  readonly overcommit: Overcommit | undefined;
}

/** As its vm.yaml says; with `bytes` where those are others. */
export function memoryOf(config: MachineConfig, bytes: number = memoryBytesOf(config)): MachineMemory {
  return { bytes, overcommit: config.overcommit && overcommitOf(config.overcommit) };
}

const NO_WISHES: Overcommit = overcommitOf({});

/** How large pools are taken to be. */
type PoolSizes = 'as told' | 'at least';

/** Those that have one pool: a machine, or all of one label. */
interface Group {
  readonly key: string;
  readonly entries: readonly Entry[];
}

export class Memory {
  readonly capacityBytes: number;
  readonly #isLimited: boolean;
  readonly #entries: () => Iterable<Entry>;
  readonly #freeBytes: () => number;
  readonly #labels: Pick<Labels, 'of' | 'beside' | 'checkRoom'>;
  readonly #pools = new Pools();
  readonly #wholes = new WholeMachines();
  /** Those that are about to begin. */
  readonly #beginning = new Set<Entry>();
  /** How many machines there are to be, of one of which forks are about to be made. */
  readonly #forking = new Map<Entry, number>();
  /** What pools may have, and those without `overcommit`. */
  #takenBytes = 0;
  #isShort = false;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #look: Promise<void> = Promise.resolve();

  /** Machines may have `capacityBytes` together; a part of this computer's memory when it is not given. `labels` say which have a process together. */
  constructor(
    entries: () => Iterable<Entry>,
    labels: Pick<Labels, 'of' | 'beside' | 'checkRoom'>,
    capacityBytes?: number,
    freeBytes: () => number = () => process.availableMemory(),
  ) {
    this.#entries = entries;
    this.#labels = labels;
    this.#isLimited = capacityBytes !== undefined;
    this.capacityBytes = capacityBytes ?? Math.floor(CAPACITY_PART * hostBytes());
    this.#freeBytes = freeBytes;
  }

  /** Looks from here on, until `close`. */
  begin(): void {
    this.#timer = setTimeout(() => void this.#looked(), this.#isShort ? SHORT_LOOK_MS : LOOK_MS);
    this.#timer.unref();
  }

  close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** What machines that run have reserved, without `except`. */
  reservedBytes(except?: Entry): number {
    let sum = 0;
    for (const entry of this.#entries())
      if (entry !== except && entry.life.isHere) sum += this.#reserves(entry.memory, this.#machinesOf(entry));
    return sum;
  }

  /** Of one that runs already. */
  async remember(entry: Entry): Promise<void> {
    const config = await readMachine(entry.folder).catch(() => undefined);
    entry.memory = config && memoryOf(config);
  }

  /** `entry` is to have that from now on; throws `no-memory`, with the figures, when there is not enough for what is reserved. */
  reserve(entry: Entry, memory: MachineMemory): void {
    this.check(entry, memory);
    entry.memory = memory;
  }

  /** Throws what `reserve` would. */
  check(entry: Entry, memory: MachineMemory): void {
    this.checkAlone(memory);
    this.#checkBeside(entry, this.#reserves(memory), 'is');
    this.#checkDomain(entry, memory, 1);
  }

  /** As `Labels.checkRoom`. */
  #checkDomain(entry: Entry, memory: MachineMemory, machines: number): void {
    const needs = (of: MachineMemory | undefined, count: number): number =>
      of?.overcommit === undefined ? (of?.bytes ?? 0) * count : this.#reserves(of, count);
    const others = this.#besides(entry).map((other) => needs(other.memory, this.#machinesOf(other)));
    this.#labels.checkRoom(entry, needs(memory, machines), others);
  }

  /** What others in the same process have reserved. */
  #reservedBeside(entry: Entry): number {
    return this.#besides(entry).reduce((sum, other) => sum + this.#reserves(other.memory, this.#machinesOf(other)), 0);
  }

  /** Others that run, or are about to, in the same process. */
  #besides(entry: Entry): Entry[] {
    return this.#labels.beside(entry).filter((other) => other !== entry && other.life.isHere);
  }

  #leftBytes(entry: Entry, bytes: number, machines: number): number {
    return this.#wholes.leftBytes(entry, bytes, machines, 1 + this.#besides(entry).length);
  }

  #checkBeside(entry: Entry, own: number, what: string): void {
    const others = this.reservedBytes(entry);
    if (own > 0 && own + others > this.capacityBytes)
      throw new HostError(
        'no-memory',
        `the virtual machine "${entry.name}" ${what} to have ${formatSize(own)} of memory reserved, and of the ${formatSize(this.capacityBytes)} that machines may have ${formatSize(others)} are reserved already`,
      );
  }

  /** Throws `no-memory` when a machine alone would reserve more than all may have, or than its pool can be. */
  checkAlone(memory: MachineMemory, machines = 1): void {
    const own = this.#reserves(memory, machines);
    if (memory.overcommit !== undefined && own > MOST_POOL_BYTES)
      throw new HostError(
        'no-memory',
        `${formatSize(own)} of memory cannot be reserved: a machine and its forks can have ${formatSize(MOST_POOL_BYTES)} together`,
      );
    if (own <= this.capacityBytes) return;
    throw new HostError(
      'no-memory',
      `${formatSize(own)} of memory cannot be reserved: machines may have ${formatSize(this.capacityBytes)} together`,
    );
  }

  /**
   * What a machine that was reserved for may begin with, when others have given it; undefined of one that has all of its memory. Rejects with `no-memory`
   * when they do not, and with `aborted` when it is not to begin any more. One that begins anew because its guest asked for that, or goes on from a
   * snapshot in place (`checkFree` was asked before its run was ended), has the place that it had.
   */
  async room(entry: Entry): Promise<number | undefined> {
    const { memory } = entry;
    if (memory === undefined) return undefined;
    const { state } = entry.life;
    const checkWanted = (): void => {
      if (entry.life.state !== state)
        throw new HostError('aborted', `the start of the virtual machine "${entry.name}" was broken off`);
    };
    this.#beginning.add(entry);
    try {
      if (memory.overcommit === undefined) {
        const hasPlace = !this.#isLimited && (state === 'resetting' || state === 'restoring');
        if (!hasPlace) await this.#wholeRoom(entry, memory.bytes, 1, checkWanted);
        this.#wholes.begins(entry);
        return undefined;
      }
      const machine = { settings: memory.overcommit, memoryBytes: memory.bytes };
      // Where others have reserved more than would leave that, it begins with what there is.
      const left = this.capacityBytes - this.reservedBytes(entry);
      const needed = this.#reservedBeside(entry) + Math.max(leastBytes(machine), Math.min(beginBytes(machine), left));
      let poolBytes = 0;
      await this.#until(
        () => {
          poolBytes = this.#promised(entry);
          // In the turn in which the look is over: the next one knows that it has what it was promised.
          return poolBytes >= needed && this.#beginning.delete(entry);
        },
        checkWanted,
        () =>
          `the virtual machine "${entry.name}" needs ${formatSize(needed)} of memory to begin with, and the others gave it ${formatSize(poolBytes)} ${ROOM_TIMEOUT}`,
      );
      return poolBytes;
    } finally {
      this.#beginning.delete(entry);
    }
  }

  /**
   * Does `work`, which makes `count` forks of a machine, when there is what it and they have reserved; rejects with `no-memory`, and the figures, when there
   * is not, and with `ended` when the machine is gone before there is.
   */
  async forking<T>(entry: Entry, count: number, work: () => Promise<T>): Promise<T> {
    const { run, memory } = entry;
    if (memory === undefined) return work();
    const checkThere = (): void => {
      if (entry.run !== run) throw hasEnded(entry.name);
    };
    if (memory.overcommit === undefined) return this.#forkingWhole(entry, memory, count, checkThere, work);
    await this.look();
    const machines = this.#machinesOf(entry) + count;
    const own = this.#reserves(memory, machines);
    this.#checkBeside(entry, own, 'is with its forks');
    this.checkAlone(memory, machines);
    this.#checkDomain(entry, memory, machines);
    const needed = this.#reservedBeside(entry) + own;
    this.#forking.set(entry, machines);
    try {
      await this.#until(
        () => this.#promised(entry) >= needed,
        checkThere,
        () =>
          `the virtual machine "${entry.name}" and its forks need ${formatSize(needed)} of memory, and the others gave them ${formatSize(this.#promised(entry))} ${ROOM_TIMEOUT}`,
      );
      return await work();
    } finally {
      // From then on its process says how many there are.
      await this.look();
      this.#forking.delete(entry);
    }
  }

  /** As `forking`, of one that has all of its memory. It and its forks share a domain, which is what they can come to, however many they are. */
  async #forkingWhole<T>(
    entry: Entry,
    memory: MachineMemory,
    count: number,
    checkThere: () => void,
    work: () => Promise<T>,
  ): Promise<T> {
    const machines = this.#wholes.machinesOf(entry) + count;
    this.#checkBeside(entry, this.#reserves(memory, machines), 'is with its forks');
    this.#checkDomain(entry, memory, machines);
    this.#forking.set(entry, machines);
    try {
      await this.#wholeRoom(entry, memory.bytes, machines, checkThere);
      const made = await work();
      this.#wholes.forked(entry, machines);
      return made;
    } finally {
      this.#forking.delete(entry);
    }
  }

  /**
   * Resolves when there is enough for one that has all of its memory, in the turn in which it is counted from then on; rejects with `no-memory` and the
   * figures when there is not, or others do not give it.
   */
  async #wholeRoom(entry: Entry, bytes: number, machines: number, check: () => void): Promise<void> {
    const begins = (isThere: boolean): boolean => {
      if (isThere) this.#beginning.delete(entry);
      return isThere;
    };
    if (this.#isLimited) {
      await this.#until(
        () => begins(this.#takenBytes <= this.capacityBytes),
        check,
        () =>
          `the virtual machine "${entry.name}" needs ${formatSize(bytes)} of memory, and of the ${formatSize(this.capacityBytes)} that machines may have the others did not leave that ${ROOM_TIMEOUT}`,
      );
      return;
    }
    const missing = (pools: PoolSizes): string | undefined =>
      this.#whyNotFree(entry, this.#leftBytes(entry, bytes, machines), pools);
    // As a rule there is much more than all of them can come to, and nobody need be asked what that is.
    if (begins(missing('as told') === undefined)) return;
    await this.#wholes.ask(this.#whole(), true);
    check();
    const never = missing('at least');
    if (never !== undefined) throw new HostError('no-memory', never);
    let late = '';
    await this.#until(
      () => {
        const why = missing('as told');
        // What is free is another figure at each look.
        late = why ?? late;
        return begins(why === undefined);
      },
      check,
      () => `${ROOM_TIMEOUT} others did not give what is needed: ${late}`,
    );
  }

  /**
   * Throws `no-memory`, with the figures, when there is not enough for one that is to have all of its memory and begins anew, even if what its present
   * run has, which is `givenBackBytes`, is given back before.
   */
  async checkFree(entry: Entry, { bytes, overcommit }: MachineMemory, givenBackBytes = 0): Promise<void> {
    if (overcommit !== undefined) return;
    const freeBytes = this.#freeBytes() + givenBackBytes;
    if (bytes > freeBytes)
      throw new HostError(
        'no-memory',
        `the virtual machine "${entry.name}" is to have ${formatSize(bytes)} of memory, and this computer has ${formatSize(freeBytes)} left`,
      );
    const why = (): string | undefined => this.#whyNotFree(entry, bytes + OVERHEAD_BYTES, 'at least', givenBackBytes);
    if (this.#isLimited || why() === undefined) return;
    await this.#wholes.ask(this.#whole(), true);
    const reason = why();
    if (reason !== undefined) throw new HostError('no-memory', reason);
  }

  /** Why what is free is not enough for `entry`, which can come to `own` bytes more, and for the others. */
  #whyNotFree(entry: Entry, own: number, pools: PoolSizes, givenBackBytes = 0): string | undefined {
    const others = this.#wholesLeft((other) => other !== entry && !this.#beginning.has(other)) + this.#poolsLeft(pools);
    const free = Math.max(0, this.#freeBytes() + givenBackBytes - HOST_PART * hostBytes());
    if (own + others <= free) return undefined;
    return (
      `the virtual machine "${entry.name}" can come to ${formatSize(own)} more of this computer’s memory, of which machines may take ${formatSize(free)} now, and others can still ` +
      `come to ${formatSize(others)}; create it with "--overcommit" to let it have less, or say with "ringfence host --memory" what machines may have together`
    );
  }

  /** What machines that have all of their memory can still take. */
  #wholesLeft(isMeant: (entry: Entry) => boolean = () => true): number {
    return this.#whole()
      .filter(isMeant)
      .reduce((sum, entry) => sum + this.#leftBytes(entry, entry.memory?.bytes ?? 0, this.#machinesOf(entry)), 0);
  }

  /** What processes with pools may take beside what they have. */
  #poolsLeft(pools: PoolSizes): number {
    const least = new Map<string, number>();
    for (const entry of this.#entries()) {
      const key = this.#keyOf(entry);
      if (entry.memory?.overcommit === undefined || !entry.life.isHere) continue;
      least.set(key, (least.get(key) ?? 0) + this.#reserves(entry.memory, this.#machinesOf(entry)));
    }
    let sum = 0;
    for (const [key, leastBytesOfAll] of least) {
      const known = this.#pools.of(key);
      if (known === undefined) continue;
      const may = pools === 'as told' ? known.mostBytes : leastBytesOfAll;
      sum += Math.max(0, may - (known.usage?.pool?.touchedBytes ?? 0));
    }
    return sum;
  }

  /** Those that have all of their memory, or are about to. */
  #whole(): Entry[] {
    return [...this.#entries()].filter(
      (entry) => entry.life.isHere && entry.memory !== undefined && entry.memory.overcommit === undefined,
    );
  }

  /** Looks until `isThere`; rejects with what `check` throws, and with `no-memory` after a while. */
  async #until(isThere: () => boolean, check: () => void, why: () => string): Promise<void> {
    for (const until = performance.now() + ROOM_TIMEOUT_MS; ; await sleep(SHORT_LOOK_MS)) {
      await this.look();
      check();
      if (isThere()) return;
      if (performance.now() > until) throw new HostError('no-memory', why());
    }
  }

  /** What its pool is to have, as it was decided last. */
  #promised(entry: Entry): number {
    return this.#pools.of(this.#keyOf(entry))?.poolBytes ?? 0;
  }

  /** What is known of all of them, whose figures are `usages`. */
  host(usages: readonly UsageView[]): HostMemory {
    return hostMemory(usages, this.capacityBytes, this.reservedBytes());
  }

  /** Asks all machines with a pool, and tells each how large that is to be. One look at a time. */
  look(): Promise<void> {
    this.#look = this.#look.then(() => this.#lookOnce().catch(() => undefined));
    return this.#look;
  }

  async #looked(): Promise<void> {
    await this.look();
    if (!this.#isOver) this.begin();
  }

  async #lookOnce(): Promise<void> {
    const there = new Map<string, Group>();
    for (const entry of this.#entries()) {
      const { run } = entry;
      if (run !== undefined && entry.memory === undefined) await this.remember(entry);
      if (entry.memory?.overcommit === undefined || !(run !== undefined || this.#isComing(entry))) continue;
      const key = this.#keyOf(entry);
      there.set(key, { key, entries: [...(there.get(key)?.entries ?? []), entry] });
    }
    await this.#wholes.ask(this.#whole(), there.size > 0);
    const pooled = await Promise.all([...there.values()].map((group) => this.#pooled(group)));
    this.#pools.keep(new Set(there.keys()));
    const least = pooled.reduce((sum, { machine }) => sum + leastBytes(machine), 0);
    const ofWholes = this.#whole().reduce(
      (sum, entry) => sum + wholeBytes(entry.memory?.bytes ?? 0, this.#machinesOf(entry)),
      0,
    );
    const sizes = poolSizes(
      Math.max(least, this.capacityBytes - (this.#isLimited ? ofWholes : 0)),
      Math.max(0, this.#freeBytes() - HOST_PART * hostBytes() - this.#wholesLeft()),
      pooled.map(({ machine }) => machine),
    );
    this.#isShort =
      this.#beginning.size + this.#forking.size > 0 || pooled.some(({ key }) => this.#pools.isPressed(key));
    await Promise.all(
      pooled.map(async ({ key, entries, runs }, index) => {
        const poolBytes = sizes[index] ?? 0;
        if (runs.length === 0) {
          if (entries.some((entry) => this.#beginning.has(entry))) this.#pools.promise(key, poolBytes);
        } else if ((this.#pools.of(key)?.poolBytes ?? poolBytes) !== poolBytes)
          await this.#pools.ask(key, runs, poolBytes);
      }),
    );
    this.#takenBytes = pooled.reduce(
      (sum, { key, machine }) => sum + (this.#pools.of(key)?.mostBytes ?? mostBytes(machine)),
      ofWholes,
    );
  }

  /** Whether its process is being started. */
  #isComing(entry: Entry): boolean {
    return this.#beginning.has(entry) || (this.#pools.of(this.#keyOf(entry)) !== undefined && entry.life.isHere);
  }

  /** What its pool is called: those of one label have one. */
  #keyOf(entry: Entry): string {
    const label = this.#labels.of(entry);
    return label === undefined ? entry.id : `@${label}`;
  }

  /** What is known of a pool now, with what those need that are about to begin in it. */
  async #pooled({
    key,
    entries,
  }: Group): Promise<Group & { readonly runs: RunningMachine[]; readonly machine: Pooled }> {
    const runs = entries.flatMap(({ run }) => run ?? []);
    if (runs.length > 0) await this.#pools.ask(key, runs);
    const members = entries.map((entry) => ({
      settings: entry.memory?.overcommit ?? NO_WISHES,
      memoryBytes: entry.memory?.bytes ?? 0,
      machines: this.#machinesOf(entry),
      isBeginning: this.#beginning.has(entry),
    }));
    const machine = pooledOf(members);
    const known = this.#pools.of(key);
    // One that was promised something has it already.
    const isNew = runs.length === 0 && (known === undefined || members.some(({ isBeginning }) => isBeginning));
    const figures = isNew ? undefined : this.#pools.figures(key, machine.machines, mostBytes(machine));
    return { key, entries, runs, machine: { ...machine, figures } };
  }

  /** With its forks, as far as is known, and those that are being made. */
  #machinesOf(entry: Entry): number {
    const machines =
      entry.memory?.overcommit === undefined
        ? this.#wholes.machinesOf(entry)
        : this.#labels.of(entry) === undefined
          ? (this.#pools.of(entry.id)?.usage?.pool?.machines ?? 1)
          : 1 + (entry.run?.knownForks.size ?? 0);
    return Math.max(machines, this.#forking.get(entry) ?? 0);
  }

  #reserves(memory: MachineMemory | undefined, machines = 1): number {
    if (memory === undefined) return 0;
    if (memory.overcommit !== undefined)
      return machines * leastBytes({ settings: memory.overcommit, memoryBytes: memory.bytes });
    return this.#isLimited ? wholeBytes(memory.bytes, machines) : 0;
  }
}
