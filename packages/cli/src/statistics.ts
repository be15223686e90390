/** The report of `--stats`: where the time went, in numbers. */

import process from 'node:process';
import type { Machine } from '@ringfence/core';
import { formatSize } from '@ringfence/core/sizes';

export function statisticsReport(machine: Pick<Machine, 'statistics'>, runMs: number): string {
  const counters = machine.statistics();
  const rows = Object.entries(counters).map(([name, value]): [string, string] => [
    words(name),
    name.endsWith('Bytes') ? formatSize(value) : value.toLocaleString('en'),
  ]);
  const mips = (counters['instructions'] ?? 0) / (runMs * 1000);
  const usage = process.resourceUsage();
  rows.push(
    ['seconds of the machine', (runMs / 1000).toFixed(2)],
    ['million instructions per second', mips.toFixed(1)],
    ['seconds of processor time', ((usage.userCPUTime + usage.systemCPUTime) / 1e6).toFixed(2)],
    ['peak resident memory', formatSize(usage.maxRSS * 1024)],
  );
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}

/** tlbMisses -> tlb misses, residentBytes -> resident */
function words(name: string): string {
  return name.replace(/Bytes$/, '').replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
