/**
 * Compiling on another thread, over messages: one half for who asks, one for the thread. How messages travel is the host's matter (worker
 * threads in Node, workers in a page); what is in them can be cloned, compiled modules and shared memory included.
 *
 *     RemoteCompiler ── memory, then batches ──> CompilerThread ── compileBatch
 *           ^                                          │
 *           └───────────────── answers ────────────────┘
 */

import { type BatchAnswer, type BatchRequest, type CodeBytes, type RegionCompiler, compileBatch } from './batch.ts';

/** To the thread: the guest's memory, before the first batch in it, and batches. */
export type CompilerMessage =
  | { readonly kind: 'memory'; readonly memory: WebAssembly.Memory }
  | { readonly kind: 'batch'; readonly number: number; readonly batch: BatchRequest };

/** From the thread: what a batch became; nothing when it could not be compiled. */
export interface CompilerReply {
  readonly number: number;
  readonly answer: BatchAnswer | undefined;
}

interface Waiting {
  readonly resolve: (answer: BatchAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class RemoteCompiler implements RegionCompiler {
  readonly #post: (message: CompilerMessage) => void;
  readonly #waiting = new Map<number, Waiting>();
  #memory: WebAssembly.Memory | undefined;
  #next = 0;
  /** Why the thread is no more. */
  #failure: Error | undefined;

  /** `post` hands a message to the thread. */
  constructor(post: (message: CompilerMessage) => void) {
    this.#post = post;
  }

  compile(batch: BatchRequest, memory: WebAssembly.Memory): Promise<BatchAnswer> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#memory !== memory) this.#post({ kind: 'memory', memory });
    this.#memory = memory;
    const number = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      this.#post({ kind: 'batch', number, batch });
    });
  }

  /** Called with what the thread says. */
  receive({ number, answer }: CompilerReply): void {
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (answer) waiting?.resolve(answer);
    else waiting?.reject(new Error('The compiler could not compile a batch'));
  }

  /** Called when the thread is no more: nobody waits for it, and nobody asks it for more. */
  fail(error: Error): void {
    this.#failure ??= error;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const each of waiting) each.reject(error);
  }
}

export class CompilerThread {
  #code: CodeBytes | undefined;

  /** Does what a message asks for; gives the reply to be sent, if there is one. */
  receive(message: CompilerMessage): CompilerReply | undefined {
    if (message.kind === 'memory') {
      const { buffer } = message.memory;
      this.#code = { u16: new Uint16Array(buffer), u32: new Uint32Array(buffer) };
      return undefined;
    }
    return { number: message.number, answer: this.#compiled(message.batch) };
  }

  #compiled(batch: BatchRequest): BatchAnswer | undefined {
    try {
      return this.#code && compileBatch(batch, this.#code);
    } catch {
      // Also of code that changes while it is read, which may be anything.
      return {
        module: undefined,
        regions: batch.requests.map(() => undefined),
        bytes: 0,
        failed: batch.requests.length,
      };
    }
  }
}
