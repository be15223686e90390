/**
 * The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words. Sums are kept as plain numbers and
 * folded at the end; 2^32 words fit.
 */

import type { Frame } from '../base/frames.ts';

/** Adds the words of bytes [from, to) to `sum`; a last odd octet counts as the upper half of a word. */
export function sumWords(bytes: Uint8Array, from: number, to: number, sum = 0): number {
  let at = from;
  let total = sum;
  for (const end = to - 1; at < end; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  if (at < to) total += (bytes[at] ?? 0) << 8;
  return total;
}

/** Folds a sum into 16 bits. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return folded;
}

/** The checksum of a sum, as it is written into a header. */
export function complement(sum: number): number {
  return fold(sum) ^ 0xffff;
}

/**
 * The sum of the pseudo header of IPv4 (RFC 9293, 3.1) or IPv6 (RFC 8200, 8.1), not folded. Both addresses lie next to each other in
 * `header`, from `at` on.
 */
export function pseudoHeaderSum(
  header: Uint8Array,
  at: number,
  addressBytes: number,
  protocol: number,
  length: number,
): number {
  return sumWords(header, at, at + 2 * addressBytes, protocol + (length >>> 16) + (length & 0xffff));
}

/** The frame's bytes with the checksum done that was left to do; the same bytes, written to. Segmentation must not be left. */
export function finishChecksum({ bytes, checksumStart, checksumOffset }: Frame): Uint8Array {
  if (checksumStart < 0) return bytes;
  const checksum = complement(sumWords(bytes, checksumStart, bytes.length));
  const field = checksumStart + checksumOffset;
  // A UDP checksum of 0 says that there is none (RFC 768); the same sum has another form.
  const written = checksum === 0 && checksumOffset === UDP_CHECKSUM_OFFSET ? 0xffff : checksum;
  bytes[field] = written >>> 8;
  bytes[field + 1] = written & 0xff;
  return bytes;
}

const UDP_CHECKSUM_OFFSET = 6;

/** Whether the transport checksum over `bytes`, with the pseudo header's sum, comes out right. */
export function isSound(bytes: Uint8Array, pseudoSum: number): boolean {
  return fold(sumWords(bytes, 0, bytes.length, pseudoSum)) === 0xffff;
}
