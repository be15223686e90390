/** What a machine is given to boot, and how it is refused: each wrong file gets one sentence that a person can act on. */

import { MiB, hex } from '../../base/numbers.ts';
import type { GuestPhysical } from '../../base/numbers.ts';
import type { GuestMemory, Placement } from '../device.ts';

/** A file to load, already read. */
export interface Payload {
  readonly kind: 'kernel' | 'firmware' | 'initrd';
  /** What the person called it, for messages. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

export type LoadErrorCode =
  | 'empty'
  | 'not-a-kernel'
  | 'wrong-machine'
  | 'unsupported'
  | 'malformed'
  | 'truncated'
  | 'too-large'
  | 'decompression'
  | 'outside-memory'
  | 'too-little-memory'
  | 'overlap'
  | 'nothing-to-boot';

/** A payload that cannot be loaded, or none at all: `Cannot load kernel "vmlinuz": it ends in the middle of its header.` */
export class LoadError extends Error {
  override readonly name = 'LoadError';
  readonly code: LoadErrorCode;
  constructor(code: LoadErrorCode, payload: Payload | undefined, problem: string, cause?: unknown) {
    super(
      `Cannot ${payload === undefined ? 'boot' : `load ${WORDS[payload.kind]} "${payload.name}"`}: ${problem}${problem.endsWith('?') ? '' : '.'}`,
      cause === undefined ? undefined : { cause },
    );
    this.code = code;
  }
}

const WORDS = { kernel: 'kernel', firmware: 'firmware', initrd: 'initial ramdisk' } as const;

/** Where loaded bytes are; `end` is the first address behind them, with what they will clear for themselves. */
export interface LoadedRange {
  readonly start: GuestPhysical;
  readonly end: GuestPhysical;
}

/** RAM as the loaders see it: where it is, and how to write to it. */
export interface BootMemory {
  readonly placement: Placement;
  readonly memory: GuestMemory;
}

const ZEROS = new Uint8Array(64 * 1024);

/** Copies `bytes` to `address` and clears what follows up to `size` bytes. Throws when that is not all RAM. */
export function loadBytes(
  payload: Payload,
  bytes: Uint8Array,
  address: number,
  size: number,
  { placement, memory }: BootMemory,
): void {
  requireMemory(payload, address, size, placement);
  let stored = memory.write(address, bytes);
  for (let at = bytes.length; at < size; at += ZEROS.length)
    stored &&= memory.write(address + at, ZEROS.subarray(0, Math.min(ZEROS.length, size - at)));
  if (!stored) throw new LoadError('outside-memory', payload, `there is no RAM at ${range(address, size)}`);
}

/** Throws unless [address, address + size) is RAM, and says how much memory would do if more would. */
export function requireMemory(payload: Payload, address: number, size: number, ram: Placement): void {
  const end = address + size;
  if (address < ram.base)
    throw new LoadError(
      'outside-memory',
      payload,
      `it wants to be at ${range(address, size)}, and RAM begins at ${hex(ram.base)}`,
    );
  if (end > ram.base + ram.sizeBytes) throw tooLittleMemory(payload, end - ram.base, ram);
}

/** The error that names the need. */
export function tooLittleMemory(payload: Payload, neededBytes: number, ram: Placement): LoadError {
  return new LoadError(
    'too-little-memory',
    payload,
    `it needs a machine with at least ${Math.ceil(neededBytes / MiB)} MiB of memory, and this one has ${Math.floor(ram.sizeBytes / MiB)} MiB`,
  );
}

export function range(address: number, size: number): string {
  return `${hex(address)} to ${hex(address + size)}`;
}

/** Gives the memory behind a payload back at once, where the payload is alone in it. */
export function discardPayload(payload: Payload | undefined): void {
  const bytes = payload?.bytes;
  if (bytes?.buffer instanceof ArrayBuffer && !bytes.buffer.detached && bytes.byteLength === bytes.buffer.byteLength)
    bytes.buffer.transfer(0);
}
