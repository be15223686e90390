/**
 * As many machines as there can be, held by one daemon (docs/forks.md): `npm run bench:daemon-many`. One machine is forked through the daemon again and again;
 * each fork is a machine of the daemon's, which lists it, waits for its end and has it answer. Ends with 1 when one of them does not run, or does not answer with its own name.
 */

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { RealDaemon } from '../testing/daemon.ts';
import { processorTicks, TICKS_PER_SECOND } from '../testing/processor-time.ts';
import { say } from './first-output.ts';

/** How long processors' use is watched when nobody asks for anything. */
const IDLE_MS = 10_000;

const values = scriptOptions(
  'npm run bench:daemon-many --',
  'As many forks of a machine as there can be, held by one daemon.',
  {
    memory: { default: '512M', word: 'SIZE', says: 'of the machine' },
    count: { default: 1000, says: 'forks' },
    'at-once': { default: 100, says: 'forks that are made at once' },
  },
);
const [wanted, atOnce] = [values.count, values['at-once']];

await using daemon = new RealDaemon();
await daemon.start();
await daemon.create('warm', { memory: values.memory });
await daemon.client.run('vm.start', { vm: 'warm' });
await daemon.exec('warm', 'echo', 'warm');
const { pid = 0 } = await daemon.machine('warm');

const names: string[] = [];
const perHundred: string[] = [];
while (names.length < wanted) {
  const count = Math.min(atOnce, wanted - names.length);
  const startMs = performance.now();
  const { made = [] } = await daemon.client.run('vm.fork', { vm: 'warm', count });
  names.push(...made);
  const eachMs = (performance.now() - startMs) / count;
  perHundred.push(eachMs.toFixed(0));
  process.stderr.write(`${names.length} forks, ${eachMs.toFixed(1)} ms for each of these\n`);
}
process.stdout.write(`a fork until it takes commands, ${atOnce} after ${atOnce}: ${perHundred.join(', ')} ms\n`);

const askMs = performance.now();
const { forks = [] } = await daemon.machine('warm');
const running = forks.filter(({ state }) => state === 'running').length;
process.stdout.write(
  `the daemon knows ${forks.length}, ${running} of them running, in ${(performance.now() - askMs).toFixed(0)} ms\n`,
);
if (running !== wanted) process.exitCode = 1;
const [before, daemonBefore] = [processorMs(pid), processorMs(daemon.pid)];
await sleep(IDLE_MS);
const share = (ms: number): string => `${((100 * ms) / IDLE_MS).toFixed(1)} %`;
process.stdout.write(
  `nobody asks for anything: their process has ${share(processorMs(pid) - before)} of a processor and ${memoryMiB(pid)} MiB, the daemon ${share(processorMs(daemon.pid) - daemonBefore)} and ${memoryMiB(daemon.pid)} MiB (${availableParallelism()} processors)\n`,
);

const answers: number[] = [];
for (const name of names) {
  const startMs = performance.now();
  const said = await daemon.exec(name, 'hostname');
  answers.push(performance.now() - startMs);
  if (said === name) continue;
  process.stderr.write(`${name} answers "${said}"\n`);
  process.exitCode = 1;
}
say(`each of ${names.length} answers a command`, answers);

function processorMs(of = 0): number {
  return (1000 / TICKS_PER_SECOND) * processorTicks(of);
}

function memoryMiB(of = 0): number {
  const [, kib = '0'] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${of}/status`, 'utf8')) ?? [];
  return Math.round(Number(kib) / 1024);
}
