/** INIT: what this session and the guest's kernel agree upon (Linux, include/uapi/linux/fuse.h, "Version negotiation"). */

import { KiB, MiB, PAGE_SIZE } from '../../base/numbers.ts';
import type { Saved, SavedReader } from '../../base/saved.ts';
import { ANSWER_BYTES, INIT_FLAG } from './abi.ts';
import { FileError } from './errno.ts';
import type { StructReader } from './wire.ts';
import { StructWriter } from './wire.ts';

const MAJOR = 7;
const MINOR = 38;
/** That of Linux 5.4, the first with virtio-fs: older forms of the structs are not spoken here. */
const OLDEST_MINOR = 31;

/** The most data of one READ or WRITE. */
export const MAXIMUM_TRANSFER_BYTES = MiB;
const MAXIMUM_READAHEAD_BYTES = 128 * KiB;
/** Requests without a waiting program (reading ahead) that the guest may have under way, and from how many on it holds back. */
const MAXIMUM_BACKGROUND = 32;
const CONGESTION_THRESHOLD = 24;

export interface OfferedOptions {
  readonly writeback: boolean;
  readonly timeUnitNs: number;
  readonly accessLists: boolean;
}

/** What both sides can. Also says what was answered, so it is all that a restored session needs. */
export class Negotiated {
  readonly #flags: readonly [low: number, high: number];

  private constructor(low: number, high: number) {
    this.#flags = [low >>> 0, high >>> 0];
  }

  has(bit: number): boolean {
    return (((this.#flags[bit < 32 ? 0 : 1] ?? 0) >>> (bit & 31)) & 1) === 1;
  }

  /** Reads the request behind its header and gives the answer; without `negotiated` when the guest has to ask again. */
  static answer(
    request: StructReader,
    options: OfferedOptions,
  ): { readonly bytes: Uint8Array; readonly negotiated: Negotiated | undefined } {
    const major = request.u32();
    const minor = request.u32();
    const writer = new StructWriter(ANSWER_BYTES.init);
    if (major > MAJOR) return { bytes: writer.u32(MAJOR).u32(MINOR).zeros(writer.room).written, negotiated: undefined };
    if (major < MAJOR || minor < OLDEST_MINOR) throw new FileError('EPROTO');
    const readahead = request.u32();
    const low = request.u32();
    const isExtended = ((low >>> INIT_FLAG.INIT_EXT) & 1) === 1;
    const high = isExtended ? request.u32() : 0;
    const [offeredLow, offeredHigh] = offered(options);
    const negotiated = new Negotiated(low & offeredLow, high & offeredHigh);
    const [agreedLow, agreedHigh] = negotiated.#flags;
    writer
      .u32(MAJOR)
      .u32(MINOR)
      .u32(Math.min(readahead, MAXIMUM_READAHEAD_BYTES))
      .u32(agreedLow)
      .u16(MAXIMUM_BACKGROUND)
      .u16(CONGESTION_THRESHOLD)
      .u32(MAXIMUM_TRANSFER_BYTES)
      .u32(options.timeUnitNs)
      .u16(MAXIMUM_TRANSFER_BYTES / PAGE_SIZE)
      .u16(0)
      .u32(agreedHigh)
      .zeros(writer.room);
    return { bytes: writer.written, negotiated };
  }

  save(): Saved {
    return [...this.#flags];
  }

  static restore(reader: SavedReader, options: OfferedOptions): Negotiated {
    const [low = 0, high = 0] = reader.list(2).map((word) => word.u32());
    const [offeredLow, offeredHigh] = offered(options);
    if ((low & ~offeredLow) !== 0 || (high & ~offeredHigh) !== 0) reader.refuse('holds what is not offered here');
    return new Negotiated(low, high);
  }
}

/** Not offered: locks, which stay within the guest; DAX, since mmap works through the guest's page cache. */
function offered({ writeback, accessLists }: OfferedOptions): readonly [low: number, high: number] {
  const { WRITEBACK_CACHE, POSIX_ACL, DONT_MASK, ...always } = INIT_FLAG;
  let low = 0;
  for (const bit of Object.values(always)) low |= 1 << bit;
  if (writeback) low |= 1 << WRITEBACK_CACHE;
  // A default list of a folder takes the place of the umask, so the guest must not apply it first.
  if (accessLists) low |= (1 << POSIX_ACL) | (1 << DONT_MASK);
  return [low, 0];
}
