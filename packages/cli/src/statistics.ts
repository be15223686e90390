/**
 * The report of `--stats`: where the time went, in numbers. The machine's counters come as one flat record (Machine.statistics); those it
 * always has are sorted into groups here, and a name with dots brings its group along: `jit.codeBytes` is of the group "jit",
 * `jit.exits.interrupt` of "jit exits", where counters are causes and have shares. `TIER.instructions` is a tier's part of all instructions.
 */

import process from 'node:process';
import type { Machine } from '@ringfence/core';
import { formatSize } from '@ringfence/core/sizes';

/** What a run did and what it cost this process. */
export interface RunStatistics {
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly peakResidentBytes: number;
  readonly counters: Readonly<Record<string, number>>;
}

export interface ReportOptions {
  readonly stats?: boolean | undefined;
  readonly json?: boolean | undefined;
}

interface Line {
  readonly name: string;
  readonly value: string;
  /** Of its group, 0 to 1. */
  readonly share?: number;
}

interface Group {
  readonly title: string;
  readonly lines: readonly Line[];
}

const INSTRUCTIONS = 'instructions';
const DOTLESS: readonly { readonly title: string; readonly names: readonly string[] }[] = [
  { title: 'exits', names: ['traps', 'interrupts', 'mmioAccesses', 'slowSteps'] },
  { title: 'address translation', names: ['tlbMisses', 'fetchMisses'] },
  { title: 'memory', names: ['residentBytes', 'ownBytes', 'codePages'] },
];
const UNITS: readonly { readonly suffix: string; readonly show: (value: number) => string }[] = [
  { suffix: 'Bytes', show: formatSize },
  { suffix: 'Ms', show: (value) => `${value.toLocaleString('en', { maximumFractionDigits: 1 })} ms` },
  { suffix: 'Us', show: (value) => `${value.toLocaleString('en', { maximumFractionDigits: 1 })} us` },
  { suffix: 'Ns', show: (value) => `${value.toLocaleString('en', { maximumFractionDigits: 0 })} ns` },
];
const ACRONYMS = new Set(['tlb', 'mmio', 'csr', 'pc']);

/** What `--stats` writes to stderr when the machine has ended; empty without it. */
export function statisticsReport(
  machine: Pick<Machine, 'statistics'>,
  runMs: number,
  { stats, json }: ReportOptions,
): string {
  if (stats !== true) return '';
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const statistics: RunStatistics = {
    seconds: runMs / 1000,
    processorSeconds: (userCPUTime + systemCPUTime) / 1e6,
    peakResidentBytes: maxRSS * 1024,
    counters: machine.statistics(),
  };
  return json === true ? `${JSON.stringify(statistics)}\n` : statisticsText(statistics);
}

export function statisticsText(statistics: RunStatistics): string {
  const groups = groupsOf(statistics);
  const lines = groups.flatMap((group) => group.lines);
  const nameWidth = Math.max(...lines.map(({ name }) => name.length));
  const valueWidth = Math.max(...lines.map(({ value }) => value.length));
  const row = ({ name, value, share }: Line): string => {
    const percent = share === undefined ? '' : `${(share * 100).toFixed(1)} %`.padStart(9);
    return `  ${name.padEnd(nameWidth)}  ${value.padStart(valueWidth)}${percent}\n`;
  };
  return groups.map(({ title, lines: rows }) => `${title}\n${rows.map(row).join('')}`).join('');
}

function groupsOf({ seconds, processorSeconds, peakResidentBytes, counters }: RunStatistics): Group[] {
  const names = Object.keys(counters);
  const dotted = names.filter((name) => name.includes('.') && !isOfTier(name));
  const known = new Set([INSTRUCTIONS, ...DOTLESS.flatMap((group) => group.names)]);
  const others = names.filter((name) => !name.includes('.') && !known.has(name));
  const plain = [...DOTLESS, { title: 'other', names: others }].map((group) => ({
    title: group.title,
    lines: group.names.flatMap((name) => plainLines(name, counters[name])),
  }));
  const all = counters[INSTRUCTIONS] ?? 0;
  const time: Group = {
    title: 'time',
    lines: [
      { name: 'of the machine', value: `${seconds.toFixed(2)} s` },
      { name: 'of the processor', value: `${processorSeconds.toFixed(2)} s` },
      { name: 'instructions per second', value: `${(seconds > 0 ? all / seconds / 1e6 : 0).toFixed(1)} M` },
      { name: 'peak resident memory', value: formatSize(peakResidentBytes) },
    ],
  };
  return [time, instructionGroup(counters), ...plain, ...dottedGroups(dotted, counters)].filter(
    ({ lines }) => lines.length > 0,
  );
}

function plainLines(name: string, value: number | undefined): Line[] {
  return value === undefined ? [] : [lineOf(name, value)];
}

function lineOf(name: string, value: number): Line {
  const unit = UNITS.find(({ suffix }) => name.endsWith(suffix));
  if (unit === undefined) return { name: words(name), value: value.toLocaleString('en') };
  return { name: words(name.slice(0, -unit.suffix.length)), value: unit.show(value) };
}

/** `jit.instructions`, not `jit.exits.instructions`. */
function isOfTier(name: string): boolean {
  return name.endsWith(`.${INSTRUCTIONS}`) && name.split('.').length === 2;
}

/** All of them, and by tier where tiers count: what no tier counted, the interpreter did. */
function instructionGroup(counters: RunStatistics['counters']): Group {
  const all = counters[INSTRUCTIONS] ?? 0;
  const tiers = Object.entries(counters).filter(([name]) => isOfTier(name));
  const rest = all - tiers.reduce((sum, [, value]) => sum + value, 0);
  const line = (tier: string, value: number): Line => ({
    name: tier,
    value: value.toLocaleString('en'),
    share: all === 0 ? 0 : value / all,
  });
  const hasInterpreter = tiers.some(([name]) => name === `interpreter.${INSTRUCTIONS}`);
  const byTier = tiers.map(([name, value]) => line(words(name.split('.')[0] ?? ''), value));
  return {
    title: INSTRUCTIONS,
    lines: [
      { name: 'all', value: all.toLocaleString('en') },
      ...(tiers.length > 0 && !hasInterpreter ? [line('interpreter', Math.max(0, rest))] : []),
      ...byTier,
    ],
  };
}

function dottedGroups(names: readonly string[], counters: RunStatistics['counters']): Group[] {
  const groups = Map.groupBy(names, (name) => name.slice(0, name.lastIndexOf('.')));
  return [...groups].map(([path, members]) => {
    const entries = members.map((name): [string, number] => [name.slice(path.length + 1), counters[name] ?? 0]);
    const title = path.split('.').map(words).join(' ');
    return path.includes('.')
      ? { title, lines: shares(entries) }
      : { title, lines: entries.map(([n, v]) => lineOf(n, v)) };
  });
}

/** Causes of one thing: the most frequent one first. */
function shares(entries: readonly [string, number][]): Line[] {
  const sum = entries.reduce((total, [, value]) => total + value, 0);
  return entries
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, value]) => ({ ...lineOf(name, value), share: sum === 0 ? 0 : value / sum }));
}

/** tlbMisses -> TLB misses */
function words(name: string): string {
  return name
    .replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    .split(' ')
    .map((word) => (ACRONYMS.has(word) ? word.toUpperCase() : word))
    .join(' ');
}
