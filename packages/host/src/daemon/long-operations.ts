/** Work that goes on without who asked for it: how far it is, and how it ended. */

import { basename } from 'node:path';
import { randomUUID } from 'node:crypto';
import type { Failure, LongOperation, OperationName } from '@ringfence/api';
import { HostError } from '../failure.ts';
import { failureOf } from './failures.ts';
import { MAXIMUM_OPERATIONS, type Store } from './store.ts';

export interface Progress {
  /** What is being done now, for people. */
  step(text: string, done?: number, total?: number): void;
}

/** What work gives: notes for people, and names of machines that it made. */
export type Outcome = readonly string[] | { readonly made: readonly string[] } | void;

function outcome(given: Outcome): { readonly notes?: readonly string[]; readonly made?: readonly string[] } {
  if (given === undefined) return {};
  return 'made' in given ? given : { notes: given };
}

/** Steps come with every chunk of a download; so often they are told. */
const TELL_MS = 200;

export class LongOperations {
  readonly #store: Store;
  readonly #onFailure: (error: unknown) => void;
  readonly #operations = new Map<string, LongOperation>();
  readonly #running = new Set<Promise<void>>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(store: Store, onFailure: (error: unknown) => void) {
    this.#store = store;
    this.#onFailure = onFailure;
  }

  /** Those of the last run of the daemon: what was not over is now. */
  async recover(): Promise<void> {
    for (const operation of await this.#store.operations()) {
      this.#operations.set(operation.id, operation);
      if (operation.state !== 'running') continue;
      const error: Failure = { code: 'interrupted', message: 'the daemon ended before it was done' };
      await this.#change(operation, { state: 'failed', error, endedAt: new Date().toISOString() });
    }
    this.#forgetOld();
  }

  /** Begins `work`; gives how it stands at once. */
  begin(kind: OperationName, vm: LongOperation['vm'], work: (progress: Progress) => Promise<Outcome>): LongOperation {
    const first: LongOperation = {
      id: randomUUID(),
      kind,
      vm,
      state: 'running',
      step: 'beginning',
      revision: 1,
      startedAt: new Date().toISOString(),
    };
    this.#operations.set(first.id, first);
    this.#keep(first);
    const running = this.#run(first, work).finally(() => this.#running.delete(running));
    this.#running.add(running);
    this.#forgetOld();
    return first;
  }

  get(id: string): LongOperation {
    const operation = this.#operations.get(id);
    if (operation === undefined) throw new HostError('not-found', `there is no operation "${id}"`);
    return operation;
  }

  /** As `get`; with `revision` when that is another one, or it is over, or after `waitMs`. */
  async wait(id: string, revision: number | undefined, waitMs = 0): Promise<LongOperation> {
    const operation = this.get(id);
    if (operation.state !== 'running' || operation.revision !== revision || waitMs === 0) return operation;
    await new Promise<void>((resolve) => {
      const waiting = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, waiting.add(resolve));
      setTimeout(() => {
        waiting.delete(resolve);
        resolve();
      }, waitMs).unref();
    });
    return this.get(id);
  }

  /** How many of each kind have ended in which way, for who counts. */
  onEnd: (operation: LongOperation) => void = () => undefined;

  /** Resolves when all that runs is over, or `patienceMs` have passed. */
  async settled(patienceMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const patience = setTimeout(resolve, patienceMs);
    await Promise.race([Promise.all(this.#running), promise]);
    clearTimeout(patience);
  }

  async #run(first: LongOperation, work: (progress: Progress) => Promise<Outcome>): Promise<void> {
    const { id } = first;
    let toldMs = 0;
    const progress: Progress = {
      step: (step, done, total) => {
        const now = this.get(id);
        const nowMs = performance.now();
        if (now.step === step && done !== total && nowMs - toldMs < TELL_MS) return;
        toldMs = nowMs;
        const { done: _done, total: _total, ...rest } = now;
        this.#tell({
          ...rest,
          step,
          ...(done === undefined ? {} : { done }),
          ...(total === undefined ? {} : { total }),
          revision: now.revision + 1,
        });
      },
    };
    let change: Partial<LongOperation>;
    try {
      const { notes = [], made = [] } = outcome(await work(progress));
      change = {
        state: 'done',
        step: 'done',
        ...(notes.length > 0 ? { notes: [...notes] } : {}),
        ...(made.length > 0 ? { made: [...made] } : {}),
      };
    } catch (error) {
      const failure = failureOf(error);
      if (failure.code === 'bug') this.#onFailure(error);
      change = { state: 'failed', error: failure };
    }
    await this.#change(this.get(id), { ...change, endedAt: new Date().toISOString() });
    this.onEnd(this.get(id));
  }

  async #change(operation: LongOperation, change: Partial<LongOperation>): Promise<void> {
    const next = { ...operation, ...change, revision: operation.revision + 1 };
    this.#tell(next);
    await this.#store.putOperation(next).catch(this.#onFailure);
  }

  #tell(operation: LongOperation): void {
    this.#operations.set(operation.id, operation);
    const waiting = this.#waiting.get(operation.id);
    this.#waiting.delete(operation.id);
    for (const resolve of waiting ?? []) resolve();
  }

  #keep(operation: LongOperation): void {
    this.#store.putOperation(operation).catch(this.#onFailure);
  }

  #forgetOld(): void {
    for (const [id, { state }] of this.#operations) {
      if (this.#operations.size <= MAXIMUM_OPERATIONS) return;
      if (state === 'running') continue;
      this.#operations.delete(id);
      this.#store.removeOperation(id).catch(this.#onFailure);
    }
  }
}

/** Tells how far an image is. */
export function tellImage(progress: Progress, now: { readonly kind: string } & Record<string, unknown>): void {
  const text = typeof now['item'] === 'string' ? `${now.kind} of ${basename(now['item'])}` : now.kind;
  const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
  progress.step(text, number(now['bytesDone'] ?? now['stepsDone']), number(now['bytesTotal'] ?? now['stepsTotal']));
}
