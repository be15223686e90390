/**
 * How an image's changes reach its file, so that it is whole whenever we are killed or the power goes:
 *
 *     1  refcounts that grew, and before it the data, which its writer wrote     | flush
 *     2  L2 tables                                                               | flush, if an L1 entry changes
 *     3  L1 entries                                                              | flush
 *     4  what was given up becomes holes of the file; refcounts that shrink: clusters are free from now on
 *
 * After each flush the file holds everything that what follows points to. A cluster given up is not used again before 4, nor while
 * a request that found it in the tables is still under way.
 */

import type { Qcow2Image } from './image.ts';
import type { Mapping } from './mapping.ts';
import type { Refcounts } from './refcounts.ts';

export class WriteBack {
  readonly #image: Qcow2Image;
  readonly #mapping: Mapping;
  readonly #refcounts: Refcounts;
  /** Transfers between guest and file that found their place in the tables and are not over. */
  readonly #underWay = new Set<Promise<void>>();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(image: Qcow2Image, mapping: Mapping, refcounts: Refcounts) {
    this.#image = image;
    this.#mapping = mapping;
    this.#refcounts = refcounts;
  }

  /** A transfer to or from a place that the tables gave. Call it in the same turn in which the tables were looked at. */
  track(transfer: Promise<void>): Promise<void> {
    this.#underWay.add(transfer);
    const over = (): boolean => this.#underWay.delete(transfer);
    transfer.then(over, over);
    return transfer;
  }

  /** Makes durable what is done before the call. Calls that come while one works share the next one. */
  flush(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    if (this.#running === undefined) return (this.#running = this.#start());
    this.#next = this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return (this.#running = this.#start());
      });
    return this.#next;
  }

  #start(): Promise<void> {
    const work: Promise<void> = this.#flush().finally(() => {
      if (this.#running === work) this.#running = undefined;
    });
    return work;
  }

  async #flush(): Promise<void> {
    const { file } = this.#image;
    const taken = this.#mapping.take();
    const before = [...this.#underWay];
    let succeeded = false;
    try {
      await this.#refcounts.writeBack();
      await file.flush();
      if (taken.tables.length > 0 || taken.l1.size > 0) {
        await Promise.all(taken.tables.map(({ at, bytes }) => file.write(at, [bytes])));
        if (taken.l1.size > 0) {
          await file.flush();
          for (const [index, bytes] of taken.l1) await file.write(this.#mapping.l1EntryOffset(index), [bytes]);
        }
        await file.flush();
      }
      succeeded = true;
    } finally {
      this.#mapping.written(taken, succeeded);
    }
    if (taken.freed.length === 0) return;
    await Promise.allSettled(before);
    await this.#refcounts.release(taken.freed);
    await this.#refcounts.writeBack();
  }
}
