/** The means against too little memory, in the order in which they are to be used first (docs/memory.md). */

export const MEANS = ['share', 'balloon', 'compress', 'page out'] as const;
export type Means = (typeof MEANS)[number];

/** What is wrong with an order of first use; undefined when all were used, in their order. */
export function whyNotInOrder(used: readonly Means[]): string | undefined {
  const missing = MEANS.filter((each) => !used.includes(each));
  if (missing.length > 0) return `not used: ${missing.join(', ')}`;
  return used.join() === MEANS.join() ? undefined : `used in another order: ${used.join(', ')}`;
}
