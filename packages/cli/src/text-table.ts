/** Rows of text in columns, as `ls` and `ps` print them. */

import { plainText } from './failure.ts';

const GAP = '  ';

/** Cells may hold anybody's words: what is in them steers no terminal, and stays on its line. */
export function textTable(heads: readonly string[], cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map((cell) => plainText(cell.replaceAll(/[\n\t]/g, ' '))));
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join(GAP)
      .trimEnd();
  return [heads, ...rows].map((row) => `${line(row)}\n`).join('');
}
