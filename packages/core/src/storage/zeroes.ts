/** Zeroes to write, shared by all who do. */

import { KiB } from '../base/numbers.ts';

/** INVARIANT: nobody writes to it. */
export const ZEROES: Uint8Array = new Uint8Array(256 * KiB);
