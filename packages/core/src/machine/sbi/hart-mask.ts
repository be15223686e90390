/** Hart masks: which harts a call is for (SBI 2.0, 3.1). Bit n of the mask is hart `base + n`; a base of all ones means every hart. */

import type { HartPort } from '../hart-port.ts';

const EVERY_HART = 0xffff_ffff_ffff_ffffn;

/** The harts meant, or undefined when one of them does not exist. */
export function selectHarts(mask: bigint, base: bigint, harts: readonly HartPort[]): readonly HartPort[] | undefined {
  if (base === EVERY_HART) return harts;
  if (base >= BigInt(harts.length)) return undefined;
  const first = Number(base);
  if (mask >> BigInt(harts.length - first) !== 0n) return undefined;
  return harts.filter((_, id) => id >= first && (mask & (1n << BigInt(id - first))) !== 0n);
}
