/**
 * What threads that execute harts of one domain tell each other, in words of its memory. A thread is a pCPU.
 *
 *     passes   odd while guest code is executed: then the thread may be between a look at a TLB and the store that follows. Whoever has
 *              taken a page from the TLBs waits until each of the others has passed a point where it is not (`settle`).
 *     written  code of a page that others have written: what was made of it is dropped at the next such point, or at a fence.i.
 *
 * INVARIANT: nobody waits for a lock that is held for longer than a few loads and stores, and who waits for another thread to pass does not
 * hold one and counts as having passed itself. So nobody waits in a ring.
 */

import { defined } from '../base/assert.ts';
import { HartPlaces } from './hart-places.ts';
import { CONTROL, HART, PCPU, WRITTEN_ENTRIES, pcpuBase } from './layout.ts';

/** Looks at a word of another thread before this one lets go of its processor. */
const LOOKS = 200;
/** Milliseconds between two looks then. */
const PATIENCE_MS = 0.05;

/** Pages of whose writes a pCPU is told before it is woken. */
const MANY_WRITTEN = WRITTEN_ENTRIES / 2;

/** Held: somebody is in; waited for: and somebody else wants to know when not. */
const LOCK = { FREE: 0, HELD: 1, WAITED_FOR: 2 } as const;

/** A lock at word `cell`, for a few loads and stores. */
export function locked<T>(i32: Int32Array, cell: number, work: () => T): T {
  if (Atomics.compareExchange(i32, cell, LOCK.FREE, LOCK.HELD) !== LOCK.FREE)
    while (Atomics.exchange(i32, cell, LOCK.WAITED_FOR) !== LOCK.FREE) Atomics.wait(i32, cell, LOCK.WAITED_FOR, 1);
  try {
    return work();
  } finally {
    if (Atomics.exchange(i32, cell, LOCK.FREE) === LOCK.WAITED_FOR) Atomics.notify(i32, cell, 1);
  }
}

/** A part of a guest page, as `PcpuWords.take` gives it. */
export interface Written {
  readonly page: number;
  readonly offset: number;
  readonly bytes: number;
}

export class PcpuWords {
  readonly count: number;
  /** Number of this thread, or -1 for one that executes nothing. */
  readonly own: number;
  /** Which of them has which hart. */
  readonly places: HartPlaces;
  readonly #i32: Int32Array;
  /** Word of `passes`, by pCPU. */
  readonly #bases: readonly number[];
  #isInside = false;

  constructor(i32: Int32Array, count: number, own: number) {
    this.#i32 = i32;
    this.count = count;
    this.own = own;
    this.places = new HartPlaces(i32, own);
    this.#bases = Array.from({ length: count }, (_, number) => pcpuBase(number) >>> 2);
  }

