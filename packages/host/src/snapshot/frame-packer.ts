/**
 * Packs the frames of snapshots beside the thread that takes their pages. Node's own threads do it while the packer's thread begins, and where none may be
 * started: each frame costs the asking thread ten times as much then. The thread stays for the next snapshot for a while, and holds no process.
 */

import process from 'node:process';
import { Worker } from 'node:worker_threads';
import type { PackedFrame } from '@ringfence/core';
import { threadStart } from '../machine/thread-start.ts';
import { checksumOf, packElsewhere } from './zstd-frames.ts';

/** The memory is shared, so that nothing of it is copied; what a frame is packed to lies where that was. */
export interface PackRequest {
  /** What is not said is as it was: to be shown memory takes a thread longer than to be told where to look. */
  readonly memory?: SharedArrayBuffer;
  readonly offset: number;
  readonly bytes: number;
}

export type PackAnswer = { readonly bytes: number; readonly checksum: number } | { readonly failed: unknown };

/** The thread's program. */
const THREAD = new URL('./frame-packer-thread.ts', import.meta.url);
/** It ends when nobody has asked it for so long. */
const IDLE_MS = 30_000;
const ENDED = 'The thread that packs snapshots has ended';

interface Waiting {
  readonly plain: Uint8Array<SharedArrayBuffer>;
  readonly resolve: (frame: PackedFrame) => void;
  readonly reject: (error: unknown) => void;
}

export class FramePacker {
  #thread: Worker | undefined;
  /** No thread could be started lately. */
  #hasFailed = false;
  #isReady = false;
  /** What the thread was shown last. */
  #shown: SharedArrayBuffer | undefined;
  /** Answers come in the order of what was asked. */
  #waiting: Waiting[] = [];
  #idle: NodeJS.Timeout | undefined;

  async pack(plain: Uint8Array): Promise<PackedFrame> {
    this.#start();
    const thread = this.#thread;
    if (!this.#isReady || thread === undefined || !isShared(plain)) {
      const packed = await packElsewhere(plain);
      // What is small does not keep all the memory that it was made in.
      const bytes = packed.length * 2 < packed.buffer.byteLength ? Uint8Array.from(packed) : packed;
      return { bytes, checksum: checksumOf(bytes) };
    }
    return new Promise((resolve, reject) => {
      const { buffer: memory, byteOffset: offset, length: bytes } = plain;
      const request: PackRequest = { offset, bytes, ...(memory === this.#shown ? {} : { memory }) };
      this.#shown = memory;
      this.#waiting.push({ plain, resolve, reject });
      thread.ref();
      thread.postMessage(request);
    });
  }

  /** Whether the thread is there. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Ends the thread; whoever comes later has another one begin. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    this.#idle = undefined;
    this.#hasFailed = false;
    const thread = this.#thread;
    if (thread === undefined) return;
    this.#ended(thread, new Error(ENDED));
    await thread.terminate();
  }

  #start(): void {
    this.#idle ??= setTimeout(() => this.#rest(), IDLE_MS).unref();
    this.#idle.refresh();
    // A process that may start no thread any more is not asked for one.
    if (this.#thread !== undefined || this.#hasFailed || !(process.permission?.has('worker') ?? true)) return;
    const thread = startedThread();
    if (thread === undefined) {
      this.#hasFailed = true;
      return;
    }
    this.#thread = thread;
    thread.on('message', (answer: PackAnswer | 'ready') => this.#receive(thread, answer));
    thread.on('error', (error) => this.#ended(thread, error));
    thread.on('exit', () => this.#ended(thread, new Error(ENDED)));
    // Last, because listening holds the process.
    thread.unref();
  }

  #receive(thread: Worker, answer: PackAnswer | 'ready'): void {
    // One that is being ended may have said something before.
    if (thread !== this.#thread) return;
    if (answer === 'ready') {
      this.#isReady = true;
      return;
    }
    const waiting = this.#waiting.shift();
    if (this.#waiting.length === 0) thread.unref();
    if (waiting === undefined) return;
    if ('failed' in answer) return waiting.reject(answer.failed);
    const { buffer, byteOffset } = waiting.plain;
    const bytes = new Uint8Array(buffer, byteOffset, answer.bytes);
    waiting.resolve({ bytes, checksum: answer.checksum });
  }

  #rest(): void {
    if (this.#waiting.length > 0) this.#idle?.refresh();
    else void this.close();
  }

  #ended(thread: Worker, error: unknown): void {
    if (thread !== this.#thread) return;
    // One that never came to its work is not tried again at once.
    if (!this.#isReady) this.#hasFailed = true;
    const waiting = this.#waiting;
    this.#thread = undefined;
    this.#isReady = false;
    this.#waiting = [];
    this.#shown = undefined;
    for (const one of waiting) one.reject(error);
  }
}

/** Undefined where there is no room for another thread. */
function startedThread(): Worker | undefined {
  try {
    return new Worker(THREAD, threadStart());
  } catch {
    return undefined;
  }
}

function isShared(bytes: Uint8Array): bytes is Uint8Array<SharedArrayBuffer> {
  return bytes.buffer instanceof SharedArrayBuffer;
}
