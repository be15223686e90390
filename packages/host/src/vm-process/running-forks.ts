/** Forks of a machine that runs in a process of its own, as the daemon has them: each is asked by its name, which leads to the machine's socket. */

import { setTimeout as sleep } from 'node:timers/promises';
import { RemoteVM } from '../control/client.ts';
import type { VMStatus } from '../control/operations.ts';
import { socketPath } from '../control/vm-folder.ts';
import { hasEnded, HostError } from '../failure.ts';
import type { RunEnd, RunningMachine } from './running.ts';
import { releaseName, takeName } from './start.ts';
import { ASK_AGAIN_MS } from './system-processes.ts';

/** What can be asked of it is as of a machine. */
export interface RunningFork extends Pick<
  RunningMachine,
  'stop' | 'pause' | 'resume' | 'snapshot' | 'fork' | 'rename' | 'status'
> {
  readonly name: string;
  /** How it was when it was heard of. */
  readonly found: ForkState;
  /** Resolves when it has ended, and its name is free. Never rejects. */
  readonly ended: Promise<RunEnd['kind']>;
}

export type ForkState = Pick<VMStatus, 'state' | 'isChanging'>;

export interface RunningForksOptions {
  readonly sockets: string;
  /** What the machine says of itself. */
  readonly status: () => Promise<VMStatus>;
  /** How what is reached by a name ended. */
  readonly untilEnd: (name: () => string, isOver: () => Promise<boolean>) => Promise<RunEnd>;
  readonly onEnd: (fork: string, how: RunEnd['kind']) => void;
  readonly onRename: (from: string, to: string) => void;
}

export class RunningForks {
  readonly #options: RunningForksOptions;
  readonly #known = new Map<string, Fork>();
  /** How often names of forks have changed: what was said before that is not believed any more. */
  #changes = 0;
  /** Renames of which it is not known whether they are done: what a fork is called is not known either. */
  #renames = 0;

  constructor(options: RunningForksOptions) {
    this.#options = options;
  }

  /** By their names. */
  get known(): ReadonlyMap<string, RunningFork> {
    return this.#known;
  }

  /** Those that a process speaks of. A name leads to the machine's socket as long as its fork is there. */
  watch(names: readonly string[] = [], states: VMStatus['forkStates'] = {}): void {
    for (const name of names) if (!this.#known.has(name)) this.#watch(name, states[name] ?? { state: 'running' });
  }

  /** What `ask` tells of the machine; forks that nobody has seen yet are watched from then on. */
  async heard(ask: () => Promise<VMStatus>): Promise<VMStatus> {
    const isSteady = this.#steadiness();
    const status = await ask();
    // One that has ended or was renamed meanwhile may be among them.
    if (isSteady()) this.watch(status.forks, status.forkStates);
    return status;
  }

  /** Makes forks of what is called `of`: the machine, or one of its forks. */
  async make(of: string, names: readonly string[]): Promise<void> {
    const { sockets } = this.#options;
    const taken: string[] = [];
    try {
      for (const each of names) {
        await takeName(sockets, socketPath(sockets, of), each);
        taken.push(each);
      }
      await RemoteVM.at(of, sockets).fork({ count: names.length, names });
    } catch (error) {
      for (const each of taken) releaseName(sockets, each);
      throw error;
    }
    this.watch(names);
  }

  /** Frees the names of all of them. */
  release(): void {
    for (const name of this.#known.keys()) releaseName(this.#options.sockets, name);
  }

  /** Says later whether names have stayed what they are now. */
  #steadiness(): () => boolean {
    const before = this.#changes;
    return () => this.#changes === before && this.#renames === 0;
  }

  #watch(name: string, found: ForkState): void {
    const { sockets, status, untilEnd, onEnd } = this.#options;
    const isOver = async (): Promise<boolean> => {
      const isSteady = this.#steadiness();
      const said = await status().catch(() => undefined);
      return said !== undefined && isSteady() && said.forks?.includes(fork.name) !== true;
    };
    const ended = async (): Promise<RunEnd['kind']> => {
      const { kind } = await untilEnd(() => fork.name, isOver);
      this.#changes++;
      fork.hasEnded = true;
      this.#known.delete(fork.name);
      releaseName(sockets, fork.name);
      onEnd(fork.name, kind);
      return kind;
    };
    const fork: Fork = new Fork(name, found, ended, this);
    this.#known.set(name, fork);
  }

