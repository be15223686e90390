/** The table of what was measured on both sides: a line a load, with the ratio of the medians, and their geometric mean. */

import { geometricMean, median } from './statistics.ts';

export type Side = 'ringfence' | 'qemu';

/** Each side's figures, by load: one of each round. The more the better. */
export type Measured = Readonly<Record<Side, Map<string, number[]>>>;

/** The table's lines, loads in the order of `names`; what was not measured is a dash. */
export function sideBySide(title: string, names: readonly string[], measured: Measured): readonly string[] {
  const width = Math.max(title.length + 2, ...names.map((name) => name.length + 2));
  const row = (name: string, cells: readonly string[]): string =>
    `${name.padEnd(width)}${cells.map((cell, index) => cell.padStart(index === 2 ? 8 : 11)).join('')}`;
  const ratios: number[] = [];
  const rows = names.map((name) => {
    const [ours, theirs] = (['ringfence', 'qemu'] as const).map((side) => {
      const figures = measured[side].get(name);
      return figures && median(figures);
    });
    const ratio = ours !== undefined && theirs !== undefined ? ours / theirs : undefined;
    if (ratio !== undefined) ratios.push(ratio);
    return row(name, [ours?.toFixed(0) ?? '-', theirs?.toFixed(0) ?? '-', ratio?.toFixed(2) ?? '-']);
  });
  const mean = ratios.length > 0 ? [`geometric mean of the ratios ${geometricMean(ratios).toFixed(2)}`] : [];
  return [row(title, ['ringfence', 'qemu', 'ratio']), ...rows, ...mean];
}
