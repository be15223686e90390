/**
 * Threads that execute the harts of a machine (core's `PcpuPort`), as many as the host has processors. They keep no process alive. Hot code
 * is compiled on one more thread, which each of them asks through a channel of its own.
 */

import { availableParallelism } from 'node:os';
import { hrtime } from 'node:process';
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import type { Clock, PcpuPort, PcpuSetup } from '@ringfence/core';
import { letV8GiveWay } from './background-threads.ts';
import { threadStart } from './thread-start.ts';
import { errorOfThread, type ThreadEnd } from './thread-end.ts';

/** The threads' programs. */
const PCPU = new URL('./pcpu-thread.ts', import.meta.url);
const COMPILER = new URL('./region-compiler-thread.ts', import.meta.url);

/** What a thread is started with. */
export interface PcpuThreadData {
  readonly setup: PcpuSetup;
  /** What is added to the host's high-resolution time to get the machine's clock, in ns, if that never stood still. */
  readonly clockOffsetNs: bigint;
  /** How long it has stood still. */
  readonly stoodNs: BigInt64Array | undefined;
  /** Whether the process is the machine's alone. */
  readonly isAlone: boolean;
  readonly compiler: MessagePort;
}

/** A clock, and what other threads must know of it when it can stand still (pausable-clock.ts). */
export type MachineClock = Clock & { readonly stoodNs?: BigInt64Array };

export class NodePcpus implements PcpuPort {
  readonly count: number;
  readonly #clock: MachineClock;
  readonly #program: URL;
  #compiler: Worker | undefined;
  #started = 0;

  /** For a machine with that clock; `program` is what each thread runs. */
  constructor(clock: MachineClock, count: number = availableParallelism(), program: URL = PCPU) {
    this.#clock = clock;
    this.#program = program;
    this.count = count;
  }

  start(setup: PcpuSetup, failed: (error: Error) => void): () => void {
    const { port1, port2 } = new MessageChannel();
    this.#compilerThread().postMessage({ kind: 'port', port: port1 }, [port1]);
    const { stoodNs } = this.#clock;
    const clockOffsetNs = BigInt(Math.floor(this.#clock.monotonicNs())) + (stoodNs?.[0] ?? 0n) - hrtime.bigint();
    const data: PcpuThreadData = {
      setup,
      clockOffsetNs,
      stoodNs,
      isAlone: this.#clock.processNs !== undefined,
      compiler: port2,
    };
    const thread = new Worker(this.#program, { ...threadStart(), workerData: data, transferList: [port2] });
    let isEnding = false;
    const fail = (error: unknown): void => failed(error instanceof Error ? error : new Error(String(error)));
    thread.on('error', fail);
    // All that it ever says: what it ends with.
    thread.on('message', (end: ThreadEnd) => failed(errorOfThread(end)));
    thread.on('exit', () => {
      if (!isEnding) failed(new Error('A thread that executes harts has ended'));
    });
    thread.unref();
    this.#started++;
    return () => {
      isEnding = true;
      void thread.terminate();
      if (--this.#started > 0) return;
      void this.#compiler?.terminate();
      this.#compiler = undefined;
    };
  }

  /** Without it code stays interpreted: its end is no failure. */
  #compilerThread(): Worker {
    if (this.#compiler) return this.#compiler;
    letV8GiveWay();
    const thread = new Worker(COMPILER, threadStart());
    thread.on('error', () => undefined);
    thread.unref();
    this.#compiler = thread;
    return thread;
  }
}
