/** A disk whose requests wait until a test lets them go, in any order, well or badly. */

import { BlockStoreError } from '../../../base/block-store-error.ts';
import type { BlockStore } from '../../../base/ports.ts';
import { MemoryBlockStore } from '../../../storage/memory-block-store.ts';

export interface HeldRequest {
  readonly what: 'read' | 'write' | 'flush' | 'zero' | 'unmap' | 'discard';
  readonly offsetBytes: number;
  readonly bytes: number;
  /** Carries it out. */
  finish(): Promise<void>;
  /** Fails it. */
  fail(): Promise<void>;
}

export class HeldStore implements BlockStore {
  readonly bytes: Uint8Array;
  readonly readOnly = false;
  readonly discardGranularityBytes = 4096;
  readonly held: HeldRequest[] = [];
  /** When set, requests do not wait. */
  through = false;
  readonly log: string[] = [];
  readonly #disk: MemoryBlockStore;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#disk = new MemoryBlockStore(bytes);
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#hold('read', offsetBytes, into, () => this.#disk.read(offsetBytes, into));
  }

  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    return this.#hold('write', offsetBytes, from, () => this.#disk.write(offsetBytes, from));
  }

  writeZeroes(offsetBytes: number, bytes: number, mayDiscard: boolean): Promise<void> {
    const what = mayDiscard ? 'unmap' : 'zero';
    return this.#hold(what, offsetBytes, [new Uint8Array(bytes)], () => this.#disk.writeZeroes(offsetBytes, bytes));
  }

  discard(offsetBytes: number, bytes: number): Promise<void> {
    return this.#hold('discard', offsetBytes, [new Uint8Array(bytes)], () =>
      this.#disk.writeZeroes(offsetBytes, bytes),
    );
  }

  flush(): Promise<void> {
    return this.#hold('flush', 0, [], () => this.#disk.flush());
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Lets go of everything that waits, and of what that leads to. */
  async finishAll(): Promise<void> {
    while (this.held.length > 0) await this.held[0]?.finish();
  }

  #hold(
    what: HeldRequest['what'],
    offsetBytes: number,
    views: readonly Uint8Array[],
    act: () => Promise<void>,
  ): Promise<void> {
    const bytes = views.reduce((sum, view) => sum + view.length, 0);
    this.log.push(what === 'flush' ? what : `${what} ${offsetBytes}+${bytes}`);
    if (this.through) return act();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const release = async (): Promise<void> => {
      this.held.splice(this.held.indexOf(request), 1);
      // Let the device see it and do what follows.
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    };
    const request: HeldRequest = {
      what,
      offsetBytes,
      bytes,
      finish: async () => {
        await act();
        resolve();
        await release();
      },
      fail: async () => {
        reject(new BlockStoreError('io', 'Disk "test" broke'));
        await release();
      },
    };
    this.held.push(request);
    return promise;
  }
}
