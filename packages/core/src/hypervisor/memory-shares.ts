/**
 * Who gives memory first when there is too little: whoever has the most for its shares, what it does not use counting more (C. A. Waldspurger, "Memory
 * Resource Management in VMware ESX Server", OSDI 2002, 5.2: the idle memory tax). Nobody gives what it has reserved.
 *
 *     shares per page = shares / (pages * (active + cost of idle * (1 - active)))      the least gives
 */

/** Part of its idle pages that a machine loses to one that uses its own: 0 counts all alike, near 1 takes nearly all. */
export const IDLE_MEMORY_TAX = 0.75;
export const DEFAULT_MEMORY_SHARES = 1000;
export const MAXIMUM_MEMORY_SHARES = 1_000_000;
/** Nothing boots in less. */
export const LEAST_LIMIT_BYTES = 16 * 1024 ** 2;
const IDLE_COST = 1 / (1 - IDLE_MEMORY_TAX);

/** What a machine may have of a pool, in bytes. */
export interface MemoryWishes {
  /** What it never has to give. 0 when absent. */
  readonly reservationBytes?: number | undefined;
  /** What its pages have of frames at most; its whole memory when absent. */
  readonly limitBytes?: number | undefined;
  /** DEFAULT_MEMORY_SHARES when absent. */
  readonly shares?: number | undefined;
}

export function sharesPerPage(shares: number, pages: number, activePart: number): number {
  return shares / (Math.max(pages, 1) * (activePart + IDLE_COST * (1 - activePart)));
}

/** A pool as it is before another machine joins, in bytes. */
export interface PoolFigures {
  readonly poolBytes: number;
  /** Reserved by machines that are in it, and by the pool itself. */
  readonly reservedBytes: number;
  /** Memory of its machines, and what the paging file may hold. */
  readonly memoryBytes: number;
  readonly pagingBytes: number;
}

const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(0)} MiB`;

/** Why `count` machines of `memoryBytes` each cannot join, as a sentence with figures; undefined when it can. */
export function whyNotJoin(
  memoryBytes: number,
  { reservationBytes = 0, limitBytes = memoryBytes, shares = DEFAULT_MEMORY_SHARES }: MemoryWishes,
  pool: PoolFigures,
  count = 1,
): string | undefined {
  if (!Number.isInteger(shares) || shares < 1 || shares > MAXIMUM_MEMORY_SHARES)
    return `${shares} is no number of memory shares; there can be 1 to ${MAXIMUM_MEMORY_SHARES}`;
  if (limitBytes < LEAST_LIMIT_BYTES)
    return `a memory limit of ${mib(limitBytes)} is under what a guest needs; it can be ${mib(LEAST_LIMIT_BYTES)} or more`;
  if (reservationBytes < 0 || reservationBytes > limitBytes || reservationBytes > memoryBytes)
    return `a memory reservation of ${mib(reservationBytes)} is more than the machine can have, which is ${mib(Math.min(limitBytes, memoryBytes))}`;
  const free = pool.poolBytes - pool.reservedBytes;
  if (count * reservationBytes > free)
    return `${mib(count * reservationBytes)} cannot be reserved: of the pool’s ${mib(pool.poolBytes)}, ${mib(pool.reservedBytes)} are reserved already`;
  const room = pool.poolBytes + pool.pagingBytes;
  if (pool.memoryBytes + count * memoryBytes > room)
    return `the pool’s ${mib(pool.poolBytes)} and ${mib(pool.pagingBytes)} of paging file are not enough for ${mib(count * memoryBytes)} more than the ${mib(pool.memoryBytes)} of its machines`;
  return undefined;
}
