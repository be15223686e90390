/**
 * Runs of machines: their start, their end, and what is done with them meanwhile. Each of these is begun in the caller's turn, so that what
 * is not allowed is refused at once, and gives the work that is left.
 */

import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type HostEvent, type MachineEnd, type ProcessorSettings, TRANSITIONS } from '@ringfence/api';
import * as z from 'zod/mini';
import type { HowStarted, VMStatus } from '../control/operations.ts';
import { hasEnded, HostError } from '../failure.ts';
import { hasCard } from '../machine-folder/config.ts';
import { checkFiles } from '../machine-folder/foreign-folder.ts';
import { type MachineDisks, machineDisks, readMachine } from '../machine-folder/machine-files.ts';
import { UnknownOwner } from '../migration/ownership.ts';
import { readRegular } from '../regular-file.ts';
import type { MachineProcesses, RunEnd, RunningMachine } from '../vm-process/running.ts';
import type { Restore } from '../vm-process/start.ts';
import { ASK_AGAIN_MS } from '../vm-process/system-processes.ts';
import { bootLimitsOf, checkBoots } from '../vm/boot-limits.ts';
import { imageNamed } from '../vm/images.ts';
import { READY_TIMEOUT_MS } from '../vm/options.ts';
import type { BootChoice, Boots } from './boots.ts';
import type { Entry, Moving } from './entry.ts';
import type { Labels } from './labels.ts';
import type { Progress } from './long-operations.ts';
import { type MachineMemory, type Memory, memoryOf } from './memory.ts';
import type { Processors } from './processors.ts';

/** How long a guest may take to shut down when nobody says how long. */
export const STOP_TIMEOUT_MS = 10_000;
/** How much longer than that its process may take before it is ended. */
const STOP_GRACE_MS = 15_000;
/** The same where no guest is asked. */
const FORCED_GRACE_MS = 5000;
/** How long the process of a machine that runs elsewhere may take to end by itself. */
const MOVED_GRACE_MS = 5000;
/** Timers count in 31 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export type Work = (progress: Progress) => Promise<void>;

/** A machine that may go on from a snapshot. */
export interface PreparedRestore extends Restore {
  readonly memoryBytes: number;
  readonly disks: MachineDisks;
  /** Clears up: what is not needed any more when it was committed, or what was made when it was not. */
  settle(): Promise<void>;
}

type Starting = 'start' | 'reset' | 'restore';

/** What a run begins with: a snapshot, or a reason to boot; a kept boot where there is neither. */
interface Begun {
  readonly prepared?: PreparedRestore | undefined;
  readonly whyItBoots?: string | undefined;
}

/** Why one boots whose guest has asked for it. */
export const RESTARTED = 'its guest has restarted it';
const KEEPS_NONE = 'this daemon keeps none';

export interface RunsOptions {
  readonly processes: MachineProcesses;
  readonly labels: Labels;
  readonly processors: Pick<Processors, 'reserve'>;
  readonly memory: Pick<Memory, 'check' | 'checkFree' | 'reserve' | 'room'>;
  /** What machines go on from instead of booting; all boot when it is not given. */
  readonly boots?: Boots | undefined;
  readonly event: (kind: string, vm: HostEvent['vm'], detail?: HostEvent['detail']) => void;
  /** Writes down how the machine stands. */
  readonly save: (entry: Entry) => Promise<void>;
  /** Begins work that nobody asked for. */
  readonly background: (entry: Entry, work: Work) => void;
}

export class Runs {
  readonly #options: RunsOptions;
  /** Those of which it is asked again and again how they are. */
  readonly #asking = new WeakSet<RunningMachine>();
  /** What those do that were started. */
  readonly #choices = new WeakMap<RunningMachine, BootChoice>();

  constructor(options: RunsOptions) {
    this.#options = options;
  }

  /** It goes on from a kept boot of a machine like it where there is one, unless there is a reason to boot: a sentence's end. */
  start(entry: Entry, whyItBoots?: string): Work {
    entry.life.begin('start', entry.name);
    return (progress) => this.#started(entry, 'start', progress, whyItBoots);
  }

