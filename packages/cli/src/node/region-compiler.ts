/**
 * Compiles hot guest code on a thread of its own, while the guest goes on (core's `RegionCompiler`). The thread starts with the first batch and
 * keeps no process alive.
 */

import { Worker } from 'node:worker_threads';
import type { BatchAnswer, BatchRequest, RegionCompiler } from '@ringfence/core';

/** What goes to the thread: a batch, and before the first one the guest's memory. */
export type CompilerMessage =
  | { readonly kind: 'memory'; readonly memory: WebAssembly.Memory }
  | { readonly kind: 'batch'; readonly number: number; readonly batch: BatchRequest };

/** What comes back. */
export interface CompilerReply {
  readonly number: number;
  readonly answer: BatchAnswer | undefined;
}

/** The thread's program. */
const THREAD = new URL('./region-compiler-thread.ts', import.meta.url);

export class ThreadedCompiler implements RegionCompiler {
  #thread: Worker | undefined;
  #memory: WebAssembly.Memory | undefined;
  #next = 0;
  readonly #waiting = new Map<number, { resolve(answer: BatchAnswer): void; reject(error: Error): void }>();

  compile(batch: BatchRequest, memory: WebAssembly.Memory): Promise<BatchAnswer> {
    const thread = this.#started();
    if (this.#memory !== memory) this.#post(thread, { kind: 'memory', memory });
    this.#memory = memory;
    const number = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#post(thread, { kind: 'batch', number, batch });
    });
  }

  #post(thread: Worker, message: CompilerMessage): void {
    thread.postMessage(message);
  }

  #started(): Worker {
    if (this.#thread) return this.#thread;
    const thread = new Worker(THREAD);
    thread.on('message', ({ number, answer }: CompilerReply) => {
      const waiting = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (answer) waiting?.resolve(answer);
      else waiting?.reject(new Error('The compiler could not compile a batch'));
    });
    thread.on('error', (error) => this.#fail(error instanceof Error ? error : new Error(String(error))));
    thread.on('exit', () => this.#fail(new Error('The compiler thread has ended')));
    // Last, because listening holds the process.
    thread.unref();
    this.#thread = thread;
    return thread;
  }

  #fail(error: Error): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const each of waiting) each.reject(error);
  }
}
