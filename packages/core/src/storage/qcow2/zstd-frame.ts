/**
 * Where a zstd frame ends (RFC 8878, 3.1.1). A compressed cluster is stored in whole sectors, with anything behind its frame, and
 * decompressors take what follows a frame for another one.
 */

const MAGIC = 0xfd2f_b528;
const MAGIC_BYTES = 4;
const BLOCK_HEADER_BYTES = 3;
const RLE_BLOCK = 1;
const CHECKSUM_BYTES = 4;

/** The length of the frame that `bytes` begin with; that of all bytes where they are no whole frame. */
export function zstdFrameBytes(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length <= MAGIC_BYTES || view.getUint32(0, true) !== MAGIC) return bytes.length;
  const descriptor = view.getUint8(MAGIC_BYTES);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >>> 6] ?? 0;
  let at = MAGIC_BYTES + 1 + (isSingleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
  for (;;) {
    if (at + BLOCK_HEADER_BYTES > bytes.length) return bytes.length;
    const header = view.getUint8(at) | (view.getUint8(at + 1) << 8) | (view.getUint8(at + 2) << 16);
    const isRepeated = ((header >>> 1) & 3) === RLE_BLOCK;
    at += BLOCK_HEADER_BYTES + (isRepeated ? 1 : header >>> 3);
    if ((header & 1) !== 0) break;
  }
  if ((descriptor & 4) !== 0) at += CHECKSUM_BYTES;
  return Math.min(at, bytes.length);
}
