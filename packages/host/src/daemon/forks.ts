/**
 * Forks of machines: parts of a machine's process, each with a name by which its socket is found, and no entry of their own. What is done with them goes by
 * the same table as what is done with machines (api's states.ts), but that one that has ended is gone; that their machine is paused says nothing of them.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { FORK_OPERATIONS, LIMITS, type State } from '@ringfence/api';
import { Sequence } from '@ringfence/core';
import { hasEnded, HostError } from '../failure.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import type { ForkState, RunningFork } from '../vm-process/running-forks.ts';
import { ASK_AGAIN_MS } from '../vm-process/system-processes.ts';
import { checkForkNames } from '../vm/names.ts';
import type { Entry } from './entry.ts';
import { Life } from './life.ts';
import type { Memory } from './memory.ts';
import type { Names } from './names.ts';
import { corrected, graceMs, type RunsOptions, STOP_TIMEOUT_MS, type Work } from './runs.ts';

/** A fork, and the machine whose process it is in. */
export interface KnownFork {
  readonly entry: Entry;
  readonly run: RunningMachine;
  readonly fork: RunningFork;
  readonly life: Life;
}

export interface ForksOptions {
  readonly entries: () => Iterable<Entry>;
  readonly names: Names;
  readonly memory: Pick<Memory, 'forking'>;
  readonly event: RunsOptions['event'];
  readonly onState: (name: string, state: State | 'gone', before: State | 'gone') => void;
}

/** Of what is heard of a fork; one that comes to be is running when it takes commands. */
const STATES = { booting: 'running', running: 'running', paused: 'paused', stopping: 'stopping' } as const;

export class Forks {
  readonly #options: ForksOptions;
  readonly #lives = new WeakMap<RunningFork, Life>();
  /** Those that are asked again and again how they are. */
  readonly #asking = new WeakSet<RunningFork>();
  /** Forks of one process are made one after the other: what memory they can come to is counted before. */
  readonly #making = new WeakMap<RunningMachine, Sequence>();

  constructor(options: ForksOptions) {
    this.#options = options;
  }

  find(name: string): KnownFork | undefined {
    for (const entry of this.#options.entries()) {
      const { run } = entry;
      const fork = run?.knownForks.get(name);
      if (run !== undefined && fork !== undefined) return this.#known(entry, run, fork);
    }
    return undefined;
  }

