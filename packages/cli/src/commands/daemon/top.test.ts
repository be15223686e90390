import type { HostMemory, UsageView } from '@ringfence/api';
import { expect, test } from 'vitest';
import { topText } from './top.ts';

const MiB = 2 ** 20;
const PAGES = { zeroBytes: 40 * MiB, sharedBytes: 6 * MiB, savedBytes: 3 * MiB, balloonBytes: 8 * MiB };
const COUNTS = { merged: 1, packs: 2, unpacks: 3, pageOuts: 4, pageIns: 5, waits: 6 };

const usage = (more: Partial<UsageView>): UsageView & { readonly cpuPercent: number } => ({
  id: 'id',
  name: 'web',
  state: 'running',
  at: '2026-11-26T12:00:00.000Z',
  cpuMs: 10,
  residentBytes: 300 * MiB,
  guestResidentBytes: 90 * MiB,
  memoryBytes: 192 * MiB,
  instructions: 12_345,
  cpu: { demand: 71.4, used: 40, steal: 31.4, wait: 0 },
  cpuPercent: 40,
  ...more,
});
const pool = { state: 'page-out' as const, bytes: 96 * MiB, targetBytes: 96 * MiB, usedBytes: 95 * MiB, machines: 1 };
const pooled = { ...pool, activeBytes: 50 * MiB, ...COUNTS, reservationBytes: 32 * MiB, shares: 2000 };
const HOST: HostMemory = {
  totalBytes: 8192 * MiB,
  capacityBytes: 192 * MiB,
  reservedBytes: 64 * MiB,
  configuredBytes: 512 * MiB,
  residentBytes: 700 * MiB,
  guestResidentBytes: 170 * MiB,
  ...PAGES,
  compressedBytes: 12 * MiB,
  pagedBytes: 0,
};

test('processors and memory are two tables, and the second one ends with the host', () => {
  const memory = { ...PAGES, compressedBytes: 12 * MiB, pagedBytes: 30 * MiB, pool: pooled };
  const whole = usage({ name: 'old', memory: undefined, cpu: undefined });
  const [processors = '', table = ''] = topText([usage({ memory, label: 'shop' }), whole], HOST).split('\n\n');
  expect(processors.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
    ['NAME', 'STATE', 'CPU', 'DEMAND', 'USED', 'STEAL', 'WAIT', 'PROCESS', 'INSTRUCTIONS'],
    ['web', 'running', '40 %', '71 %', '40 %', '31 %', '0 %', '300 MiB', '12345'],
    ['old', 'running', '40 %', '-', '-', '-', '-', '300 MiB', '12345'],
  ]);
  const words = 'MEMORY LABEL OF GUEST MAY ZERO SHARED SAVED BALLOON PACKED PAGED RESERVED LIMIT SHARES NOW';
  expect(
    table
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/)),
  ).toEqual([
    words.split(' '),
    ['web', 'shop', '192', '90', '96', '40', '6', '3', '8', '12', '30', '32']
      .map(mib)
      .concat(['-', '2000', 'page out']),
    ['old', '-', '192', '90'].map(mib).concat(Array<string>(11).fill('-')),
    ['(host)', '-', '512', '170', '192', '40', '6', '3', '8', '12'].map(mib).concat(['-', '64 MiB', '-', '-', '-']),
  ]);
});

test('one that is kept at its own limit, and one that cannot page out, are told', () => {
  const none = { ...PAGES, compressedBytes: 0, pagedBytes: 0 };
  const limited = { ...none, pool: { ...pooled, state: 'high' as const, limitBytes: 91 * MiB } };
  expect(topText([usage({ memory: limited })], HOST)).toMatch(/^web .* 91 MiB +2000 +limit$/m);
  const full = { ...none, pool: { ...pooled, state: 'full' as const, problem: 'the disk is full\u001b[2J' } };
  expect(topText([usage({ memory: full })], HOST)).toMatch(
    / 2000 +wait\n[^]*\n"web" cannot page out: the disk is full\?\[2J\n$/,
  );
});

function mib(word: string): string {
  return /^\d+$/.test(word) ? `${word} MiB` : word;
}
