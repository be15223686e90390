/** Stands for the images of a disk while they are somebody else's: its guest stands still, and nobody asks for anything. */

import { BlockStoreError } from '../base/block-store-error.ts';
import type { BlockStore } from '../base/ports.ts';
import { UnwrittenStore } from './unwritten-store.ts';

/** What a guest has seen of a disk already. */
export type DiskFigures = Pick<BlockStore, 'sizeBytes' | 'discardGranularityBytes'>;

export class AbsentStore extends UnwrittenStore {
  readonly sizeBytes: number;
  readonly discardGranularityBytes: number | undefined;
  readonly readOnly = false;

  constructor({ sizeBytes, discardGranularityBytes }: DiskFigures) {
    super();
    this.sizeBytes = sizeBytes;
    this.discardGranularityBytes = discardGranularityBytes;
  }

  read(): Promise<void> {
    return this.refuse();
  }

  flush(): Promise<void> {
    return this.refuse();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  protected override refuse(): Promise<never> {
    return Promise.reject(new BlockStoreError('io', 'the disk is in use elsewhere'));
  }
}
