/**
 * Whether machines have of the processors what was asked for (docs/processors.md): `npm run bench:shares`. Machines with busy guests, each in a
 * process of its own under one daemon, have settings changed while they run; what a process has used is what the kernel says of it.
 *
 *     shares        1 : 2 : 4 of one processor
 *     limit         one of three is limited
 *     reservation   one with a thousandth of the others' shares has more than half reserved
 *     bucket        one has so much of each interval, when its burst is used up
 *     threads       three machines of one thread, forks of each other, 1 : 2 : 4
 *
 * A line for each figure says whether it is met. Ends with 1 when something differs by more than 3 % of what was asked.
 */

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import type { ProcessorChange } from '@ringfence/api';
import { VM } from '@ringfence/host';
import { RealDaemon } from '../testing/daemon.ts';
import { processorTicks, TICKS_PER_SECOND } from '../testing/processor-time.ts';

/** Percent of what was asked. */
const TOLERANCE = 3;
/** Over which it is wanted. */
const WANTED_SECONDS = 30;
/** Until what is measured has settled: bursts are used up, the daemon has looked. */
const SETTLE_MS = 4000;
/** Percent of one processor that machines may have together. */
const CAPACITY = 100;
const NAMES = ['one', 'two', 'three'] as const;
const BUSY = 'i=0; while :; do i=$((i+1)); done';

interface Round {
  readonly name: string;
  readonly settings: readonly ProcessorChange[];
  /** Percent of one processor each. */
  readonly asked: readonly number[];
}

const none: ProcessorChange = { shares: null, reservation: null, limit: null, bucket: null };

const ROUNDS: readonly Round[] = [
  {
    name: 'shares',
    settings: [{ shares: 1000 }, { shares: 2000 }, { shares: 4000 }],
    asked: [100 / 7, 200 / 7, 400 / 7],
  },
  { name: 'limit', settings: [{ limit: 20 }, {}, {}], asked: [20, 40, 40] },
  { name: 'reservation', settings: [{ shares: 1, reservation: 60 }, {}, {}], asked: [60, 20, 20] },
  {
    name: 'bucket',
    settings: [{ bucket: { fill: 30, interval: 200, burst: 300 } }, {}, {}],
    asked: [15, 42.5, 42.5],
  },
];

const values = scriptOptions('npm run bench:shares --', 'Whether machines have of the processors what was asked for.', {
  seconds: { default: WANTED_SECONDS, says: 'of each figure' },
  only: { says: 'these figures alone, separated by commas' },
});
const seconds = values.seconds;
const isWanted = (name: string): boolean => values.only?.split(',').includes(name) ?? true;
let isRight = true;

function tell(round: string, name: string, asked: number, got: number): void {
  const deviation = (100 * (got - asked)) / asked;
  const isMet = Math.abs(deviation) <= TOLERANCE;
  isRight &&= isMet;
  const figures = [`asked ${asked.toFixed(1)} %`, `got ${got.toFixed(1)} %`, `deviation ${deviation.toFixed(1)} %`];
  const line = `${round.padEnd(12)} ${name.padEnd(6)} ${figures.map((each) => each.padEnd(18)).join(' ')}`;
  process.stdout.write(`${isMet ? 'met   ' : 'MISSED'} ${line.trimEnd()}\n`);
}

/** Seconds of processor time that a process has had. */
function usedBy(pid: number): number {
  return processorTicks(pid) / TICKS_PER_SECOND;
}

async function rounds(wanted: readonly Round[]): Promise<void> {
  await using daemon = new RealDaemon();
  await daemon.start('--cpu', String(CAPACITY));
  const pids: number[] = [];
  for (const name of NAMES) {
    await daemon.create(name);
    await daemon.client.run('vm.start', { vm: name });
    pids.push((await daemon.machine(name)).pid ?? 0);
    await daemon.exec(name, 'sh', '-c', `(${BUSY}) > /dev/null 2>&1 &`);
  }
  for (const { name: round, settings, asked } of wanted) {
    for (const [index, vm] of NAMES.entries()) await daemon.client.ask('vm.cpu', { vm, ...none, ...settings[index] });
    await sleep(SETTLE_MS);
    const [start, before] = [performance.now(), pids.map(usedBy)];
    await sleep(1000 * seconds);
    const passed = (performance.now() - start) / 1000;
    for (const [index, pid] of pids.entries())
      tell(round, NAMES[index] ?? '', asked[index] ?? 0, (100 * (usedBy(pid) - (before[index] ?? 0))) / passed);
  }
  for (const vm of NAMES) await daemon.client.run('vm.stop', { vm, timeoutMs: 0 });
}

/** Machines that take turns on this thread. */
async function threads(): Promise<void> {
  await using parent = await VM.start({ image: 'tiny', memory: '128M', network: 'none', reachable: false });
  const forks = await parent.fork({ count: 2 });
  const machines = [parent, ...forks];
  for (const [index, vm] of machines.entries()) {
    vm.processors.set({ shares: 1000 * 2 ** index });
    await vm.exec(['sh', '-c', `(${BUSY}) > /dev/null 2>&1 &`]);
  }
  await sleep(SETTLE_MS);
  const used = (): number[] => machines.map((vm) => vm.processors.threadMs);
  const before = used();
  await sleep(1000 * seconds);
  const had = used().map((ms, index) => ms - (before[index] ?? 0));
  const all = had.reduce((sum, each) => sum + each, 0);
  for (const [index, each] of had.entries())
    tell('threads', NAMES[index] ?? '', (100 * 2 ** index) / 7, (100 * each) / all);
  for (const fork of forks) await fork.kill();
}

const wanted = ROUNDS.filter(({ name }) => isWanted(name));
if (wanted.length > 0) await rounds(wanted);
if (isWanted('threads')) await threads();
process.stdout.write(
  `${isRight ? 'met   ' : 'MISSED'} all within ${TOLERANCE} % of what was asked, over ${seconds} s${seconds < WANTED_SECONDS ? `; wanted over ${WANTED_SECONDS} s` : ''}\n`,
);
process.exit(isRight ? 0 : 1);
