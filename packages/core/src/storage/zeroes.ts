/** Zeroes to write, shared by all who do. */

import { KiB } from '../base/numbers.ts';

/** INVARIANT: nobody writes to it. */
export const ZEROES: Uint8Array = new Uint8Array(256 * KiB);

/** Whether all are zero, of bytes of whole sectors, which begin where a word may. */
export function isZero(bytes: Uint8Array): boolean {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let n = 0; n < words.length; n++) if (words[n] !== 0) return false;
  return true;
}