  remote({ name }: Fork): RemoteVM {
    return RemoteVM.at(name, this.#options.sockets);
  }

  /** Rejects with `timeout` when it is not known whether it is called so: its process is asked until it says so, and nobody reaches it by that name before. */
  async rename(fork: Fork, to: string): Promise<void> {
    const { sockets } = this.#options;
    const from = fork.name;
    await takeName(sockets, socketPath(sockets, from), to);
    this.#changes++;
    this.#renames++;
    try {
      await this.remote(fork).rename(to);
    } catch (error) {
      const isRenamed = await this.#isCalled(to);
      if (isRenamed !== true) releaseName(sockets, to);
      if (isRenamed === undefined) {
        void this.#untilCalled(fork, to);
        throw new HostError('timeout', inDoubt(from, to), error);
      }
      if (!isRenamed) {
        this.#settled(fork, from);
        throw error;
      }
    }
    this.#settled(fork, to);
    if (!fork.hasEnded) return;
    releaseName(sockets, to);
    throw hasEnded(from);
  }

  async #untilCalled(fork: Fork, to: string): Promise<void> {
    const { sockets } = this.#options;
    const from = fork.name;
    let isRenamed: boolean | undefined;
    do {
      await sleep(ASK_AGAIN_MS, undefined, { ref: false });
      isRenamed = fork.hasEnded ? false : await this.#isCalled(to);
    } while (isRenamed === undefined);
    // Where somebody else has the name by now it cannot be reached.
    if (isRenamed)
      isRenamed = await takeName(sockets, socketPath(sockets, from), to).then(
        () => true,
        () => false,
      );
    this.#settled(fork, isRenamed ? to : from);
  }

  /** Whether its process says that a fork is called that; undefined when it does not answer. */
  async #isCalled(name: string): Promise<boolean | undefined> {
    const said = await this.#options.status().catch(() => undefined);
    return said && said.forks?.includes(name) === true;
  }

  /** It is known what it is called. */
  #settled(fork: Fork, name: string): void {
    this.#renames--;
    this.#changes++;
    // What it was called is free since its end.
    if (fork.hasEnded || fork.name === name) return;
    const { sockets, onRename } = this.#options;
    const from = fork.name;
    this.#known.delete(from);
    releaseName(sockets, from);
    fork.name = name;
    this.#known.set(name, fork);
    onRename(from, name);
  }
}

function inDoubt(from: string, to: string): string {
  return `the process of the fork "${from}" did not say whether it is called "${to}" now; it may be yet`;
}

class Fork implements RunningFork {
  name: string;
  hasEnded = false;
  readonly found: ForkState;
  readonly ended: Promise<RunEnd['kind']>;
  readonly #all: RunningForks;

  constructor(name: string, found: ForkState, ended: () => Promise<RunEnd['kind']>, all: RunningForks) {
    this.name = name;
    this.found = found;
    this.#all = all;
    // When it is known by its name.
    this.ended = Promise.resolve().then(ended);
  }

  async pause(): Promise<void> {
    await this.#all.remote(this).pause();
  }

  async resume(): Promise<void> {
    await this.#all.remote(this).resume();
  }

  stop(options: { readonly timeoutMs: number }): Promise<'shutdown' | 'forced'> {
    return this.#all.remote(this).stop(options);
  }

  status(): Promise<VMStatus> {
    return this.#all.remote(this).inspect();
  }

  snapshot(store: string, name: string, parent: string | undefined): Promise<{ path: string; pausedMs: number }> {
    return this.#all.remote(this).snapshot({ store, name, ...(parent === undefined ? {} : { parent }) });
  }

  fork(names: readonly string[]): Promise<void> {
    return this.#all.make(this.name, names);
  }

  rename(to: string): Promise<void> {
    return this.#all.rename(this, to);
  }
}
