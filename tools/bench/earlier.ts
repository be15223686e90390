/**
 * Figures of an earlier run that count again (`--qemu-from`): QEMU does not change while an engine is tuned. They hold only on the same
 * machine with the same image, which is checked, and only for what was measured then.
 */

import { readFile } from 'node:fs/promises';
import type { MemoryFigures, ProgramFigures, SideFigures } from './figures.ts';

/** What has to be the same for figures of two runs to compare. */
export interface Circumstances {
  readonly processor: string;
  readonly kernelVersion: string;
  readonly commandLine: string;
  readonly memoryMib: number;
}

/** What is measured now. */
export interface Wanted {
  readonly userland: boolean;
  readonly results: readonly string[];
}

export interface Earlier {
  readonly qemuVersion: string;
  readonly qemu: SideFigures;
  readonly native: SideFigures;
}

export async function readEarlier(path: string, now: Circumstances, wanted: Wanted): Promise<Earlier> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`The figures of an earlier run cannot be read: ${reason}`, { cause: error });
  }
  return earlierOf(text, path, now, wanted);
}

/** An Error with one sentence when the text is no report, or its figures do not fit. */
export function earlierOf(text: string, path: string, now: Circumstances, wanted: Wanted): Earlier {
  const report = record(parsed(text));
  const qemu = sideFigures(record(report['sides'])['qemu']);
  const native = sideFigures(record(report['sides'])['native']);
  const { qemu: qemuVersion } = report;
  if (qemu === undefined || native === undefined || typeof qemuVersion !== 'string') {
    throw new Error(`${path} is not a file that this benchmark wrote.`);
  }
  const then = { ...record(report['host']), ...record(report['image']) };
  for (const [name, value] of Object.entries(now)) {
    if (then[name] !== value) {
      throw new Error(
        `The figures in ${path} are of other circumstances: ${name} was ${String(then[name])}, now it is ${value}.`,
      );
    }
  }
  const missing = wanted.results.filter((name) => qemu.programs[name] === undefined);
  if (wanted.userland && qemu.userlandSeconds.length === 0) missing.unshift('userland');
  if (missing.length > 0) throw new Error(`${path} has no figure of QEMU for ${missing.join(', ')}.`);
  return { qemuVersion, qemu, native };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function sideFigures(value: unknown): SideFigures | undefined {
  const { userlandSeconds, programs, memory } = record(value);
  const readPrograms = entriesOf(programs, programFigures);
  const readMemory = entriesOf(memory, memoryFigures);
  if (!isNumbers(userlandSeconds) || readPrograms === undefined || readMemory === undefined) return undefined;
  return { userlandSeconds, programs: readPrograms, memory: readMemory };
}

/** Undefined when it is no record, or one of its values is not what it should be. */
function entriesOf<T>(value: unknown, read: (value: unknown) => T | undefined): Record<string, T> | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const entries: [string, T][] = [];
  for (const [name, each] of Object.entries(value)) {
    const figures = read(each);
    if (figures === undefined) return undefined;
    entries.push([name, figures]);
  }
  return Object.fromEntries(entries);
}

function programFigures(value: unknown): ProgramFigures | undefined {
  const { seconds, check, mips, instructions } = record(value);
  if (!isNumbers(seconds) || seconds.length === 0 || typeof check !== 'string') return undefined;
  return isNumbers(mips) && isNumbers(instructions) ? { seconds, check, mips, instructions } : undefined;
}

function memoryFigures(value: unknown): MemoryFigures | undefined {
  const { results, peakResidentBytes, guestBytes } = record(value);
  if (!Array.isArray(results) || !results.every((name) => typeof name === 'string')) return undefined;
  if (!isNumbers(peakResidentBytes) || peakResidentBytes.length === 0 || !isNumbers(guestBytes)) return undefined;
  return { results, peakResidentBytes, guestBytes };
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'number' && each >= 0);
}
