/** `ringfence top`: what machines take of the processors and of the memory. */

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostMemory, UsageView } from '@ringfence/api';
import { formatSize } from '@ringfence/core/sizes';
import { connectDaemon } from '@ringfence/host/daemon-client';
import { timeLimit } from '../../durations.ts';
import { EXIT } from '../../exit-codes.ts';
import { CliError, plainText } from '../../failure.ts';
import { listenForSignals } from '../../node/interruption.ts';
import { textTable } from '../../text-table.ts';
import type { Shape } from './report.ts';

/** Between two looks, for who asks once. */
const SAMPLE_MS = 1000;

export interface TopOptions extends Shape {
  readonly every?: string;
}

interface Sampled extends UsageView {
  /** Of one processor, since the last look. */
  readonly cpuPercent: number;
}

export async function top({ every, json }: TopOptions): Promise<number> {
  const everyMs = every === undefined ? SAMPLE_MS : timeLimit(every);
  if (typeof everyMs === 'string') throw new CliError(`--every "${every}" ${everyMs}`, EXIT.FAILED);
  const client = connectDaemon();
  const interruption = every === undefined ? undefined : listenForSignals();
  let before = await client.ask('vm.usage', {});
  do {
    await sleep(everyMs, undefined, interruption ? { signal: interruption.signal } : {}).catch(() => undefined);
    if (interruption?.signal.aborted === true) break;
    const [now, { memory }] = await Promise.all([client.ask('vm.usage', {}), client.ask('host.inspect', {})]);
    const machines = now.map((each) => ({
      ...each,
      cpuPercent: share(
        before.find(({ id }) => id === each.id),
        each,
      ),
    }));
    process.stdout.write(json === true ? `${JSON.stringify({ machines, memory })}\n` : topText(machines, memory));
    before = now;
  } while (every !== undefined);
  return EXIT.OK;
}

export function topText(machines: readonly Sampled[], host: HostMemory): string {
  const processors = textTable(
    ['NAME', 'STATE', 'CPU', 'DEMAND', 'USED', 'STEAL', 'WAIT', 'PROCESS', 'INSTRUCTIONS'],
    machines.map(({ name, state, cpu, cpuPercent, residentBytes, instructions }) => [
      name,
      state,
      `${cpuPercent} %`,
      ...[cpu?.demand, cpu?.used, cpu?.steal, cpu?.wait].map((each) =>
        each === undefined ? '-' : `${Math.round(each)} %`,
      ),
      formatSize(residentBytes),
      String(instructions),
    ]),
  );
  const memory = textTable(
    'MEMORY LABEL OF GUEST MAY ZERO SHARED SAVED BALLOON PACKED PAGED RESERVED LIMIT SHARES NOW'.split(' '),
    [
      ...machines.map((machine) => memoryRow(machine)),
      [
        '(host)',
        '-',
        formatSize(host.configuredBytes),
        formatSize(host.guestResidentBytes),
        formatSize(host.capacityBytes),
        ...pagesOf(host),
        formatSize(host.reservedBytes),
        '-',
        '-',
        '-',
      ],
    ],
  );
  const problems = machines.flatMap(({ name, memory: of }) =>
    of?.pool?.problem === undefined ? [] : [`"${name}" cannot page out: ${plainText(of.pool.problem)}\n`],
  );
  return `${processors}\n${memory}${problems.join('')}`;
}

function memoryRow({ name, label, memoryBytes, guestResidentBytes, memory }: UsageView): string[] {
  const { pool } = memory ?? {};
  // What is over its own limit goes, however much there is.
  const isAtLimit = pool?.state === 'high' && guestResidentBytes >= NEAR * (pool.limitBytes ?? Infinity);
  return [
    name,
    label ?? '-',
    formatSize(memoryBytes),
    formatSize(guestResidentBytes),
    pool === undefined ? '-' : formatSize(pool.bytes),
    ...(memory === undefined ? Array<string>(6).fill('-') : pagesOf(memory)),
    pool === undefined ? '-' : formatSize(pool.reservationBytes),
    pool?.limitBytes === undefined ? '-' : formatSize(pool.limitBytes),
    pool === undefined ? '-' : String(pool.shares),
    pool === undefined ? '-' : isAtLimit ? 'limit' : DOES[pool.state],
  ];
}

/** Of its limit: one that has so much of it is kept there. */
const NEAR = 0.97;
/** What is done to a machine that is to have less. */
const DOES = {
  high: '-',
  share: 'share',
  balloon: 'balloon',
  compress: 'compress',
  'page-out': 'page out',
  full: 'wait',
} as const;

function pagesOf(
  of: Pick<HostMemory, 'zeroBytes' | 'sharedBytes' | 'savedBytes' | 'balloonBytes' | 'compressedBytes' | 'pagedBytes'>,
): string[] {
  const { zeroBytes, sharedBytes, savedBytes, balloonBytes, compressedBytes, pagedBytes } = of;
  return [zeroBytes, sharedBytes, savedBytes, balloonBytes, compressedBytes, pagedBytes].map((bytes) =>
    bytes === 0 ? '-' : formatSize(bytes),
  );
}

function share(before: UsageView | undefined, now: UsageView): number {
  if (before === undefined) return 0;
  const passedMs = Date.parse(now.at) - Date.parse(before.at);
  return passedMs <= 0 ? 0 : Math.max(0, Math.round((100 * (now.cpuMs - before.cpuMs)) / passedMs));
}
