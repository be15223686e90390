/** What stands for a disk and is not written, for whatever reason: each way to change it is refused with the same words. */

import type { BlockStore } from '../base/ports.ts';

export abstract class UnwrittenStore implements BlockStore {
  abstract readonly sizeBytes: number;
  abstract readonly readOnly: boolean;
  abstract readonly discardGranularityBytes: number | undefined;

  abstract read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void>;
  abstract flush(): Promise<void>;
  abstract close(): Promise<void>;
  protected abstract refuse(): Promise<never>;

  write(): Promise<void> {
    return this.refuse();
  }

  writeZeroes(): Promise<void> {
    return this.refuse();
  }

  discard(): Promise<void> {
    return this.refuse();
  }
}
