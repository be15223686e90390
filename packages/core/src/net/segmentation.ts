/**
 * Finishes frames for a receiver that takes no unfinished ones: cuts large TCP segments (as Linux's generic segmentation does) and sums
 * checksums. What comes out is what a card without offloads would have put on the wire.
 */

import { ETHERNET_HEADER_BYTES, plainFrame, type Frame, type FrameEndpoint } from '../base/frames.ts';
import { IPV4_BYTES, IPV6_BYTES } from './addresses.ts';
import { complement, finishChecksum, fold, pseudoHeaderSum, sumWords } from './checksum.ts';
import { IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, PROTOCOL } from './ip.ts';
import { putU16, putU32, u16, u32 } from './octets.ts';
import { TCP, TCP_CHECKSUM_OFFSET, TCP_HEADER_BYTES } from './tcp-segment.ts';

/** Frames that one frame is cut into at the most: 64 KiB in pieces of the smallest segment that TCP has to take, and less. */
const MAXIMUM_PIECES = 256;

/** Calls `give` with each of the frames that `frame` is for `receiver`, in order, until one is refused; then gives false. */
export function finishFor(receiver: FrameEndpoint, frame: Frame, give: (frame: Frame) => boolean): boolean {
  if (frame.checksumStart < 0) return give(frame);
  if (frame.segmentation === 'none') {
    return give(receiver.takesChecksums ? frame : plainFrame(finishChecksum({ ...frame, bytes: frame.bytes.slice() })));
  }
  if (receiver.takesSegments(frame.segmentation)) return give(frame);
  return segments(frame).every((piece) => give(piece));
}

/** The segments of a frame, complete. None when its headers are not those of a TCP segment. */
export function segments(frame: Frame): Frame[] {
  const { bytes, checksumStart: tcp, segmentBytes, segmentation } = frame;
  const ip = ETHERNET_HEADER_BYTES;
  const isIpv4 = segmentation === 'tcp4';
  const dataAt = tcp + 4 * ((bytes[tcp + 12] ?? 0) >>> 4);
  const smallestHeader = ip + (isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES);
  if (tcp < smallestHeader || dataAt < tcp + TCP_HEADER_BYTES || dataAt > bytes.length) return [];
  const step = Math.max(segmentBytes, Math.ceil((bytes.length - dataAt) / MAXIMUM_PIECES));
  const sequence = u32(bytes, tcp + 4);
  const flags = bytes[tcp + 13] ?? 0;
  const pieces: Frame[] = [];
  for (let from = dataAt, count = 0; from < bytes.length || count === 0; from += step, count++) {
    const to = Math.min(bytes.length, from + step);
    const piece = new Uint8Array(dataAt + to - from);
    piece.set(bytes.subarray(0, dataAt));
    piece.set(bytes.subarray(from, to), dataAt);
    putU32(piece, tcp + 4, sequence + from - dataAt);
    // FIN and PSH belong to the end of the data.
    piece[tcp + 13] = to < bytes.length ? flags & ~(TCP.FIN | TCP.PSH) : flags;
    if (isIpv4) finishIpv4(piece, ip, u16(bytes, ip + 4) + count);
    else putU16(piece, ip + 4, piece.length - ip - IPV6_HEADER_BYTES);
    const transportBytes = piece.length - tcp;
    const pseudo = isIpv4
      ? pseudoHeaderSum(piece, ip + 12, IPV4_BYTES, PROTOCOL.TCP, transportBytes)
      : pseudoHeaderSum(piece, ip + 8, IPV6_BYTES, PROTOCOL.TCP, transportBytes);
    putU16(piece, tcp + TCP_CHECKSUM_OFFSET, fold(pseudo));
    pieces.push(plainFrame(finishChecksum({ ...frame, bytes: piece, checksumOffset: TCP_CHECKSUM_OFFSET })));
  }
  return pieces;
}

function finishIpv4(piece: Uint8Array, ip: number, id: number): void {
  const headerBytes = Math.max(IPV4_HEADER_BYTES, 4 * ((piece[ip] ?? 0) & 0xf));
  putU16(piece, ip + 2, piece.length - ip);
  putU16(piece, ip + 4, id & 0xffff);
  putU16(piece, ip + 10, 0);
  putU16(piece, ip + 10, complement(sumWords(piece, ip, ip + headerBytes)));
}
