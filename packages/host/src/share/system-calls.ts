/**
 * What Node has no function for: extended attributes, renames with flags, pipes, times to the nanosecond, holes, copies within a file
 * system. They are called through Node's own foreign function interface, in a worker thread. That interface is experimental; where it is
 * missing or not as expected, `start` gives undefined, and a shared folder is without those things.
 */

import { Worker } from 'node:worker_threads';
import { FileError } from '@ringfence/core';
import type {
  SystemCallAnswer,
  SystemCallArgument,
  SystemCallName,
  SystemCallRequest,
  SystemCallsReady,
} from './system-call.ts';
import { threadStart } from '../machine/thread-start.ts';

/** "Relative to nothing": the paths are absolute. */
export const AT_FDCWD = -100;

const WORKER = new URL('./system-calls-worker.ts', import.meta.url);

interface Waiting {
  readonly resolve: (answer: SystemCallAnswer) => void;
  readonly reject: (error: unknown) => void;
}

export class SystemCalls {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #isOver = false;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (answer: SystemCallAnswer) => {
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
      // It keeps the process alive while somebody waits for it, and not by itself.
      if (this.#waiting.size === 0) worker.unref();
    });
    worker.on('error', () => this.#end());
    worker.on('exit', () => this.#end());
    worker.unref();
  }

  static async start(): Promise<SystemCalls | undefined> {
    const worker = new Worker(WORKER, threadStart());
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const failed = (): void => resolve(false);
    worker.once('message', ({ ready }: SystemCallsReady) => resolve(ready));
    worker.once('error', failed);
    worker.once('exit', failed);
    const isReady = await promise;
    worker.off('error', failed);
    worker.off('exit', failed);
    if (isReady) return new SystemCalls(worker);
    await worker.terminate();
    return undefined;
  }

  /** Rejects with the FileError of a call that failed; gives what it gave otherwise, and the argument `filled` as the call left it. */
  async call(
    name: SystemCallName,
    words: readonly SystemCallArgument[],
    filled?: number,
  ): Promise<{ readonly value: number; readonly filled: Uint8Array }> {
    if (this.#isOver) throw new FileError('EIO');
    const { promise, resolve, reject } = Promise.withResolvers<SystemCallAnswer>();
    const request: SystemCallRequest = { id: this.#nextId++, name, words, filled };
    if (this.#waiting.size === 0) this.#worker.ref();
    this.#waiting.set(request.id, { resolve, reject });
    this.#worker.postMessage(request);
    const answer = await promise;
    if (answer.value < 0) throw new FileError(answer.errno);
    return { value: answer.value, filled: answer.filled ?? new Uint8Array(0) };
  }

  async close(): Promise<void> {
    this.#worker.ref();
    await this.#worker.terminate();
  }

  #end(): void {
    this.#isOver = true;
    for (const { reject } of this.#waiting.values()) reject(new FileError('EIO'));
    this.#waiting.clear();
  }
}

/** Text for the C library. */
export function terminated(bytes: Uint8Array | string): Uint8Array {
  return Buffer.concat([Buffer.from(bytes), Buffer.of(0)]);
}
