/** Sees to it that machines share this computer's processors as they are to: looks at each again and again, and tells it what it may have. */

import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_SHARES } from '@ringfence/core';
import { changedProcessors, type ProcessorChange, type ProcessorSettings, type UsageView } from '@ringfence/api';
import type { ProcessorFigures } from '../control/operations.ts';
import { HostError } from '../failure.ts';
import { changeMachine, readMachine } from '../machine-folder/machine-files.ts';
import { checkedProcessors } from '../vm/processors.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import { hostProcessors } from './capacity.ts';
import type { Entry } from './entry.ts';
import type { Labels } from './labels.ts';
import { type Measured, ProcessorBalance } from './processor-balance.ts';

/** Milliseconds between two looks: while machines are held back, and while there is enough. */
const SHORT_LOOK_MS = 250;
const LOOK_MS = 1000;
/** How long a machine may take to answer. */
const ANSWER_MS = 1000;
/** One that takes longer wants what it wanted before, until nothing was heard of it for so long. */
const LATE_MS = 10_000;
/** What machines of one process take turns on, in percent of one processor. */
const ONE_THREAD = 100;

/** What is known of a run. */
interface Watched {
  readonly run: RunningMachine;
  readonly atMs: number;
  readonly cpus: number;
  readonly figures: ProcessorFigures;
  readonly measured: Measured | undefined;
  /** What it may have as it was told last, and as it will be told. */
  readonly told: number | undefined;
  readonly granted: number | undefined;
}

export class Processors {
  /** In percent of one. */
  readonly capacity: number;
  readonly #entries: () => Iterable<Entry>;
  readonly #labels: Pick<Labels, 'of' | 'beside'>;
  readonly #balance: ProcessorBalance;
  readonly #watched = new Map<string, Watched>();
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /** Machines may have `capacity` together, in percent of one processor; those that have one process by their `labels`, one processor. */
  constructor(
    entries: () => Iterable<Entry>,
    labels: Pick<Labels, 'of' | 'beside'>,
    capacity: number = hostProcessors(),
  ) {
    this.#entries = entries;
    this.#labels = labels;
    this.capacity = capacity;
    this.#balance = new ProcessorBalance(this.capacity / 100);
  }

  /** Looks from here on, until `close`. */
  begin(): void {
    this.#timer = setTimeout(() => void this.#looked(), this.#balance.isShort ? SHORT_LOOK_MS : LOOK_MS);
    this.#timer.unref();
  }