  pause(entry: Entry): Work {
    return this.#asked(entry, 'pause', (run) => run.pause());
  }

  resume(entry: Entry): Work {
    return this.#asked(entry, 'resume', (run) => run.resume());
  }

  reset(entry: Entry): Work {
    entry.life.begin('reset', entry.name);
    return (progress) => this.#endedAndStarted(entry, 'reset', progress, { whyItBoots: 'it is reset' });
  }

  /** Lets it go on from a snapshot. What has to be right for that is looked at before its present run is ended. */
  restore(entry: Entry, prepare: (progress: Progress) => Promise<PreparedRestore>): Work {
    const release = entry.life.hold('restore', entry.name);
    return async (progress) => {
      let prepared: PreparedRestore | undefined;
      try {
        let memory: MachineMemory;
        try {
          prepared = await prepare(progress);
          // What its present run has is given back before the next one needs any.
          const usage = await entry.run?.usage().catch(() => undefined);
          memory = memoryOf(await readMachine(entry.folder), prepared.memoryBytes);
          await this.#options.memory.checkFree(entry, memory, usage?.residentBytes);
          this.#options.memory.check(entry, memory);
        } finally {
          release();
        }
        // In the same turn: nobody begins or reserves anything in between.
        entry.life.begin('restore', entry.name);
        this.#options.memory.reserve(entry, memory);
        await this.#endedAndStarted(entry, 'restore', progress, { prepared });
      } finally {
        await prepared?.settle();
      }
    };
  }

  stop(entry: Entry, timeoutMs = STOP_TIMEOUT_MS): Work {
    entry.life.begin('stop', entry.name, timeoutMs === 0);
    return async (progress) => {
      let patienceMs = timeoutMs;
      let detail: string | undefined;
      const { moving } = entry;
      if (moving !== undefined) {
        progress.step('giving its move up');
        moving.givenUp.abort();
        const over = await moving.over;
        if (!over.isHere)
          throw new HostError('ended', `the virtual machine "${entry.name}" is at the other daemon already`);
        detail = over.doubt;
        // One that may run elsewhere is not let go on to shut down.
        const status = await entry.run?.status().catch(() => undefined);
        if (status === undefined || status.isInDoubt === true || status.isMoved === true) patienceMs = 0;
      }
      progress.step('shutting down');
      const { run } = entry;
      const report = run === undefined ? undefined : await this.#end(entry, run, patienceMs, progress);
      // A daemon that came before its process was gone asked once more whose it is.
      if (detail !== undefined) await rm(entry.folder.leaving, { force: true }).catch(() => undefined);
      // A start that is under way sees that it is not wanted any more, and ends what it has begun.
      await entry.starting?.catch(() => undefined);
      // As does a snapshot or fork that this has broken off.
      await entry.life.free;
      // Another stop may have waited for the same end.
      if (entry.life.state !== TRANSITIONS.stop.via) return;
      entry.end = ended({ ...(report ?? { kind: 'stopped' }), ...(detail === undefined ? {} : { detail }) });
      entry.life.done('stop');
      await this.#options.save(entry);
      this.#options.event('vm.stopped', entry.vm, { how: entry.end.kind });
    };
  }

