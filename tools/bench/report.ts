/** What was measured, judged against the targets: rows for the JSON file, and the table on stdout. */

import type { MemoryFigures, SideFigures } from './figures.ts';
import { COMPUTE_LOOP_RESULT, PROGRAMS, type ProgramSet } from './programs.ts';
import { geometricMean, median } from './statistics.ts';
import type { Targets } from './targets.ts';

/** What stands side by side in one table. */
export interface Sides {
  readonly native: SideFigures;
  readonly qemu: SideFigures;
  readonly ringfence: SideFigures;
}

/** One line of the table; figures are medians. */
export interface Row {
  readonly name: string;
  readonly unit: 's' | 'MB' | 'MIPS' | 'times';
  readonly native?: number | undefined;
  readonly qemu?: number | undefined;
  readonly ringfence?: number | undefined;
  /** In its own words: `0.31 of its speed`. */
  readonly ratio?: { readonly value: number; readonly of: string } | undefined;
  readonly target?: { readonly says: string; readonly isMet: boolean } | undefined;
}

const BYTES_PER_MB = 1e6;
const OF_SPEED = 'of its speed';

/** The results of a set, in the order of the table. */
function resultsOfSet(set: ProgramSet): string[] {
  return PROGRAMS.filter((program) => program.set === set).flatMap(({ results }) => results);
}

export function rowsOf(sides: Sides, targets: Targets): Row[] {
  const rowsOfSet = (set: ProgramSet): Row[] =>
    resultsOfSet(set).flatMap((name) => programRow(name, set, sides, targets));
  const tableRows = rowsOfSet('table');
  const wideRows = rowsOfSet('wide');
  return [
    ...userlandRows(sides, targets),
    ...tableRows,
    ...meanRows('table', 'table', tableRows, targets.meanSpeedAtLeast),
    ...rowsOfSet('beside'),
    ...mipsRows(sides.ringfence),
    ...wideRows,
    ...meanRows('wide', 'wide set', wideRows),
    ...Object.keys(sides.ringfence.memory).flatMap((group) => memoryRows(group, sides, targets)),
  ];
}

function atLeast(value: number, limit: number | undefined): Row['target'] {
  return limit === undefined ? undefined : { says: `>= ${figure(limit)}`, isMet: value >= limit };
}

function atMost(value: number, limit: number | undefined, unit = ''): Row['target'] {
  return limit === undefined ? undefined : { says: `<= ${figure(limit)}${unit}`, isMet: value <= limit };
}

function userlandRows(
  { qemu: { userlandSeconds: theirs }, ringfence: { userlandSeconds: ours } }: Sides,
  { userlandTimeAtMost }: Targets,
): Row[] {
  if (theirs.length === 0 || ours.length === 0) return [];
  const qemu = median(theirs);
  const ringfence = median(ours);
  const value = ringfence / qemu;
  const ratio = { value, of: 'of its time' };
  return [
    { name: 'process start to userland', unit: 's', qemu, ringfence, ratio, target: atMost(value, userlandTimeAtMost) },
  ];
}

/** None where a side gave no result: that is among the disagreements. */
function programRow(name: string, set: ProgramSet, { native, qemu, ringfence }: Sides, targets: Targets): Row[] {
  const [theirs, ours, bare] = [qemu, ringfence, native].map((side) => side.programs[name]?.seconds ?? []);
  if (!theirs?.length || !ours?.length) return [];
  const value = median(theirs) / median(ours);
  const limit = targets.speedAtLeast[name] ?? (set === 'table' ? targets.anySpeedAtLeast : undefined);
  return [
    {
      name,
      unit: 's',
      native: bare?.length ? median(bare) : undefined,
      qemu: median(theirs),
      ringfence: median(ours),
      ratio: { value, of: OF_SPEED },
      target: atLeast(value, limit),
    },
  ];
}

