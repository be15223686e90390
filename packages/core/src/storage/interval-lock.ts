/**
 * Locks on ranges of whole numbers, like clusters of a disk: who holds a range has it alone. A holder takes no second range, so nobody
 * waits in a circle.
 */

interface Held {
  readonly first: number;
  readonly last: number;
  readonly released: Promise<void>;
}

export class IntervalLock {
  readonly #held = new Set<Held>();

  /** Waits until nobody holds any of `first` to `last`, and takes them; gives what lets go of them. */
  async acquire(first: number, last: number): Promise<() => void> {
    for (;;) {
      const other = this.#overlapping(first, last);
      if (other === undefined) break;
      await other.released;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const mine = { first, last, released: promise };
    this.#held.add(mine);
    return () => {
      this.#held.delete(mine);
      resolve();
    };
  }

  #overlapping(first: number, last: number): Held | undefined {
    for (const held of this.#held) if (held.first <= last && held.last >= first) return held;
    return undefined;
  }
}

/** Runs one thing at a time, in the order of the calls. */
export class Sequence {
  #last: Promise<unknown> = Promise.resolve();
  #count = 0;

  /** Whether something runs, or is about to. */
  get isBusy(): boolean {
    return this.#count > 0;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    this.#count++;
    const result = this.#last.then(work).finally(() => this.#count--);
    this.#last = result.catch(() => {});
    return result;
  }
}
