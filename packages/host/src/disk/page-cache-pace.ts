/**
 * Whether an access to a file is made at once, on this thread, or handed to another one. What the system has in its page cache is there in
 * microseconds, and a way over another thread takes ten times as long; what it has not takes milliseconds, and the machine must not stand
 * still so long. So: at once, until one access shows that it had to wait for a disk; then on the other thread for some time.
 */

/** Longer accesses than this go to the other thread, whatever they find. */
const MOST_BYTES = 512 * 1024;
/** An access that takes longer than this has waited for a disk. */
const QUICK_MS = 1;
/** Accesses that are then handed over, at the first such time and at the most: each that follows another doubles it. */
const FIRST_REST = 16;
const LONGEST_REST = 4096;

export class PageCachePace {
  readonly #nowMs: () => number;
  /** Accesses that are still to be handed over. */
  #left = 0;
  #rest = FIRST_REST;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Whether the next access, of so many bytes, is to be made at once. */
  isQuick(bytes: number): boolean {
    if (bytes > MOST_BYTES) return false;
    if (this.#left === 0) return true;
    this.#left--;
    return false;
  }

  /** Makes an access at once, and learns from how long it takes. */
  make<T>(access: () => T): T {
    const startMs = this.#nowMs();
    try {
      return access();
    } finally {
      if (this.#nowMs() - startMs <= QUICK_MS) this.#rest = FIRST_REST;
      else {
        this.#left = this.#rest;
        this.#rest = Math.min(LONGEST_REST, 2 * this.#rest);
      }
    }
  }
}