  /**
   * `move` resolves when the machine is another daemon's, and rejects when it is this one's, or when it is given up. Whatever its process does meanwhile
   * is looked at then.
   */
  migrate(
    entry: Entry,
    move: (run: RunningMachine | undefined, progress: Progress, givenUp: AbortSignal) => Promise<void>,
    moved: (entry: Entry) => Promise<void>,
  ): Work {
    entry.life.begin('migrate', entry.name);
    const givenUp = new AbortController();
    const { promise: over, resolve } = Promise.withResolvers<Awaited<Moving['over']>>();
    const moving: Moving = { givenUp, over, hasLeft: false };
    entry.moving = moving;
    return async (progress) => {
      const { run } = entry;
      try {
        await this.#options.save(entry);
        entry.ending = run;
        await move(run, progress, givenUp.signal);
      } catch (error) {
        entry.ending = undefined;
        entry.moving = undefined;
        const goesOn = entry.life.failed('migrate');
        if (run !== undefined) void run.ended.then((report) => this.#ended(entry, run, report));
        else if (goesOn && entry.life.happened('exited')) entry.end = await this.leftEnd(entry);
        resolve({ isHere: true, doubt: error instanceof UnknownOwner ? error.doubt : undefined });
        await this.#options.save(entry);
        throw error;
      }
      moving.hasLeft = true;
      if (run !== undefined) await this.#untilGone(entry, run, progress);
      entry.moving = undefined;
      if (!entry.life.done('migrate')) entry.life.happened('moved');
      entry.run = undefined;
      resolve({ isHere: false });
      await moved(entry);
    };
  }

  /** One that is to come from another daemon is to have that; throws `no-processors` or `no-memory` when there is not enough. */
  reserve(entry: Entry, settings: ProcessorSettings, memory: MachineMemory): void {
    this.#options.processors.reserve(entry, settings);
    this.#options.memory.reserve(entry, memory);
  }

  room(entry: Entry): Promise<number | undefined> {
    return this.#options.memory.room(entry);
  }

  /** One that came from another daemon, and runs. */
  arrived(entry: Entry, run: RunningMachine): void {
    entry.run = run;
    entry.startedAt = new Date().toISOString();
    entry.life.done('arrive');
    this.#watch(entry, run);
    // Nobody else asks its guest; its process says that it boots until somebody has.
    void run.ready().catch(() => undefined);
  }

  /** A machine that runs already, whoever started it; what is said of one that `isSilent` is what was known of it last. */
  adopt(
    entry: Entry,
    run: RunningMachine,
    { state, isChanging = false }: Pick<VMStatus, 'state' | 'isChanging'>,
    isSilent = false,
  ): void {
    entry.run = run;
    this.#watch(entry, run);
    if (isSilent || isChanging) void this.#untilKnown(entry, run, isSilent);
    if (state === 'booting')
      this.#options.background(entry, (progress) => {
        progress.step('booting');
        return this.#startingBy(entry, async () => {
          await this.#ready(entry, run, 'start').catch((error: unknown) =>
            this.#notStarted(entry, 'start', run, error),
          );
        });
      });
    if (state === 'stopping')
      this.#options.background(entry, async (progress) => {
        const report = await this.#end(entry, run, STOP_TIMEOUT_MS, progress);
        entry.end = ended(report);
        entry.life.done('stop');
        await this.#options.save(entry);
      });
  }

  /** How the last run of a machine ended whose process is gone, as that wrote it down itself. */
  async leftEnd(entry: Entry): Promise<MachineEnd> {
    try {
      const left = z.parse(LEFT_END, JSON.parse(await readRegular(entry.folder.end)));
      if (entry.startedAt === undefined || left.at >= entry.startedAt) return left;
    } catch {
      // It did not write anything, or not all of it.
    }
    return ended({ kind: 'lost' });
  }

  #asked(entry: Entry, what: 'pause' | 'resume', ask: (run: RunningMachine) => Promise<void>): Work {
    entry.life.begin(what, entry.name);
    return async () => {
      const { run } = entry;
      try {
        if (run === undefined) throw hasEnded(entry.name);
        await ask(run);
      } catch (error) {
        const isLate = run !== undefined && error instanceof HostError && error.code === 'timeout';
        const status = isLate ? await run.status().catch(() => undefined) : undefined;
        entry.life.failed(what);
        // It may do it yet.
        if (isLate) void this.#untilKnown(entry, run, status === undefined);
        await this.#options.save(entry);
        throw status === undefined ? error : new HostError('timeout', notInTime(entry.name, what), error);
      }
      if (!entry.life.done(what))
        throw new HostError('ended', `the virtual machine "${entry.name}" ended before it was done`);
      await this.#options.save(entry);
      this.#options.event(`vm.${what}d`, entry.vm);
    };
  }

  /**
   * Asks a process that does not answer, or has not done in time what it was asked, until it answers and does nothing of that kind any more; takes the
   * machine for what it says it is whenever nothing is being done with it here.
   */
  async #untilKnown(entry: Entry, run: RunningMachine, wasSilent: boolean): Promise<void> {
    // Who asks already sees this, too.
    if (this.#asking.has(run)) return;
    this.#asking.add(run);
    if (wasSilent) this.#options.event('vm.silent', entry.vm);
    const { life } = entry;
    for (let isSilent = wasSilent; entry.run === run; await sleep(ASK_AGAIN_MS, undefined, { ref: false })) {
      const status = await run.status().catch(() => undefined);
      if (entry.run !== run) break;
      if (isSilent !== (status === undefined)) {
        isSilent = !isSilent;
        this.#options.event(isSilent ? 'vm.silent' : 'vm.answers', entry.vm);
      }
      // What is being done with it says itself how it ends.
      if (status === undefined || !life.isAtRest) continue;
      const change = corrected(life, entry.name, status);
      if (change !== undefined) {
        await this.#options.save(entry);
        this.#options.event(`vm.${change}d`, entry.vm);
      }
      if (status.isChanging !== true) break;
    }
    this.#asking.delete(run);
  }

  /** Its present run makes place for the next one. */
  async #endedAndStarted(entry: Entry, what: Starting, progress: Progress, how: Begun): Promise<void> {
    progress.step('ending');
    await this.#startingBy(entry, async () => {
      if (entry.run !== undefined) await this.#end(entry, entry.run, 0, progress);
      await this.#begun(entry, what, progress, how);
    });
  }

  async #started(entry: Entry, what: 'start' | 'reset', progress: Progress, whyItBoots?: string): Promise<void> {
    await this.#startingBy(entry, () => this.#begun(entry, what, progress, { whyItBoots }));
  }

  async #startingBy(entry: Entry, work: () => Promise<void>): Promise<void> {
    const starting = work();
    entry.starting = starting;
    try {
      await starting;
    } finally {
      if (entry.starting === starting) entry.starting = undefined;
    }
  }

  async #begun(entry: Entry, what: Starting, progress: Progress, { prepared, whyItBoots }: Begun): Promise<void> {
    const mayGoOn = prepared === undefined && whyItBoots === undefined;
    let run: RunningMachine | undefined;
    let choice: BootChoice | undefined;
    try {
      this.#checkWanted(entry, what);
      progress.step('looking at its files');
      await this.#options.save(entry);
      const config = await readMachine(entry.folder);
      this.#options.labels.checkPlace(entry.name, entry.folder, config);
      const memory = memoryOf(config, prepared?.memoryBytes);
      // One that is reset has a place, and comes up again however long that takes.
      if (what === 'start') {
        checkBoots(config.image, imageNamed(config.image), bootLimitsOf(config), READY_TIMEOUT_MS);
        await this.#options.memory.checkFree(entry, memory);
      }
      this.#options.processors.reserve(entry, config.cpu ?? {});
      this.#options.memory.reserve(entry, memory);
      if (!entry.mayLeadOutside) await checkFiles(entry.folder, false);
      const disks = prepared?.disks ?? (await machineDisks(entry.folder, config, entry));
      for (const note of [entry.folder.end, entry.folder.leaving]) await rm(note, { force: true });
      choice = mayGoOn ? await this.#options.boots?.choose(entry.folder, config) : undefined;
      progress.step('waiting for memory');
      const poolBytes = await this.#options.memory.room(entry);
      this.#checkWanted(entry, what);
      progress.step('starting its process');
      entry.startedAt = new Date().toISOString();
      entry.end = undefined;
      entry.began = undefined;
      const { name, id, folder } = entry;
      const place = await this.#options.labels.place(entry, config, poolBytes);
      run =
        place === undefined
          ? await this.#options.processes.start(name, id, folder, disks, {
              from: prepared,
              config,
              poolBytes,
              ...this.#options.boots?.begins(choice, folder),
            })
          : await this.#options.processes.join(place, {
              name,
              id,
              folder,
              disks,
              hasNetwork: hasCard(config),
              from: prepared,
            });
      entry.run = run;
      entry.began = prepared === undefined ? howBegan(choice, run, whyItBoots) : undefined;
      if (choice !== undefined) this.#choices.set(run, choice);
      this.#watch(entry, run);
      await this.#options.save(entry);
      this.#options.event('vm.starting', entry.vm, { pid: String(run.pid) });
      progress.step(prepared === undefined && run.began?.from !== 'kept-boot' ? 'booting' : 'going on');
      await this.#ready(entry, run, what);
      this.#options.boots?.began(choice, run.began);
    } catch (error) {
      this.#options.boots?.failed(choice);
      await this.#notStarted(entry, what, run, error);
    }
  }

  async #notStarted(entry: Entry, what: Starting, run: RunningMachine | undefined, error: unknown): Promise<never> {
    // Who stops it may let it have its time.
    if (run !== undefined && entry.run === run) await (entry.ending === run ? run.ended : this.#end(entry, run, 0));
    if (entry.life.failed(what)) {
      entry.end ??= ended({ kind: 'failure', detail: error instanceof Error ? error.message : String(error) });
      await this.#options.save(entry);
      this.#options.event('vm.start-failed', entry.vm, { reason: entry.end.detail ?? '' });
    }
    throw error;
  }

  /** Somebody may have stopped what is being started. */
  #checkWanted(entry: Entry, what: Starting): void {
    if (entry.life.state !== TRANSITIONS[what].via)
      throw new HostError('aborted', `the start of the virtual machine "${entry.name}" was broken off`);
  }

  async #ready(entry: Entry, run: RunningMachine, what: Starting): Promise<void> {
    this.#checkWanted(entry, what);
    await run.ready();
    this.#checkWanted(entry, what);
    entry.life.done(what);
    await this.#options.save(entry);
    this.#options.event(EVENTS[what], entry.vm, said(entry));
  }

  /** Ends a run and waits until nothing is left of it. Of several that end it, the most impatient one counts. */
  async #end(entry: Entry, run: RunningMachine, timeoutMs: number, progress?: Progress): Promise<RunEnd> {
    entry.ending = run;
    try {
      const { promise: late, resolve } = Promise.withResolvers<'late'>();
      const patience = setTimeout(() => resolve('late'), graceMs(timeoutMs));
      const gone = run.ended.then(() => 'gone' as const);
      // A process that does not answer is ended like one that takes too long.
      const asked = run.stop({ timeoutMs }).then(
        () => gone,
        () => 'late' as const,
      );
      const how = await Promise.race([asked, gone, late]);
      clearTimeout(patience);
      if (how === 'late') await this.#kill(entry, run, progress);
      const report = await run.ended;
      return report.kind === 'lost' ? { kind: 'killed' } : report;
    } finally {
      if (entry.run === run) entry.run = undefined;
      if (entry.ending === run) entry.ending = undefined;
    }
  }

  /**
   * Ends it without asking its guest. Where its process does not answer, and is that of others, too, it ends when that answers, when they have ended, or when
   * all of them are to.
   */
  async #kill(entry: Entry, run: RunningMachine, progress: Progress | undefined): Promise<void> {
    const others = (): Entry[] => this.#options.labels.beside(entry).filter((other) => other !== entry && stays(other));
    for (;;)
      try {
        return await run.kill(() => others().length === 0);
      } catch (error) {
        if (!(error instanceof HostError && error.code === 'timeout')) throw error;
        const names = others().map(({ name }) => `"${name}"`);
        progress?.step(
          `its process does not answer, and ${names.join(', ')} would end with it: it ends when that answers, or when they are stopped, too`,
        );
        await sleep(ASK_AGAIN_MS, undefined, { ref: false });
      }
  }

  /** A process that has nothing to run any more ends; one that does not, or is held and would wake in doubt, is ended. */
  async #untilGone(entry: Entry, run: RunningMachine, progress: Progress): Promise<void> {
    const patience = new AbortController();
    const isLate = sleep(MOVED_GRACE_MS, true, { signal: patience.signal }).catch(() => false);
    if (await Promise.race([run.ended.then(() => false), isLate])) await this.#kill(entry, run, progress);
    await run.ended;
    patience.abort();
  }

  /** Sees a run's end that nobody asked for. */
  #watch(entry: Entry, run: RunningMachine): void {
    void run.ended.then((report) => this.#ended(entry, run, report));
    run.onForkRename = (from, to) => this.#options.event('vm.fork-renamed', entry.vm, { from, fork: to });
    run.onForkEnd = (fork, how) => this.#options.event('vm.fork-ended', entry.vm, { fork, how });
  }

  async #ended(entry: Entry, run: RunningMachine, report: RunEnd): Promise<void> {
    if (entry.run !== run || entry.ending === run) return;
    entry.run = undefined;
    entry.end = ended(report);
    if (report.kind === 'failure') this.#options.boots?.failed(this.#choices.get(run));
    if (report.kind === 'reboot' && entry.life.happened('rebooted')) {
      this.#options.event('vm.rebooted', entry.vm);
      this.#options.background(entry, (progress) => this.#started(entry, 'reset', progress, RESTARTED));
      return;
    }
    if (!entry.life.happened('exited')) return;
    await this.#options.save(entry);
    this.#options.event('vm.ended', entry.vm, {
      how: report.kind,
      ...(report.detail === undefined ? {} : { detail: report.detail }),
    });
  }
}

