/** What a machine may have of the host's memory, as its vm.yaml says it, in bytes; and what of that cannot be. */

import { MEMORY_SHARES, type OvercommitSettings } from '@ringfence/api/memory';
import { LEAST_LIMIT_BYTES } from '@ringfence/core';
import { formatSize, parseSize } from '@ringfence/core/sizes';

export interface Overcommit {
  readonly shares: number;
  readonly reservationBytes: number;
  /** Undefined: its whole memory. */
  readonly limitBytes: number | undefined;
}

/** Of settings that are possible. */
export function overcommitOf({ shares = MEMORY_SHARES.usual, reservation, limit }: OvercommitSettings): Overcommit {
  return {
    shares,
    reservationBytes: reservation === undefined ? 0 : (parseSize(reservation) ?? 0),
    limitBytes: limit === undefined ? undefined : parseSize(limit),
  };
}

/** What of `settings` cannot be for a machine with so much memory: the field, and the end of a sentence that begins with it. */
export function impossibleOvercommit(
  settings: OvercommitSettings,
  memoryBytes: number,
): { readonly field: 'reservation' | 'limit'; readonly problem: string } | undefined {
  for (const field of ['reservation', 'limit'] as const) {
    const text = settings[field];
    if (text !== undefined && parseSize(text) === undefined)
      return { field, problem: `"${text}" is no size; write it like 512M or 2G` };
  }
  const { reservationBytes, limitBytes = memoryBytes } = overcommitOf(settings);
  if (limitBytes < LEAST_LIMIT_BYTES)
    return {
      field: 'limit',
      problem: `of ${formatSize(limitBytes)} is under what a guest needs, which is ${formatSize(LEAST_LIMIT_BYTES)} at least`,
    };
  const most = Math.min(limitBytes, memoryBytes);
  if (reservationBytes > most)
    return {
      field: 'reservation',
      problem: `of ${formatSize(reservationBytes)} is more than the machine can have, which is ${formatSize(most)}`,
    };
  return undefined;
}
