/**
 * What forks of a booted machine take (docs/forks.md): `npm run bench:fork`. Boots `tiny` once and forks it
 *
 *     one at a time     until the fork's harts may execute, and how long the parent stands still
 *     and keeps them    what an idle one takes of memory and processor, batch by batch
 *     many at once      until all have answered a command
 *
 * Options: --memory SIZE, --singles N, --forks N, --idle N.
 */

import process from 'node:process';
import { parseArgs } from 'node:util';
import { VM } from '@ringfence/host';
import { median } from './statistics.ts';

const MIB = 1024 ** 2;
/** Forks of one batch of idle ones, and how long they are left alone before they are looked at. */
const BATCH = 100;
const SETTLE_MS = 3000;
const WATCH_MS = 10_000;

const { values } = parseArgs({
  options: {
    memory: { type: 'string', default: '512M' },
    singles: { type: 'string', default: '20' },
    forks: { type: 'string', default: '100' },
    idle: { type: 'string', default: '1000' },
  },
});
const [singles, many, idle] = [Number(values.singles), Number(values.forks), Number(values.idle)];

const say = (what: string, figure: string): void => void process.stdout.write(`${what.padEnd(58)} ${figure}\n`);
const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`;
const least = (list: readonly number[]): number => Math.min(...list);
const spread = (list: readonly number[]): string => `median ${ms(median(list))}, least ${ms(least(list))}`;
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const left = (forMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, forMs));
const counted = (vm: VM, name: string): number => vm.statistics()[name] ?? 0;

async function endAll(forks: readonly VM[]): Promise<void> {
  await Promise.all(forks.map((fork) => fork.kill()));
}

const parent = await VM.start({ image: 'tiny', memory: values.memory, reachable: false });
await parent.exec(['true']);

const running: number[] = [];
const pauses: number[] = [];
const answers: number[] = [];
for (let round = 0; round < singles; round++) {
  const start = performance.now();
  const forks = await parent.fork();
  running.push(performance.now() - start);
  pauses.push(parent.forkPauseMs);
  await Promise.all(forks.map((fork) => fork.exec(['true'])));
  answers.push(performance.now() - start);
  await endAll(forks);
}
say('one fork, until it runs', spread(running));
say('  its parent stands still for', spread(pauses));
say('  until it has answered a command', spread(answers));

const kept: VM[] = [];
const before = process.memoryUsage.rss();
for (let made = 0; made < idle; made += BATCH) {
  const count = Math.min(BATCH, idle - made);
  const [start, startCpu] = [performance.now(), cpuMs()];
  const forks = await parent.fork({ count });
  await Promise.all(forks.map((fork) => fork.ready()));
  kept.push(...forks);
  const [took, cpu] = [(performance.now() - start) / count, (cpuMs() - startCpu) / count];
  await left(SETTLE_MS);
  const each = (process.memoryUsage.rss() - before) / kept.length / MIB;
  const own = kept.reduce((sum, vm) => sum + counted(vm, 'ownBytes'), 0) / kept.length / MIB;
  say(
    `idle forks: ${kept.length}`,
    `${ms(took)} each until ready (${ms(cpu)} of processor), ${each.toFixed(2)} MiB each, ${own.toFixed(2)} of them frames`,
  );
}
if (kept.length > 0) {
  await left(WATCH_MS);
  const startCpu = cpuMs();
  await left(WATCH_MS);
  say('an idle fork takes of a processor', `${(((cpuMs() - startCpu) / WATCH_MS / kept.length) * 100).toFixed(3)} %`);
  const start = performance.now();
  for (let first = 0; first < kept.length; first += BATCH)
    await Promise.all(kept.slice(first, first + BATCH).map((fork) => fork.exec(['true'])));
  say(`all ${kept.length} answer a command`, `${ms((performance.now() - start) / kept.length)} each`);
  say('memory of the process', `${(process.memoryUsage.rss() / MIB).toFixed(0)} MiB`);
}
await endAll(kept);

const manyRounds: number[] = [];
const manyPauses: number[] = [];
const manyCpu: number[] = [];
for (let round = 0; round < 3; round++) {
  const [start, startCpu] = [performance.now(), cpuMs()];
  const forks = await parent.fork({ count: many });
  manyPauses.push(parent.forkPauseMs);
  const results = await Promise.all(forks.map((fork) => fork.exec(['hostname'])));
  manyRounds.push(performance.now() - start);
  manyCpu.push(cpuMs() - startCpu);
  if (new Set(results.map(({ stdout }) => stdout)).size !== many) throw new Error('a fork gave another one’s name');
  await endAll(forks);
}
say(`${many} forks, until all have answered a command`, spread(manyRounds));
say('  processor time of that, all threads', spread(manyCpu));
say('  their parent stands still for', spread(manyPauses));

await parent.kill();
process.exit(0);