/** The target is about all of a set: a part of it has a mean and no verdict. */
function meanRows(set: ProgramSet, says: string, programs: readonly Row[], limit?: number): Row[] {
  if (programs.length === 0) return [];
  const all = resultsOfSet(set).length;
  const isAll = programs.length === all;
  const value = geometricMean(programs.map(({ ratio }) => ratio?.value ?? Number.NaN));
  return [
    {
      name: `geometric mean of ${isAll ? '' : `${programs.length} of `}the ${says}'s ${all}`,
      unit: 'times',
      ratio: { value, of: OF_SPEED },
      target: isAll ? atLeast(value, limit) : undefined,
    },
  ];
}

function mipsRows({ programs }: SideFigures): Row[] {
  const mips = programs[COMPUTE_LOOP_RESULT]?.mips ?? [];
  return mips.length === 0
    ? []
    : [{ name: 'compute loop, million instructions a second', unit: 'MIPS', ringfence: median(mips) }];
}

function memoryRows(group: string, { qemu, ringfence }: Sides, targets: Targets): Row[] {
  const ours = ringfence.memory[group];
  const theirs = qemu.memory[group];
  if (ours === undefined) return [];
  const peak = medianMb(ours.peakResidentBytes);
  const guest = medianMb(ours.guestBytes);
  const over = peak - guest;
  return [
    { name: `peak resident memory, ${group}`, unit: 'MB', ringfence: peak, ...besideQemu(peak, ours, theirs, targets) },
    { name: `  guest memory used, ${group}`, unit: 'MB', ringfence: guest },
    {
      name: `  beside the guest's, ${group}`,
      unit: 'MB',
      ringfence: over,
      target: atMost(over, targets.memoryOverGuestAtMostMb, ' MB'),
    },
  ];
}

/** Only where both ran the same programs. */
function besideQemu(
  peak: number,
  ours: MemoryFigures,
  theirs: MemoryFigures | undefined,
  { memoryAtMost }: Targets,
): Pick<Row, 'qemu' | 'ratio' | 'target'> {
  if (theirs === undefined || theirs.results.join() !== ours.results.join()) return {};
  const qemu = medianMb(theirs.peakResidentBytes);
  const value = peak / qemu;
  return { qemu, ratio: { value, of: 'of its memory' }, target: atMost(value, memoryAtMost) };
}

function medianMb(bytes: readonly number[]): number {
  return median(bytes) / BYTES_PER_MB;
}

/** Three digits that count. */
export function figure(value: number): string {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(value < 0.1 ? 3 : 2);
}

/** The first column is set left, the others right; one line per row under a line of heads. */
export function table(engine: string, rows: readonly Row[]): string {
  const cells = [
    ['', '', 'native', 'QEMU', engine, 'ratio', '', 'target', ''],
    ...rows.map(({ name, unit, native, qemu, ringfence, ratio, target }) => [
      name,
      unit === 'times' ? '' : unit,
      ...[native, qemu, ringfence].map((value) => (value === undefined ? '-' : figure(value))),
      ratio === undefined ? '' : figure(ratio.value),
      ratio?.of ?? '',
      target?.says ?? '',
      target === undefined ? '' : target.isMet ? 'met' : 'MISSED',
    ]),
  ];
  const setLeft = new Set([0, 1, 6, 8]);
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0))) ?? [];
  return cells
    .map((row) =>
      row
        .map((cell, column) =>
          setLeft.has(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** How many of an engine's targets were met, as a sentence; empty when none was judged. */
export function verdict(engine: string, rows: readonly Row[]): string {
  const judged = rows.filter(({ target }) => target !== undefined);
  const missed = judged.filter(({ target }) => target?.isMet === false).map(({ name }) => name.trim());
  if (judged.length === 0) return '';
  return missed.length === 0
    ? `The ${engine} meets its ${judged.length} targets.`
    : `The ${engine} meets ${judged.length - missed.length} of ${judged.length} targets; missed: ${missed.join('; ')}.`;
}