  get names(): string[] {
    return [...this.#options.entries()].flatMap(({ run }) => [...(run?.knownForks.keys() ?? [])]);
  }

  /** Those of a machine, in the order of their names. */
  of(entry: Entry): { readonly name: string; readonly state: State }[] {
    const { run } = entry;
    const all = [...(run?.knownForks.values() ?? [])].map((fork) => ({
      name: fork.name,
      state: stateOf(this.#known(entry, run!, fork).life),
    }));
    return all.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  pause(known: KnownFork): Work {
    return this.#asked(known, 'pause');
  }

  resume(known: KnownFork): Work {
    return this.#asked(known, 'resume');
  }

  /** Its process runs on, and is not ended when it does not answer: its machine would end with it. */
  stop(known: KnownFork, timeoutMs: number = STOP_TIMEOUT_MS): Work {
    const { fork, life } = known;
    life.begin('stop', fork.name, timeoutMs === 0);
    return async (progress) => {
      progress.step('shutting down');
      const over = new AbortController();
      const late = sleep(graceMs(timeoutMs), 'late' as const, { signal: over.signal });
      late.catch(() => undefined);
      const asked = fork.stop({ timeoutMs }).catch((error: unknown) => {
        if (!(error instanceof HostError && error.code === 'ended')) throw error;
      });
      asked.catch(() => undefined);
      try {
        const how = await Promise.race([fork.ended, late, asked.then(() => fork.ended)]);
        if (how === 'late')
          throw new HostError('timeout', `the fork "${fork.name}" has not ended in time; it may do so yet`);
        await life.free;
        life.done('stop');
      } catch (error) {
        if (life.failed('stop')) void this.#untilKnown(known);
        throw error;
      } finally {
        over.abort();
      }
    };
  }

  async rename({ entry, run, fork, life }: KnownFork, to: string): Promise<void> {
    const { names } = this.#options;
    const from = fork.name;
    await life.steadily('rename', from, async () => {
      if (from === to) return;
      await names.take(to, entry.id);
      try {
        if (entry.run !== run) throw hasEnded(from);
        await fork.rename(to);
      } finally {
        // From then on it is found to be taken by who looks at the sockets.
        names.release(to, entry.id);
      }
    });
  }

  /** Forks of a machine. Begins in the caller's turn, so that what is not allowed is refused at once; gives the work that is left, which gives their names. */
  make(entry: Entry, names: readonly string[], count: number): () => Promise<readonly string[]> {
    const { run, life, name } = entry;
    return this.#made(entry, run, { life, name, fork: (all) => run!.fork(all) }, names, count);
  }

  /** As `make`, of a fork. */
  makeOf({ entry, run, fork, life }: KnownFork, names: readonly string[], count: number): ReturnType<Forks['make']> {
    const { name } = fork;
    return this.#made(entry, run, { life, name, fork: (all) => fork.fork(all) }, names, count);
  }

  /** A snapshot of it lies among its machine's: nothing else is done with either until what this gives is called. Throws `wrong-state`. */
  holdForSnapshot({ entry, fork, life }: KnownFork): () => void {
    const release = life.hold('snapshot', fork.name);
    try {
      const releaseMachine = entry.life.hold('snapshot', entry.name);
      return () => {
        release();
        releaseMachine();
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  #known(entry: Entry, run: RunningMachine, fork: RunningFork): KnownFork {
    const there = this.#lives.get(fork);
    const life =
      there ?? new Life(STATES[fork.found.state], (state, before) => this.#options.onState(fork.name, state, before));
    const known = { entry, run, fork, life };
    if (there === undefined) {
      this.#lives.set(fork, life);
      if (fork.found.isChanging === true) void this.#untilKnown(known);
    }
    return known;
  }

  #made(
    entry: Entry,
    run: RunningMachine | undefined,
    parent: { readonly life: Life; readonly name: string; readonly fork: (names: readonly string[]) => Promise<void> },
    names: readonly string[],
    count: number,
  ): () => Promise<readonly string[]> {
    const { names: all, memory, event } = this.#options;
    checkForkNames(names, count);
    const over = parent.life.hold('fork', parent.name);
    return async () => {
      const taken: string[] = [];
      try {
        if (run === undefined) throw hasEnded(parent.name);
        for (const name of names) taken.push(await all.take(name, entry.id));
        for (let number = 1; taken.length < count; number++) {
          const suffix = `-${number}`;
          const name = parent.name.slice(0, LIMITS.nameCharacters - suffix.length) + suffix;
          if (!(await all.isTaken(name))) taken.push(await all.take(name, entry.id));
        }
        await this.#inTurn(run, async () => {
          if (entry.run !== run) throw hasEnded(parent.name);
          await memory.forking(entry, count, () => parent.fork(taken));
        });
        event('vm.forked', entry.vm, {
          forks: taken.join(' '),
          ...(parent.name === entry.name ? {} : { of: parent.name }),
        });
        return taken;
      } finally {
        over();
        // From then on they are found to be taken by who looks at the sockets.
        for (const name of taken) all.release(name, entry.id);
      }
    };
  }

  #inTurn(run: RunningMachine, work: () => Promise<void>): Promise<void> {
    const turns = this.#making.get(run) ?? new Sequence();
    this.#making.set(run, turns);
    return turns.run(work);
  }

  #asked(known: KnownFork, what: 'pause' | 'resume'): Work {
    const { entry, fork, life } = known;
    life.begin(what, fork.name);
    return async () => {
      try {
        await (what === 'pause' ? fork.pause() : fork.resume());
      } catch (error) {
        life.failed(what);
        // It may do it yet.
        if (error instanceof HostError && error.code === 'timeout') void this.#untilKnown(known);
        throw error;
      }
      if (!life.done(what)) throw hasEnded(fork.name);
      this.#options.event(`vm.fork-${what}d`, entry.vm, { fork: fork.name });
    };
  }

  /** Asks one that has not done in time what it was asked until it answers and does nothing of that kind any more; takes it for what it says it is. */
  async #untilKnown({ entry, run, fork, life }: KnownFork): Promise<void> {
    // Who asks already sees this, too.
    if (this.#asking.has(fork)) return;
    this.#asking.add(fork);
    const isThere = (): boolean => entry.run === run && run.knownForks.get(fork.name) === fork;
    for (; isThere(); await sleep(ASK_AGAIN_MS, undefined, { ref: false })) {
      const status: ForkState | undefined = await fork.status().catch(() => undefined);
      if (status === undefined || !life.isAtRest) continue;
      const change = corrected(life, fork.name, status);
      if (change !== undefined) this.#options.event(`vm.fork-${change}d`, entry.vm, { fork: fork.name });
      if (status.isChanging !== true && status.state !== 'stopping') break;
    }
    this.#asking.delete(fork);
  }
}

/** Of who asks for something of a machine that is not for forks. */
export function notForForks({ fork, entry }: KnownFork): HostError {
  const [last, ...others] = FORK_OPERATIONS.toReversed();
  return new HostError(
    'unsupported',
    `"${fork.name}" is a fork of the virtual machine "${entry.name}"; what can be done with a fork is ${others.toReversed().join(', ')} and ${last}`,
  );
}

/** One that is gone is not asked for any more. */
export function stateOf({ state }: Life): State {
  return state === 'gone' ? 'stopping' : state;
}
