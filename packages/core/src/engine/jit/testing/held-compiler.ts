/** A compiler in a test's hands: it compiles when it is asked (or has nothing), and answers when the test says so. */

import { defined } from '../../../base/assert.ts';
import { type BatchAnswer, type BatchRequest, type RegionCompiler, compileBatch } from '../batch.ts';

interface Asked {
  readonly batch: BatchRequest;
  /** From the code as it was when the batch came. */
  readonly compiled: BatchAnswer;
  readonly resolve: (answer: BatchAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class HeldCompiler implements RegionCompiler {
  /** Every answer that there could have been. */
  readonly answers: BatchAnswer[] = [];
  readonly #waiting: Asked[] = [];
  readonly #compile: typeof compileBatch;

  constructor(compile: typeof compileBatch = compileBatch) {
    this.#compile = compile;
  }

  compile(batch: BatchRequest, memory: WebAssembly.Memory): Promise<BatchAnswer> {
    const { buffer } = memory;
    const compiled = this.#compile(batch, { u16: new Uint16Array(buffer), u32: new Uint32Array(buffer) });
    this.answers.push(compiled);
    return new Promise((resolve, reject) => this.#waiting.push({ batch, compiled, resolve, reject }));
  }

  /** Batches that wait for an answer. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Answers what was asked first; gives the batch. */
  async answer(give: (compiled: BatchAnswer) => BatchAnswer = (compiled) => compiled): Promise<BatchRequest> {
    const { batch, compiled, resolve } = defined(this.#waiting.shift(), 'a batch');
    resolve(give(compiled));
    await settled();
    return batch;
  }

  async fail(): Promise<void> {
    defined(this.#waiting.shift(), 'a batch').reject(new Error('The compiler is gone'));
    await settled();
  }

  async answerAll(): Promise<void> {
    while (this.waiting > 0) await this.answer();
  }
}

/** After what was promised is done: more turns than any chain of promises here has. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}
