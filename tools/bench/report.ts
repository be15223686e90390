/** What was measured, judged against the targets: the content of the JSON file, and the table on stdout. */

import { geometricMean, median } from './statistics.ts';
import type { Targets } from './targets.ts';

/** Everything a run found, before any arithmetic. Lists hold one figure per round; an empty one was not measured. */
export interface Measured {
  readonly userlandSeconds: Pair<readonly number[]>;
  readonly programs: readonly MeasuredProgram[];
  readonly memory: readonly MeasuredMemory[];
  /** Of the engine on the compute loop. */
  readonly mips: readonly number[];
}

export interface Pair<T> {
  readonly qemu: T;
  readonly ringfence: T;
}

export interface MeasuredProgram {
  readonly name: string;
  readonly nativeSeconds: readonly number[];
  readonly seconds: Pair<readonly number[]>;
  readonly check: string;
  readonly mips: readonly number[];
  readonly instructions: readonly number[];
}

export interface MeasuredMemory {
  readonly name: string;
  readonly peakResidentBytes: Pair<readonly number[]>;
  /** Frames that the guest ever touched, as Ringfence counts them. */
  readonly guestBytes: readonly number[];
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

export function rowsOf(measured: Measured, targets: Targets): Row[] {
  const programs = measured.programs.map((program) => programRow(program, targets));
  return [
    ...userlandRows(measured, targets),
    ...programs,
    ...meanRows(programs, targets),
    ...mipsRows(measured),
    ...memoryRows(measured, targets),
  ];
}

function userlandRows({ userlandSeconds }: Measured, { userlandTimeAtMost }: Targets): Row[] {
  if (userlandSeconds.qemu.length === 0) return [];
  const qemu = median(userlandSeconds.qemu);
  const ringfence = median(userlandSeconds.ringfence);
  const value = ringfence / qemu;
  const target = { says: `<= ${figure(userlandTimeAtMost)}`, isMet: value <= userlandTimeAtMost };
  return [
    { name: 'process start to userland', unit: 's', qemu, ringfence, ratio: { value, of: 'of its time' }, target },
  ];
}

function programRow({ name, nativeSeconds, seconds }: MeasuredProgram, { computeSpeedAtLeast }: Targets): Row {
  const qemu = median(seconds.qemu);
  const ringfence = median(seconds.ringfence);
  const value = qemu / ringfence;
  return {
    name,
    unit: 's',
    native: nativeSeconds.length === 0 ? undefined : median(nativeSeconds),
    qemu,
    ringfence,
    ratio: { value, of: 'of its speed' },
    target: { says: `>= ${figure(computeSpeedAtLeast)}`, isMet: value >= computeSpeedAtLeast },
  };
}

function meanRows(programs: readonly Row[], { computeSpeedAtLeast }: Targets): Row[] {
  if (programs.length === 0) return [];
  const value = geometricMean(programs.map(({ ratio }) => ratio?.value ?? Number.NaN));
  const target = { says: `>= ${figure(computeSpeedAtLeast)}`, isMet: value >= computeSpeedAtLeast };
  return [{ name: 'geometric mean of the programs', unit: 'times', ratio: { value, of: 'of its speed' }, target }];
}

function mipsRows({ mips }: Measured): Row[] {
  return mips.length === 0
    ? []
    : [{ name: 'compute loop, million instructions a second', unit: 'MIPS', ringfence: median(mips) }];
}

function memoryRows({ memory }: Measured, { memoryOverGuestAtMostMb }: Targets): Row[] {
  return memory.flatMap(({ name, peakResidentBytes, guestBytes }) => {
    const [qemu, ringfence, guest] = [peakResidentBytes.qemu, peakResidentBytes.ringfence, guestBytes].map(
      (bytes) => median(bytes) / BYTES_PER_MB,
    ) as [number, number, number];
    const over = ringfence - guest;
    return [
      {
        name: `peak resident memory, ${name}`,
        unit: 'MB',
        qemu,
        ringfence,
        ratio: { value: ringfence / qemu, of: 'of its memory' },
      },
      { name: `  guest memory used, ${name}`, unit: 'MB', ringfence: guest },
      {
        name: `  beside the guest's, ${name}`,
        unit: 'MB',
        ringfence: over,
        target: { says: `<= ${memoryOverGuestAtMostMb} MB`, isMet: over <= memoryOverGuestAtMostMb },
      },
    ] satisfies Row[];
  });
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