  /** The word `name` of pCPU `number`, as a position in an Int32Array. */
  word(number: number, name: keyof typeof PCPU): number {
    return defined(this.#bases[number], 'a pCPU') + (PCPU[name] >>> 2);
  }

  /** Guest code of the hart at `hart` is executed from here on, for which `limit` is set already. */
  enter(hart: number): void {
    Atomics.store(this.#i32, this.word(this.own, 'hart'), hart);
    this.#isInside = true;
    Atomics.add(this.#i32, this.word(this.own, 'passes'), 1);
  }

  leave(): void {
    this.#isInside = false;
    Atomics.add(this.#i32, this.word(this.own, 'passes'), 1);
    Atomics.store(this.#i32, this.word(this.own, 'hart'), 0);
  }

  /** Does `work`, which may wait: nobody waits for this thread meanwhile. Only where no store is on its way. */
  outside<T>(work: () => T): T {
    if (!this.#isInside) return work();
    const passes = this.word(this.own, 'passes');
    Atomics.add(this.#i32, passes, 1);
    try {
      return work();
    } finally {
      Atomics.add(this.#i32, passes, 1);
    }
  }

  /** Waits until each of the other threads has passed a point where no store is on its way. */
  settle(): void {
    this.outside(() => {
      for (let number = 0; number < this.count; number++) if (number !== this.own) this.#untilPassed(number);
    });
  }

  #untilPassed(number: number): void {
    const i32 = this.#i32;
    const passes = this.word(number, 'passes');
    const before = Atomics.load(i32, passes);
    if ((before & 1) === 0) return;
    const hart = Atomics.load(i32, this.word(number, 'hart'));
    if (hart !== 0) Atomics.store(i32, (hart + HART.limit) >>> 2, 0);
    for (let looks = 0; Atomics.load(i32, passes) === before; looks++)
      if (looks > LOOKS) Atomics.wait(i32, passes, before, PATIENCE_MS);
  }

  /** Tells the pCPUs of `mask`, but not this one, that `bytes` at `offset` of guest page `page` were written. */
  tell(mask: number, page: number, offset: number, bytes: number): void {
    const i32 = this.#i32;
    for (let number = 0; number < this.count; number++) {
      if (number === this.own || (mask & (1 << number)) === 0) continue;
      const isMuch = locked(i32, this.word(number, 'writtenLock'), () =>
        this.#add(number, page, offset, offset + bytes),
      );
      // One that sleeps would have the page watched for as long, and every store to it would come here.
      if (isMuch) this.wake(number);
    }
  }

  /** Notes that [from, to) of a page were written, together with what is noted of it already; gives whether it is time to look at it. */
  #add(number: number, page: number, from: number, to: number): boolean {
    const i32 = this.#i32;
    const count = this.word(number, 'writtenCount');
    const told = Math.min(Atomics.load(i32, count), WRITTEN_ENTRIES);
    const first = this.word(number, 'written');
    for (let at = first; at < first + 2 * told; at += 2) {
      if (i32[at] !== page) continue;
      const part = defined(i32[at + 1], 'a part of the page');
      const start = Math.min(part & 0xffff, from);
      i32[at + 1] = start | ((Math.max((part & 0xffff) + (part >>> 16), to) - start) << 16);
      return true;
    }
    if (told < WRITTEN_ENTRIES) {
      i32[first + 2 * told] = page;
      i32[first + 2 * told + 1] = from | ((to - from) << 16);
    }
    Atomics.store(i32, count, told + 1);
    return told > MANY_WRITTEN;
  }

  /** What this thread was told, or undefined when it was more than there is room for. */
  take(): readonly Written[] | undefined {
    const i32 = this.#i32;
    const count = this.word(this.own, 'writtenCount');
    if (Atomics.load(i32, count) === 0) return [];
    return locked(i32, this.word(this.own, 'writtenLock'), () => {
      const told = Atomics.exchange(i32, count, 0);
      if (told > WRITTEN_ENTRIES) return undefined;
      const first = this.word(this.own, 'written');
      return Array.from({ length: told }, (_, index) => {
        const page = defined(i32[first + 2 * index], 'a page');
        const part = defined(i32[first + 2 * index + 1], 'a part of it');
        return { page, offset: part & 0xffff, bytes: part >>> 16 };
      });
    });
  }

  /** Whether hart `id`, at `base`, is executed now, be it in the middle of something that waits. One that moves meanwhile has left a pCPU. */
  isExecuting(id: number, base: number): boolean {
    return Atomics.load(this.#i32, this.word(this.places.of(id), 'hart')) === base;
  }

  /** There may be something to do for pCPU `number`. */
  wake(number: number): void {
    const wakeups = this.word(number, 'wakeups');
    Atomics.add(this.#i32, wakeups, 1);
    Atomics.notify(this.#i32, wakeups);
  }

  /** Hart `id` has something to do: who has it looks, or takes notice at once when it does something else and another one does nothing. */
  wakeFor(id: number): void {
    const where = this.places.of(id);
    // This thread looks before it sleeps.
    if (where === this.own) return;
    this.wake(where);
    if (this.places.isOffered(id)) this.wakeSleeper();
  }

  /** Wakes one of the other pCPUs that do nothing, if there is one. */
  wakeSleeper(): void {
    for (let number = 0; number < this.count; number++) {
      if (number === this.own || Atomics.load(this.#i32, this.word(number, 'asleep')) === 0) continue;
      this.wake(number);
      return;
    }
  }

  /** Makes the machine's thread look. */
  ring(): void {
    Atomics.add(this.#i32, CONTROL.doorbell >>> 2, 1);
    Atomics.notify(this.#i32, CONTROL.doorbell >>> 2);
  }
}
