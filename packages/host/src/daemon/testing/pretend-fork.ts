/** A fork without a guest, in a process that is pretended (pretend.ts). */

import type { VMStatus } from '../../control/operations.ts';
import { HostError } from '../../failure.ts';
import type { RunEnd } from '../../vm-process/running.ts';
import type { ForkState, RunningFork } from '../../vm-process/running-forks.ts';
import { pretendStatus } from '../../vm-process/testing/pretend-status.ts';

/** What a pretended process has of its forks. */
export interface PretendForks {
  readonly known: Map<string, PretendFork>;
  readonly add: (names: readonly string[]) => void;
  /** Takes the turns that everything takes; throws where `what` is to fail next, or the process has ended. */
  readonly step: (what?: 'fork' | 'pause' | 'resume') => Promise<void>;
  readonly snapshot: RunningFork['snapshot'];
  readonly onEnd: (fork: string, how: RunEnd['kind']) => void;
  readonly onRename: (from: string, to: string) => void;
}

export class PretendFork implements RunningFork {
  name: string;
  state: VMStatus['state'];
  isChanging = false;
  found: ForkState;
  readonly ended: Promise<RunEnd['kind']>;
  readonly #all: PretendForks;
  readonly #end: (how: RunEnd['kind']) => void;

  constructor(name: string, all: PretendForks) {
    this.name = name;
    this.state = 'running';
    this.found = { state: this.state };
    this.#all = all;
    const { promise, resolve } = Promise.withResolvers<RunEnd['kind']>();
    this.ended = promise;
    this.#end = resolve;
  }

  /** It ends by itself. */
  end(how: RunEnd['kind']): void {
    if (!this.#all.known.delete(this.name)) return;
    this.#all.onEnd(this.name, how);
    this.#end(how);
  }

  async pause(): Promise<void> {
    await this.#step('pause');
    this.state = 'paused';
  }

  async resume(): Promise<void> {
    await this.#step('resume');
    this.state = 'running';
  }

  async stop(): Promise<'shutdown'> {
    await this.#step();
    this.end('stopped');
    return 'shutdown';
  }

  async status(): Promise<VMStatus> {
    await this.#step();
    return { ...pretendStatus(1), name: this.name, state: this.state, isChanging: this.isChanging };
  }

  async snapshot(...[store, name, parent]: Parameters<RunningFork['snapshot']>): ReturnType<RunningFork['snapshot']> {
    await this.#step();
    return this.#all.snapshot(store, name, parent);
  }

  async fork(names: readonly string[]): Promise<void> {
    await this.#step('fork');
    this.#all.add(names);
  }

  async rename(to: string): Promise<void> {
    await this.#step();
    const from = this.name;
    this.#all.known.delete(from);
    this.name = to;
    this.#all.known.set(to, this);
    this.#all.onRename(from, to);
  }

  async #step(what?: 'fork' | 'pause' | 'resume'): Promise<void> {
    await this.#all.step(what);
    if (this.#all.known.get(this.name) !== this) throw new HostError('ended', `the fork "${this.name}" has ended`);
  }
}
