/**
 * A request to a block device (virtio 1.3, 5.2.6), from the bytes of a chain to something that can only be right.
 *
 *     readable: le32 type, le32 reserved, le64 sector, data to write
 *     writable: data read, u8 status                          (the status is the last byte, however the buffers are cut)
 */

import type { Chain } from './chain.ts';

/** Requests and the configuration count in these, whatever `blk_size` says. */
export const SECTOR_BYTES = 512;

/** Values of `type`. Discard (11), write zeroes (13) and the others are answered as unsupported until their features are offered. */
const TYPE = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8 } as const;

/** Values of `status`. */
export const BLOCK_STATUS = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
export type BlockStatus = (typeof BLOCK_STATUS)[keyof typeof BLOCK_STATUS];

const HEADER_BYTES = 16;
const STATUS_BYTES = 1;

/** What a request may ask of. */
export interface DiskShape {
  readonly sectors: number;
  readonly readOnly: boolean;
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

export type BlockRequest =
  | BlockTransfer
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
    default:
      return { kind: 'refused', status: BLOCK_STATUS.UNSUPP, reason: `asks for type ${type}` };
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

function ioError(reason: string): BlockRequest {
  return { kind: 'refused', status: BLOCK_STATUS.IOERR, reason };
}
