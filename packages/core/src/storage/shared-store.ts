/** A disk that several machines read and that nobody writes through here: each has a view of it, and it is closed with the last one that is. */

import type { BlockStore, HeldRun } from '../base/ports.ts';
import { UnwrittenStore } from './unwritten-store.ts';

/** A store with somebody who has it, at least until the first `release`. */
export class SharedStore<Store extends BlockStore = BlockStore> {
  readonly store: Store;
  #holders = 1;

  constructor(store: Store) {
    this.store = store;
  }

  get isShared(): boolean {
    return this.#holders > 1;
  }

  /** One more has it. */
  view(): BlockStore {
    this.#holders++;
    return new StoreView(this);
  }

  /** One has it no more. */
  async release(): Promise<void> {
    if (--this.#holders === 0) await this.store.close();
  }
}

/** As BlockStore has it, of any store. */
export function heldRun(store: BlockStore, offsetBytes: number, layers: number): Promise<HeldRun> {
  return store.heldRun?.(offsetBytes, layers) ?? Promise.resolve({ held: true, endBytes: store.sizeBytes });
}

/** What of a store does not change through it. */
export abstract class ReadOnlyStore extends UnwrittenStore {
  readonly readOnly = true;
  readonly discardGranularityBytes = undefined;

  abstract heldRun(offsetBytes: number, layers: number): Promise<HeldRun>;

  /** There is nothing to make durable. */
  flush(): Promise<void> {
    return Promise.resolve();
  }

  protected override refuse(): Promise<never> {
    return Promise.reject(new Error('a disk that several machines read is not written'));
  }
}

/** One reader of a SharedStore. */
class StoreView extends ReadOnlyStore {
  readonly sizeBytes: number;
  readonly #shared: SharedStore;
  #isClosed = false;

  constructor(shared: SharedStore) {
    super();
    this.#shared = shared;
    this.sizeBytes = shared.store.sizeBytes;
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#shared.store.read(offsetBytes, into);
  }

  heldRun(offsetBytes: number, layers: number): Promise<HeldRun> {
    return heldRun(this.#shared.store, offsetBytes, layers);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#shared.release();
  }
}
