/**
 * What forks of a booted machine take (docs/forks.md): `npm run bench:fork`. Boots `tiny` once and forks it
 *
 *     one at a time     until the fork's harts may execute, and how long the parent stands still
 *     and keeps them    what an idle one takes of memory and processor, batch by batch; whether time for each stays flat: of the first batch and the last, and
 *                       until one answers a command, alone and beside all the others
 *     many at once      until all have answered a command
 */

import process from 'node:process';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { VM } from '@ringfence/host';
import { median } from './statistics.ts';

const MIB = 1024 ** 2;
/** Forks of one batch of idle ones, and how long they are left alone before they are looked at. */
const BATCH = 100;
const SETTLE_MS = 3000;
const WATCH_MS = 10_000;

const values = scriptOptions('npm run bench:fork --', 'What forks of a booted machine take.', {
  memory: { default: '512M', word: 'SIZE', says: 'of the machine' },
  singles: { default: 20, says: 'forks one at a time' },
  forks: { default: 100, says: 'forks at once' },
  idle: { default: 1000, says: 'forks that are kept' },
});
const [singles, many, idle] = [values.singles, values.forks, values.idle];

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

/** Until forks answer another command, one after the other. */
async function untilAnswered(forks: readonly VM[]): Promise<string> {
  const took: number[] = [];
  for (const fork of forks) {
    const start = performance.now();
    await fork.exec(['true']);
    took.push(performance.now() - start);
  }
  return spread(took);
}

const kept: VM[] = [];
const untilReady: number[] = [];
const asked = Math.max(1, singles);
if (idle > 0) {
  const alone = await parent.fork();
  await Promise.all(alone.map((fork) => fork.ready()));
  say('a fork answers a command, alone', await untilAnswered(Array.from({ length: asked }, () => alone).flat()));
  await endAll(alone);
}
const before = process.memoryUsage.rss();
for (let made = 0; made < idle; made += BATCH) {
  const count = Math.min(BATCH, idle - made);
  const [start, startCpu] = [performance.now(), cpuMs()];
  const forks = await parent.fork({ count });
  await Promise.all(forks.map((fork) => fork.ready()));
  kept.push(...forks);
  untilReady.push((performance.now() - start) / count);
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
  const [first = 0, last = 0] = [untilReady.at(0), untilReady.at(-1)];
  say(
    'time for each until ready: the first batch, the last',
    `${ms(first)}, ${ms(last)}, ${(last / first).toFixed(2)} times`,
  );
  const step = Math.ceil(kept.length / asked);
  const some = kept.filter((_fork, n) => n % step === 0);
  // Each has not been asked before: what it touches for the first time is copied.
  say(`a fork answers a command, beside ${kept.length} idle ones`, await untilAnswered(some));
  say('  another one', await untilAnswered(some));
  const start = performance.now();
  for (let from = 0; from < kept.length; from += BATCH)
    await Promise.all(kept.slice(from, from + BATCH).map((fork) => fork.exec(['true'])));
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
