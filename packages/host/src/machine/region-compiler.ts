/**
 * Compiles hot guest code on a thread of its own, while the guest goes on (core's `RegionCompiler`). The thread starts with the first batch and
 * keeps no process alive. It knows the guest's memory: whoever made it closes it, or that memory stays as long as the process.
 */

import process from 'node:process';
import { Worker } from 'node:worker_threads';
import type { BatchAnswer, BatchRequest, MachineOptions, RegionCompiler } from '@ringfence/core';
import { type CompilerMessage, type CompilerReply, RemoteCompiler } from '@ringfence/core/compiler';
import { letV8GiveWay } from './background-threads.ts';
import { threadStart } from './thread-start.ts';

/** The thread's program. */
const THREAD = new URL('./region-compiler-thread.ts', import.meta.url);

export class ThreadedCompiler implements RegionCompiler {
  readonly #remote = new RemoteCompiler((message) => this.#send(message));
  readonly #program: URL;
  #thread: Worker | undefined;
  /** What waits while the thread is not to take time from what is more urgent. */
  #held: CompilerMessage[] | undefined;

  /** `program` is what the thread runs. */
  constructor(program: URL = THREAD) {
    this.#program = program;
  }

  compile(batch: BatchRequest, memory: WebAssembly.Memory): Promise<BatchAnswer> {
    return this.#remote.compile(batch, memory);
  }

  /** Ends the thread; what it is asked from now on is refused. */
  async close(): Promise<void> {
    this.#remote.fail(new Error('The compiler is closed'));
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.terminate();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Nothing is compiled until `release`. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const message of held) this.#send(message);
  }

  /** Starts the thread before there is something to compile. */
  start(): void {
    this.#thread ??= this.#newThread();
  }

  #send(message: CompilerMessage): void {
    if (this.#held !== undefined) return void this.#held.push(message);
    this.#thread ??= this.#newThread();
    this.#thread.postMessage(message);
  }

  #newThread(): Worker {
    letV8GiveWay();
    const thread = new Worker(this.#program, threadStart());
    thread.on('message', (reply: CompilerReply) => this.#remote.receive(reply));
    thread.on('error', (error) => this.#remote.fail(error instanceof Error ? error : new Error(String(error))));
    thread.on('exit', () => this.#remote.fail(new Error('The compiler thread has ended')));
    // Last, because listening holds the process.
    thread.unref();
    return thread;
  }
}

/** Where threads can be started now and not later (vm-process/main.ts). */
export function startWhereItMust(compiler: ThreadedCompiler, engine: MachineOptions['engine']): void {
  if (process.permission !== undefined && engine !== 'interpreter') compiler.start();
}
