/**
 * The world, as core is allowed to see it. Nothing in core reads a clock, draws a random number, opens a file or prints except
 * through one of these small interfaces; who assembles a machine hands them in. This is what makes replay, migration and the
 * browser possible.
 */

/** Time. Monotonic; both may start anywhere. */
export interface Clock {
  /** Monotonic time in nanoseconds, an integer below 2^53 (104 days from the port's start). */
  monotonicNs(): number;
  /** The same, where that stands still while the machine does, of a clock that does not; `monotonicNs` when absent. */
  hostNs?(): number;
  /** Wall-clock time in nanoseconds since 1970-01-01 UTC. */
  wallNs(): bigint;
  /** Processor time that this thread had, in nanoseconds from any start, where the host tells. */
  threadNs?(): number;
  /** Processor time of the whole process, where nothing but one machine and its forks is in it. */
  readonly processNs?: (() => number) | undefined;
}

/** Cryptographically strong randomness. */
export interface Entropy {
  /** Fills all of `into`. */
  fill(into: Uint8Array): void;
}

/**
 * A disk's content as bytes. Requests on one store may overlap in time; the caller orders what must be ordered. Bytes travel as lists of
 * views, which stand for their concatenation: guest memory is rarely contiguous. Views may lie in shared memory, and the store does not
 * touch them any more once its promise is settled. No method throws; a promise rejects with a BlockStoreError.
 */
export interface BlockStore {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Fills all of `into` from `offsetBytes`. Never called out of range. */
  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void>;
  /** Writes all of `from`. Durable only after a later `flush` resolved. Never called out of range nor on a read-only store. */
  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void>;
  /**
   * Makes a range read as zero, as a write of zeroes would. With `mayDiscard` the room it took may be given back; without, a later write
   * there needs no new room where none was needed before.
   */
  writeZeroes(offsetBytes: number, bytes: number, mayDiscard: boolean): Promise<void>;
  /** What `discard` works in, at least a sector; undefined where it can give nothing back. */
  readonly discardGranularityBytes: number | undefined;
  /** Nobody needs the range any more: afterwards every byte of it reads as before or as zero. */
  discard(offsetBytes: number, bytes: number): Promise<void>;
  /**
   * Whether the first `layers` of the images that it is made of hold what is at `offsetBytes`, or it shows what stands behind them; and up to
   * where, at least, that is so. Missing where it is not made of images: it holds all of it.
   */
  readonly heldRun?: ((offsetBytes: number, layers: number) => Promise<HeldRun>) | undefined;
  /** Resolves when everything written, zeroed or discarded before the call is durable. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Part of a disk, from some offset to `endBytes`. */
export interface HeldRun {
  readonly held: boolean;
  readonly endBytes: number;
}

/** A byte stream's far end, as a serial line or a console port sees it. */
export interface ByteSink {
  /** Takes the bytes at once (the callee copies what it keeps). */
  write(bytes: Uint8Array): void;
}

/** Levels as syslog has them, the ones we use. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface Log {
  log(level: LogLevel, area: string, message: string, fields?: Readonly<Record<string, unknown>>): void;
}
