/**
 * What was measured, before any arithmetic: per side (QEMU, an engine of Ringfence, this machine itself) lists with one figure per round.
 * This is what the JSON file keeps, and what an earlier file gives back.
 */

import type { CheckedRun } from './checks.ts';
import type { SuiteResult } from './guest-run.ts';
import type { Program } from './programs.ts';

/** Programs that run one after the other in one process. */
export interface Group {
  readonly name: string;
  readonly programs: readonly Program[];
}

/** The guest that only boots: start to userland is measured on it alone. */
export const BOOT_GROUP: Group = { name: 'booted', programs: [] };

/** One process. What there is none of (a machine without a guest has no userland) is not measured. */
export interface SideRun {
  readonly results: readonly SuiteResult[];
  readonly userlandSeconds?: number;
  readonly peakResidentBytes?: number;
  /** Frames that the guest ever touched, as Ringfence counts them. */
  readonly guestBytes?: number;
}

/** One run per round. */
export interface GroupRuns {
  readonly group: Group;
  readonly runs: readonly SideRun[];
}

export interface ProgramFigures {
  readonly seconds: readonly number[];
  /** Of the first round; that the others agree is looked at elsewhere. */
  readonly check: string;
  readonly mips: readonly number[];
  readonly instructions: readonly number[];
}

export interface MemoryFigures {
  /** Results of the group: peaks compare only where the same was run. */
  readonly results: readonly string[];
  readonly peakResidentBytes: readonly number[];
  readonly guestBytes: readonly number[];
}

export interface SideFigures {
  readonly userlandSeconds: readonly number[];
  /** By the name of the result. */
  readonly programs: Readonly<Record<string, ProgramFigures>>;
  /** By the name of the group. */
  readonly memory: Readonly<Record<string, MemoryFigures>>;
}

const present = (value: number | undefined): number[] => (value === undefined ? [] : [value]);

export function resultsOf(programs: readonly Program[]): string[] {
  return programs.flatMap(({ results }) => results);
}

export function figuresOf(groups: readonly GroupRuns[]): SideFigures {
  const boots = groups.find(({ group }) => group.name === BOOT_GROUP.name)?.runs ?? [];
  return {
    userlandSeconds: boots.flatMap(({ userlandSeconds }) => present(userlandSeconds)),
    programs: Object.fromEntries(groups.flatMap(programFigures)),
    memory: Object.fromEntries(groups.flatMap(memoryFigures)),
  };
}

function programFigures({ group, runs }: GroupRuns): [string, ProgramFigures][] {
  return resultsOf(group.programs).flatMap((name) => {
    const results = runs.flatMap((run) => run.results.filter((result) => result.name === name));
    const [first] = results;
    if (first === undefined) return [];
    const figures = {
      seconds: results.map(({ seconds }) => seconds),
      check: first.check,
      mips: results.flatMap(({ mips }) => present(mips)),
      instructions: results.flatMap(({ instructions }) => present(instructions)),
    };
    return [[name, figures]];
  });
}

function memoryFigures({ group, runs }: GroupRuns): [string, MemoryFigures][] {
  const peakResidentBytes = runs.flatMap((run) => present(run.peakResidentBytes));
  if (peakResidentBytes.length === 0) return [];
  const guestBytes = runs.flatMap((run) => present(run.guestBytes));
  return [[group.name, { results: resultsOf(group.programs), peakResidentBytes, guestBytes }]];
}

/** Every round of a side, for a look at its checks. */
export function checkedRuns(label: string, isNative: boolean, groups: readonly GroupRuns[]): CheckedRun[] {
  const rounds = Math.max(0, ...groups.map(({ runs }) => runs.length));
  return Array.from({ length: rounds }, (_, round) => ({
    label: `${label} (round ${round + 1})`,
    isNative,
    results: groups.flatMap(({ runs }) => runs[round]?.results ?? []),
  }));
}

/** An earlier file's checks. */
export function checkedFigures(label: string, isNative: boolean, { programs }: SideFigures): CheckedRun {
  return { label, isNative, results: Object.entries(programs).map(([name, { check }]) => ({ name, check })) };
}
