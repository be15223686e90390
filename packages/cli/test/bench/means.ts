/** The means against too little memory, in the order in which they are to be used first (docs/memory.md). */

import { setTimeout as sleep } from 'node:timers/promises';

export const MEANS = ['share', 'balloon', 'compress', 'page out'] as const;
export type Means = (typeof MEANS)[number];

/** Until nothing is done for so long, what booting took is over; and how long is waited for that. */
const CALM_MS = 3000;
const MOST_CALM_MS = 60_000;
const LOOK_MS = 100;

/** Resolves when `isCalm` for a while, or it is no use to wait any longer. */
export async function calm(isCalm: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + MOST_CALM_MS;
  for (let since = performance.now(); performance.now() < until; await sleep(LOOK_MS)) {
    if (!(await isCalm())) since = performance.now();
    else if (performance.now() - since >= CALM_MS) return;
  }
}

/** What is wrong with an order of first use; undefined when all were used, in their order. */
export function whyNotInOrder(used: readonly Means[]): string | undefined {
  const missing = MEANS.filter((each) => !used.includes(each));
  if (missing.length > 0) return `not used: ${missing.join(', ')}`;
  return used.join() === MEANS.join() ? undefined : `used in another order: ${used.join(', ')}`;
}
