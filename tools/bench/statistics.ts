/** Figures out of figures. */

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const above = sorted[Math.floor(sorted.length / 2)];
  const below = sorted[Math.ceil(sorted.length / 2) - 1];
  if (above === undefined || below === undefined) throw new Error('There is no median of nothing');
  return (above + below) / 2;
}

/** The mean of ratios: a half and a double make one. */
export function geometricMean(values: readonly number[]): number {
  if (values.length === 0) throw new Error('There is no mean of nothing');
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
