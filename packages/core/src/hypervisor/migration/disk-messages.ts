/**
 * DISK, of messages.ts: u32 number of the disk | u32 bytes that are zero, or 0 | u64 offset | the bytes otherwise (little-endian)
 */

import type { DiskPiece } from '../../storage/disk-mirror.ts';
import { garbled, type Message } from './messages.ts';

const HEAD_BYTES = 16;
/** Content of disks comes and goes in these. */
const SECTOR_BYTES = 512;
/** Of zeroes in one message, which takes no room. */
const MAXIMUM_ZEROES_BYTES = 64 * 1024 * 1024;

export function diskBody(disk: number, { offsetBytes, bytes, data }: DiskPiece): Uint8Array {
  const body = new Uint8Array(HEAD_BYTES + (data?.length ?? 0));
  const view = new DataView(body.buffer);
  view.setUint32(0, disk, true);
  view.setUint32(4, data === undefined ? bytes : 0, true);
  view.setBigUint64(8, BigInt(offsetBytes), true);
  if (data) body.set(data, HEAD_BYTES);
  return body;
}

/** What the message says, of a disk whose size `sizeOf` tells; undefined where there is none. */
export function diskPieceOf(
  { body }: Message,
  sizeOf: (disk: number) => number | undefined,
): { readonly disk: number; readonly piece: DiskPiece } {
  if (body.length < HEAD_BYTES) throw garbled('is too short');
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const [disk, zeroes] = [view.getUint32(0, true), view.getUint32(4, true)];
  const offsetBytes = Number(view.getBigUint64(8, true));
  const data = zeroes === 0 ? body.subarray(HEAD_BYTES) : undefined;
  const bytes = data?.length ?? zeroes;
  const size = sizeOf(disk);
  if (size === undefined) throw garbled('has a part of a disk that is not sent');
  const isWhole = offsetBytes % SECTOR_BYTES === 0 && bytes % SECTOR_BYTES === 0;
  if (!isWhole || bytes === 0 || offsetBytes + bytes > size || zeroes > MAXIMUM_ZEROES_BYTES)
    throw garbled('has a part of a disk that it has not');
  if (data === undefined && body.length !== HEAD_BYTES) throw garbled('has another length than its kind');
  return { disk, piece: { offsetBytes, bytes, data } };
}
