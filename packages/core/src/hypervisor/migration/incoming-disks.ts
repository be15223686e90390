/** Disks of a machine that comes: parts of them are written as they come, one after the other, and are durable when the other end hears that all is ready. */

import { BlockStoreError } from '../../base/block-store-error.ts';
import type { BlockStore } from '../../base/ports.ts';
import { diskPieceOf } from './disk-messages.ts';
import { garbled, type Message } from './messages.ts';
import { MigrationError } from './migration-error.ts';

/** What waits to be written: the other end has less on its way. */
const MAXIMUM_WAITING_BYTES = 64 * 1024 * 1024;
const MAXIMUM_WAITING_MESSAGES = 16_384;

/** A disk whose content comes; undefined for one that is here already. */
export type IncomingDisk = BlockStore | undefined;

export class IncomingDisks {
  readonly #disks: readonly IncomingDisk[];
  readonly #onFailure: (error: MigrationError) => void;
  #work: Promise<void> = Promise.resolve();
  #waitingBytes = 0;
  #waitingMessages = 0;
  #failure: MigrationError | undefined;

  /** `onFailure` is called once, when a disk here does not take what comes. */
  constructor(disks: readonly IncomingDisk[], onFailure: (error: MigrationError) => void) {
    this.#disks = disks;
    this.#onFailure = onFailure;
  }

  /** Writes what a message has; calls `taken` when it is written. */
  take(message: Message, taken: () => void): void {
    const { disk, piece: came } = diskPieceOf(message, (index) => this.#disks[index]?.sizeBytes);
    if (this.#waitingBytes > MAXIMUM_WAITING_BYTES || this.#waitingMessages >= MAXIMUM_WAITING_MESSAGES)
      throw garbled('comes before those that came before it are written');
    // The message is gone when it is written.
    const piece = { ...came, data: came.data?.slice() };
    const size = piece.data?.length ?? 0;
    this.#waitingBytes += size;
    this.#waitingMessages++;
    this.#then(async () => {
      const { offsetBytes, bytes, data } = piece;
      if (data === undefined) await this.#disks[disk]?.writeZeroes(offsetBytes, bytes, true);
      else await this.#disks[disk]?.write(offsetBytes, [data]);
      this.#waitingBytes -= size;
      this.#waitingMessages--;
      taken();
    });
  }

  /** What came so far is made durable, meanwhile. */
  sync(): void {
    this.#then(async () => {
      for (const disk of this.#disks) await disk?.flush();
    });
  }

  /** Resolves when all that came is durable; rejects when it never will be. */
  async durable(): Promise<void> {
    this.sync();
    await this.#work;
    if (this.#failure) throw this.#failure;
  }

  /** Nothing is written any more; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#failure ??= new MigrationError('aborted', 'it was given up');
    await this.#work;
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#after(this.#work, work);
  }

  async #after(before: Promise<void>, work: () => Promise<void>): Promise<void> {
    await before;
    if (this.#failure) return;
    try {
      await work();
    } catch (error) {
      this.#failure = asMigrationError(error);
      this.#onFailure(this.#failure);
    }
  }
}

function asMigrationError(error: unknown): MigrationError {
  const reason = error instanceof BlockStoreError && error.code === 'full' ? 'no-space' : 'unavailable';
  return new MigrationError('refused', error instanceof Error ? error.message : String(error), {
    cause: error,
    reason,
  });
}