/** How a run began that was not restored. */
function howBegan(choice: BootChoice | undefined, { began }: RunningMachine, whyItBoots = KEEPS_NONE): HowStarted {
  if (began?.from === 'kept-boot') return began;
  if (choice === undefined) return { from: 'boot', reason: whyItBoots };
  return { from: 'boot', reason: choice.kind === 'kept' ? (began?.reason ?? '') : choice.reason };
}

/** How it began, where that is known. */
function said({ began }: Entry): HostEvent['detail'] {
  if (began === undefined) return {};
  return { from: began.from, ...(began.reason === undefined ? {} : { reason: began.reason }) };
}

/** Whether it has a process, or is about to, and is not being ended. */
function stays({ run, ending, moving, starting }: Entry): boolean {
  return run === undefined ? starting !== undefined : ending !== run || moving?.hasLeft === false;
}

/** What a machine was taken for whose process says that it is something else. */
const CORRECTIONS = [
  { was: 'running', is: 'paused', by: 'pause' },
  { was: 'paused', is: 'running', by: 'resume' },
] as const;

/** Brings the machine of that name to the state that its process says; gives by what, if it was in another one. */
export function corrected(
  life: Entry['life'],
  name: string,
  status: Pick<VMStatus, 'state'>,
): 'pause' | 'resume' | undefined {
  const change = CORRECTIONS.find(({ is, was }) => status.state === is && life.state === was)?.by;
  if (change === undefined) return undefined;
  life.begin(change, name);
  life.done(change);
  return change;
}

/** How long it may take until one has ended whose guest is given so long. */
export function graceMs(timeoutMs: number): number {
  return Math.min(timeoutMs + (timeoutMs > 0 ? STOP_GRACE_MS : FORCED_GRACE_MS), LONGEST_TIMER_MS);
}

function notInTime(name: string, what: 'pause' | 'resume'): string {
  return `the virtual machine "${name}" has not ${what === 'pause' ? 'paused' : 'gone on'} in time; it may do so yet`;
}

const EVENTS = { start: 'vm.started', reset: 'vm.reset', restore: 'vm.restored' } as const;

const LEFT_END = z.object({
  kind: z.enum(['poweroff', 'reboot', 'failure', 'panic', 'stopped', 'killed', 'moved']),
  at: z.string(),
  detail: z.optional(z.string()),
});

/** Bytes of a kernel's last words that are kept. */
const MAXIMUM_DETAIL = 2000;

function ended({ kind, detail }: RunEnd): MachineEnd {
  return {
    kind,
    at: new Date().toISOString(),
    ...(detail === undefined ? {} : { detail: detail.slice(0, MAXIMUM_DETAIL) }),
  };
}
