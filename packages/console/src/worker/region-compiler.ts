/** Compiles hot guest code in a worker beside the machine's, which starts with the first batch (core's `RegionCompiler`). */

import type { BatchAnswer, BatchRequest, RegionCompiler } from '@ringfence/core';
import { type CompilerReply, RemoteCompiler } from '@ringfence/core/compiler';

export class WorkerCompiler implements RegionCompiler {
  readonly #remote = new RemoteCompiler((message) => {
    this.#worker ??= this.#start();
    this.#worker.postMessage(message);
  });
  #worker: Worker | undefined;

  compile(batch: BatchRequest, memory: WebAssembly.Memory): Promise<BatchAnswer> {
    return this.#remote.compile(batch, memory);
  }

  #start(): Worker {
    const worker = new Worker(new URL('./region-compiler-worker.ts', import.meta.url), { type: 'module' });
    worker.addEventListener('message', ({ data }: MessageEvent<CompilerReply>) => this.#remote.receive(data));
    const fail = (): void => this.#remote.fail(new Error('The compiler worker has failed'));
    worker.addEventListener('error', fail);
    worker.addEventListener('messageerror', fail);
    return worker;
  }
}