  close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** What machines that run, or are coming from other daemons, have reserved, in percent of one processor; without `except`. */
  reserved(except?: Entry): number {
    return reservedBy([...this.#entries()].filter((entry) => entry !== except));
  }

  /** `entry` is to have that from now on; throws `no-processors` when there is not enough for what it reserves. */
  reserve(entry: Entry, settings: ProcessorSettings): void {
    this.#check(entry, settings);
    entry.processors = settings;
  }

  /** Of one that runs already. */
  async remember(entry: Entry): Promise<void> {
    entry.processors = await readMachine(entry.folder).then(
      ({ cpu = {} }) => cpu,
      () => ({}),
    );
  }

  /** Changes its vm.yaml, and what it has if it runs. */
  async change(entry: Entry, change: ProcessorChange): Promise<void> {
    const { cpu: before = {}, cpus } = await readMachine(entry.folder);
    const settings = checkedProcessors(changedProcessors(before, change), cpus);
    if (entry.run !== undefined) this.#check(entry, settings);
    await changeMachine(entry.folder, [[['cpu'], settings]]);
    entry.processors = settings;
    await entry.run?.processors({ settings });
  }

  /** Throws `no-processors` when a machine alone would reserve more than all may have. */
  checkAlone({ reservation = 0 }: ProcessorSettings): void {
    if (reservation <= this.capacity) return;
    throw new HostError(
      'no-processors',
      `a reservation of ${reservation} % of a processor is more than machines may have together (${this.capacity} %)`,
    );
  }

  #check(entry: Entry, { reservation = 0 }: ProcessorSettings): void {
    const label = this.#labels.of(entry);
    const beside = label === undefined ? 0 : reservedBy(this.#labels.beside(entry).filter((other) => other !== entry));
    if (label !== undefined && reservation > 0 && reservation + beside > ONE_THREAD)
      throw new HostError(
        'no-processors',
        `the virtual machine "${entry.name}" is to have ${reservation} % of a processor reserved, and of the one that machines of the label "${label}" take turns on ${beside} % are reserved already`,
      );
    const others = this.reserved(entry);
    if (reservation === 0 || reservation + others <= this.capacity) return;
    throw new HostError(
      'no-processors',
      `the virtual machine "${entry.name}" is to have ${reservation} % of a processor reserved, and of the ${this.capacity} % that machines may have ${others} % are reserved already`,
    );
  }

  /** How a machine got on lately, as `top` shows it. */
  view({ id, run }: Entry): UsageView['cpu'] {
    const watched = this.#watched.get(id);
    if (watched?.measured === undefined || watched.run !== run) return undefined;
    const { used, held, bucket, waited, stolen } = watched.measured;
    const percent = (processors: number): number => Math.round(1000 * processors) / 10;
    return {
      demand: percent(used + held + bucket + waited + stolen),
      used: percent(used),
      steal: percent(held + bucket + stolen),
      wait: percent(waited),
      ...(watched.granted === undefined ? {} : { granted: percent(watched.granted) }),
    };
  }

  async #looked(): Promise<void> {
    await this.look().catch(() => undefined);
    if (!this.#isOver) this.begin();
  }

  /** Asks all machines that run, and with that tells them what was found out the last time. */
  async look(): Promise<void> {
    const running = [...this.#entries()].flatMap((entry) =>
      entry.run !== undefined && entry.life.state !== 'paused' ? [{ entry, run: entry.run }] : [],
    );
    // Nobody waits for one that does not answer.
    const looked = await Promise.all(
      running.map(async ({ entry, run }) => {
        const answer = await Promise.race([this.#ask(entry, run), sleep(ANSWER_MS, 'late' as const, { ref: false })]);
        return answer === 'late' ? this.#late(entry, run) : answer;
      }),
    );
    const weighed = looked.filter((each) => each !== undefined);
    for (const id of this.#watched.keys()) if (!weighed.some(({ entry }) => entry.id === id)) this.#watched.delete(id);
    // Where no machine is to have something else than the others, the host's kernel divides, and nobody need be held.
    const grants = weighed.some(({ settings }) => isUneven(settings)) ? this.#balance.grants(weighed) : [];
    for (const [index, { entry }] of weighed.entries()) {
      const watched = this.#watched.get(entry.id);
      if (watched !== undefined) this.#watched.set(entry.id, { ...watched, granted: grants[index] });
    }
  }

  async #ask(entry: Entry, run: RunningMachine) {
    const before = this.#watched.get(entry.id);
    const known = before?.run === run ? before : undefined;
    try {
      // Its file is for machines that are stopped: what changes afterwards comes through `change`.
      const cpus = known?.cpus ?? (await this.#read(entry));
      const grant = known?.granted;
      const figures = await run.processors(grant === undefined ? {} : { grant });
      const atMs = performance.now();
      const measured = known && measuredBetween(known, { figures, atMs });
      this.#watched.set(entry.id, { run, atMs, cpus, figures, measured, told: grant, granted: grant });
      const thread = this.#threadOf(entry);
      return {
        entry,
        settings: entry.processors,
        cpus,
        measured: measured ?? wantsAll(cpus),
        granted: known?.told,
        thread,
      };
    } catch {
      // It is about to end, or is of an earlier Ringfence: then it has what its own limits allow.
      return undefined;
    }
  }

  /** Takes what its file says, and gives how many vCPUs. */
  async #read(entry: Entry): Promise<number> {
    const { cpu = {}, cpus } = await readMachine(entry.folder);
    entry.processors = cpu;
    return cpus;
  }

  /** What is known of a machine that has not answered. */
  #late(entry: Entry, run: RunningMachine) {
    const last = this.#watched.get(entry.id);
    if (last?.run !== run || performance.now() - last.atMs > LATE_MS) return undefined;
    const { cpus, measured = wantsAll(cpus) } = last;
    // How it was served is of no interest twice.
    return { entry, settings: entry.processors, cpus, measured, granted: undefined, thread: this.#threadOf(entry) };
  }

  /** Machines of a label take turns on one, and so do the processors of one that has a pool. */
  #threadOf(entry: Entry): string | undefined {
    const label = this.#labels.of(entry);
    if (label !== undefined) return `@${label}`;
    return entry.memory?.overcommit === undefined ? undefined : entry.id;
  }
}

/** One that has just begun, or goes on, has its part at once, whatever it will want. */
function wantsAll(cpus: number): Measured {
  return { used: cpus, held: 0, bucket: 0, waited: 0, stolen: 0 };
}

function measuredBetween(
  before: Pick<Watched, 'figures' | 'atMs'>,
  now: Pick<Watched, 'figures' | 'atMs'>,
): Measured | undefined {
  const passedUs = 1000 * (now.atMs - before.atMs);
  if (passedUs <= 0) return undefined;
  const rate = (field: keyof ProcessorFigures): number =>
    Math.max(0, now.figures[field] - before.figures[field]) / passedUs;
  return {
    used: rate('usedUs'),
    held: rate('heldUs'),
    bucket: rate('bucketUs'),
    waited: rate('waitedUs'),
    stolen: rate('stolenUs'),
  };
}

/** By those of them that run, or are coming from other daemons. */
function reservedBy(entries: readonly Entry[]): number {
  return entries.reduce((sum, { life, processors }) => (life.isHere ? sum + (processors.reservation ?? 0) : sum), 0);
}

function isUneven({ shares = DEFAULT_SHARES, reservation = 0, limit, bucket }: ProcessorSettings): boolean {
  return shares !== DEFAULT_SHARES || reservation !== 0 || limit !== undefined || bucket !== undefined;
}
