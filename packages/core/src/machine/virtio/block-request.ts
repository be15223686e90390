/**
 * A request to a block device (virtio 1.3, 5.2.6), from the bytes of a chain to something that can only be right.
 *
 *     readable: le32 type, le32 reserved, le64 sector, data to write, or ranges: le64 sector, le32 sectors, le32 flags
 *     writable: data read, u8 status                          (the status is the last byte, however the buffers are cut)
 */

import type { Chain } from './chain.ts';

/** Requests and the configuration count in these, whatever `blk_size` says. */
export const SECTOR_BYTES = 512;

/** Values of `type`. The others are answered as unsupported: their features are not offered. */
const TYPE = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 } as const;

/** Values of `status`. */
export const BLOCK_STATUS = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
export type BlockStatus = (typeof BLOCK_STATUS)[keyof typeof BLOCK_STATUS];

const HEADER_BYTES = 16;
const STATUS_BYTES = 1;
/** struct virtio_blk_discard_write_zeroes */
const RANGE_BYTES = 16;
/** Its flag `unmap`; the others must not be set. */
const UNMAP = 1;
/** Ranges of one request, and sectors of one range: told to the driver as `max_discard_seg` and so on. */
export const MAXIMUM_RANGES = 32;
export const MAXIMUM_RANGE_SECTORS = 2 ** 22;

/** What a request may ask of. */
export interface DiskShape {
  readonly sectors: number;
  readonly readOnly: boolean;
  /** Whether discarding was offered. */
  readonly discards: boolean;
}

/** Data to move; `offsetBytes` and `bytes` lie within the disk. */
export interface BlockTransfer {
  readonly kind: 'read' | 'write';
  readonly offsetBytes: number;
  readonly bytes: number;
}

export interface BlockFlush {
  readonly kind: 'flush';
}

/** Part of the disk that nobody needs or that is to be zero; it lies within the disk. */
export interface BlockRange {
  readonly offsetBytes: number;
  readonly bytes: number;
  /** Zeroes may take no room. */
  readonly unmap: boolean;
}

export interface BlockRanges {
  readonly kind: 'discard' | 'write zeroes';
  readonly ranges: readonly BlockRange[];
}

export type BlockRequest =
  | BlockTransfer
  | BlockRanges
  | BlockFlush
  /** The identity goes into this many bytes. */
  | { readonly kind: 'identify'; readonly bytes: number }
  | { readonly kind: 'refused'; readonly status: BlockStatus; readonly reason: string }
  /** There is no place for a status: only the ring can answer. */
  | { readonly kind: 'unanswerable' };

export function parseBlockRequest(chain: Chain, disk: DiskShape): BlockRequest {
  const { readable, writable } = chain;
  if (readable.bytes < HEADER_BYTES || writable.bytes < STATUS_BYTES) return { kind: 'unanswerable' };
  const header = new Uint8Array(HEADER_BYTES);
  readable.copyTo(header);
  const fields = new DataView(header.buffer);
  const type = fields.getUint32(0, true);
  // A sector of 2^53 or more loses its low bits here, and is outside any disk with or without them.
  const sector = fields.getUint32(12, true) * 2 ** 32 + fields.getUint32(8, true);
  const room = writable.bytes - STATUS_BYTES;
  const data = readable.bytes - HEADER_BYTES;

  switch (type) {
    case TYPE.IN:
      return transfer('read', sector, room, disk);
    case TYPE.OUT:
      return disk.readOnly ? ioError('writes to a read-only disk') : transfer('write', sector, data, disk);
    case TYPE.FLUSH:
      return { kind: 'flush' };
    case TYPE.GET_ID:
      return { kind: 'identify', bytes: room };
    case TYPE.DISCARD:
      return disk.discards || disk.readOnly ? ranges('discard', chain, data, disk) : unsupported(type);
    case TYPE.WRITE_ZEROES:
      return ranges('write zeroes', chain, data, disk);
    default:
      return unsupported(type);
  }
}

/** Where the status byte is in the writable part. */
export function statusOffset(chain: Chain): number {
  return chain.writable.bytes - STATUS_BYTES;
}

function transfer(kind: 'read' | 'write', sector: number, bytes: number, disk: DiskShape): BlockRequest {
  if (bytes % SECTOR_BYTES !== 0) return ioError(`${kind}s ${bytes} bytes, which is no number of sectors`);
  const sectors = bytes / SECTOR_BYTES;
  if (sector + sectors > disk.sectors)
    return ioError(`${kind}s ${sectors} sectors at ${sector} of a disk of ${disk.sectors}`);
  return { kind, offsetBytes: sector * SECTOR_BYTES, bytes };
}

/** 5.2.6.2: flags that are not known are unsupported, and so is `unmap` for a discard. */
function ranges(kind: 'discard' | 'write zeroes', chain: Chain, bytes: number, disk: DiskShape): BlockRequest {
  if (disk.readOnly) return ioError(`is a ${kind} on a read-only disk`);
  const count = bytes / RANGE_BYTES;
  if (!Number.isInteger(count) || count === 0 || count > MAXIMUM_RANGES)
    return ioError(`has ${bytes} bytes of ranges; 1 to ${MAXIMUM_RANGES} ranges of ${RANGE_BYTES} may be`);
  const table = new Uint8Array(bytes);
  chain.readable.copyTo(table, HEADER_BYTES);
  const fields = new DataView(table.buffer);
  const list: BlockRange[] = [];
  for (let at = 0; at < bytes; at += RANGE_BYTES) {
    const sector = fields.getUint32(at + 4, true) * 2 ** 32 + fields.getUint32(at, true);
    const sectors = fields.getUint32(at + 8, true);
    const flags = fields.getUint32(at + 12, true);
    if ((flags & ~UNMAP) !== 0 || (kind === 'discard' && flags !== 0))
      return { kind: 'refused', status: BLOCK_STATUS.UNSUPP, reason: `is a ${kind} with flags ${flags}` };
    if (sectors > MAXIMUM_RANGE_SECTORS || sector + sectors > disk.sectors)
      return ioError(`is a ${kind} of ${sectors} sectors at ${sector} of a disk of ${disk.sectors}`);
    list.push({ offsetBytes: sector * SECTOR_BYTES, bytes: sectors * SECTOR_BYTES, unmap: (flags & UNMAP) !== 0 });
  }
  return { kind, ranges: list };
}

function unsupported(type: number): BlockRequest {
  return { kind: 'refused', status: BLOCK_STATUS.UNSUPP, reason: `asks for type ${type}` };
}

function ioError(reason: string): BlockRequest {
  return { kind: 'refused', status: BLOCK_STATUS.IOERR, reason };
}
