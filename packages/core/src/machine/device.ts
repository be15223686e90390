/**
 * The shape every device has: behaviour behind a memory-mapped region, saved state, reset, and a place in the device tree.
 *
 * One contract, one suite: `device-lifecycle.suite.ts` runs pause, save, restore and reset over every device of the machine. A device
 * never touches the world but through the ports handed to its constructor, never throws because of what a guest did (it reports a
 * DeviceFault and goes on, or stops itself), and never keeps state that `save` does not give.
 */

import type { GuestPhysical } from '../base/numbers.ts';
import type { Saved } from '../base/saved.ts';

/** Bytes of one access. 8-byte accesses reach a device as `read64`/`write64` where it has them, else as two 4-byte ones, low first. */
export type AccessSize = 1 | 2 | 4;

export interface Device {
  /** Unique within a machine, `kind@address` in hex, as in the device tree: `serial@10000000`. */
  readonly name: string;
  /** Back to the state of power-on. */
  reset(): void;
  /** Everything that must survive a snapshot, as plain data. Called only while the machine is paused. */
  save(): Saved;
  /** Takes back what `save` gave; throws SavedStateError on anything else and is then unchanged. */
  restore(state: Saved): void;
  /**
   * A device with work that outlasts a register access (disk requests) has these two. `quiesce` starts no more of it and resolves when
   * none is under way; from then until `resume` the device leaves guest memory and its ports alone. The machine stops the harts, awaits
   * `quiesce` of every device that has it, and only then calls `save`, `restore` or `reset` on any; afterwards `resume`, when RAM is back too.
   */
  quiesce?(): Promise<void>;
  /** Goes on: looks for work that waited. Harmless when nothing was stopped. */
  resume?(): void;
}

/** A device that answers loads and stores in a region of guest-physical space. Offsets are within the region and naturally aligned. */
export interface MmioDevice extends Device {
  /** The sizes it answers, as the sum of 1, 2, 4 and 8; any other access is an access fault. Without it: every size. */
  readonly accessSizes?: number;
  /** The value as an unsigned number. Unimplemented registers read as zero. */
  read(offset: number, size: AccessSize): number;
  /** `value` is unsigned and fits `size`. Writes to unimplemented registers are ignored. */
  write(offset: number, size: AccessSize, value: number): void;
  /**
   * Whether a store there only has the device look for work: who stores from another thread goes on before that is done, and a second such store
   * that comes before the device looks adds nothing.
   */
  isNotice?(offset: number): boolean;
  read64?(offset: number): bigint;
  write64?(offset: number, value: bigint): void;
}

/** A device that also has something to do when time passes. The machine's loop asks how long it may sleep, and polls. */
export interface TimedDevice extends Device {
  /** Nanoseconds until `poll` has something to do: 0 when it has now, Infinity when nothing is scheduled. */
  dueInNs(): number;
  /** Does what has become due; harmless when nothing has. */
  poll(): void;
}

/** One interrupt wire into an interrupt controller. Level-triggered; setting the level it already has does nothing. */
export interface InterruptLine {
  set(level: boolean): void;
}

/** What a device did not like about the guest. Counted and traced; the device decides whether it goes on. */
export interface FaultSink {
  report(device: string, reason: string): void;
  /** The device itself failed, because guest memory could not be had, say: the machine's end. Who does not take it has it thrown. */
  broke?(error: unknown): void;
}

/**
 * Guest RAM as devices see it (DMA). Addresses come from the guest: every method checks them, none throws for a wrong one.
 * Writes are seen by the harts at once, decoded code included. Aligned `load16` and `store16` are sequentially consistent with what
 * the harts do, and the accesses around them do not move across them: descriptor rings rely on it.
 */
export interface GuestMemory {
  /** True when all of [address, address + size) is memory that a device may read, or with `forWrite` also write (ROM it may not). */
  contains(address: number, size: number, forWrite?: boolean): boolean;
  /** Little-endian loads; undefined when any byte is outside RAM. */
  load8(address: number): number | undefined;
  load16(address: number): number | undefined;
  load32(address: number): number | undefined;
  /** A 64-bit value as a number; a value of 2^53 or more gives Number.MAX_SAFE_INTEGER, which is never a valid address or length. */
  load64(address: number): number | undefined;
  /** Little-endian stores; false when any byte is outside RAM (then nothing is written). */
  store8(address: number, value: number): boolean;
  store16(address: number, value: number): boolean;
  store32(address: number, value: number): boolean;
  /** Fills all of `into`, or returns false with nothing copied. */
  read(address: number, into: Uint8Array): boolean;
  /** Writes all of `from`, or returns false with nothing written. */
  write(address: number, from: Uint8Array): boolean;
  /**
   * Lends the bytes of [address, address + size) themselves, in order, for transfers without a copy: one view per stretch that is
   * contiguous in host memory (which is shared memory); undefined when any byte is outside RAM. Every loan ends with one `release` of
   * the same arguments, and until then the frames stay where they are and stay this machine's (who moves, shares or takes frames counts
   * loans). Of a loan with `forWrite`, what was written counts as seen by the harts, decoded code included, from the release on.
   */
  views(address: number, size: number, forWrite: boolean): Uint8Array[] | undefined;
  /** Ends a loan that `views` gave. */
  release(address: number, size: number, forWrite: boolean): void;
  /**
   * The guest does not need what is in these ranges of whole pages any more: they read as zero from now on, and what held them
   * goes back; or, while there are loans, nothing happens. False, with nothing changed, when any of it is no memory that may be written.
   */
  forget(ranges: readonly MemoryRange[]): boolean;
}

/** Guest-physical addresses, in bytes. */
export interface MemoryRange {
  readonly address: number;
  readonly size: number;
}

/** A node of the device tree as data; the machine turns the list into the flattened tree (Devicetree Specification v0.4, chapter 5). */
export interface TreeNode {
  readonly name: string;
  /** What a TreeReference calls this node; not written out. */
  readonly label?: string;
  readonly properties: Readonly<Record<string, TreeValue>>;
  readonly children?: readonly TreeNode[];
}

/** `true` is an empty property; a number one cell; a bigint two; numbers a list of cells; strings a string list; a TreeReference a phandle. */
export type TreeValue =
  | true
  | number
  | bigint
  | string
  | readonly (number | TreeReference)[]
  | readonly string[]
  | Uint8Array
  | TreeReference;

/** A phandle to the node with this label. */
export interface TreeReference {
  readonly phandleOf: string;
}

/** Where a device sits. */
export interface Placement {
  readonly base: GuestPhysical;
  readonly sizeBytes: number;
}

/** Lets devices do what is due, and says in how many nanoseconds the next thing will be. */
export function pollDevices(devices: readonly Pick<TimedDevice, 'poll' | 'dueInNs'>[]): number {
  let due = Infinity;
  for (const device of devices) {
    device.poll();
    due = Math.min(due, device.dueInNs());
  }
  return due;
}
