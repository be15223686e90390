/**
 * Machines of a daemon that use twice the memory there is for them (docs/memory.md): `npm run bench:daemon-overcommit`. Each fills its memory with data of
 * its own, half of it noise and half of it text, and then reads all of it again and again while the others do the same. A line each second says what `top`
 * has for all of them; in the end it is said when each means was used first; all four have to be, in their order, and every machine has to read what it wrote, or this fails.
 */

import process from 'node:process';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import type { HostMemory, UsageView } from '@ringfence/api';
import { RealDaemon } from '../testing/daemon.ts';
import { calm, type Means, MEANS, whyNotInOrder } from './means.ts';
import { overcommitWork } from './overcommit-work.ts';

const MIB = 1024 ** 2;
const LOOK_MS = 250;

const values = scriptOptions(
  'npm run bench:daemon-overcommit --',
  'Machines of a daemon that use twice the memory there is for them.',
  {
    machines: { default: 4, says: 'so many' },
    memory: { default: '224M', word: 'SIZE', says: 'of each machine' },
    data: { default: 112, says: 'MiB that each fills' },
    pool: { default: '256M', word: 'SIZE', says: 'of memory for all' },
    rounds: { default: 3, says: 'times that it is read' },
  },
);
const startMs = performance.now();
const since = (): string => ((performance.now() - startMs) / 1000).toFixed(1).padStart(5);
const mib = (bytes: number): string => (bytes / MIB).toFixed(0).padStart(7);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

await using daemon = new RealDaemon();
await daemon.start('--memory', values.pool);
const names = Array.from({ length: values.machines }, (_, index) => `vm${index + 1}`);
for (const name of names) {
  await daemon.create(name, { memory: values.memory, overcommit: {} });
  await daemon.client.run('vm.start', { vm: name });
}
say(
  `${names.length} machines of ${values.memory} have booted, and may have ${values.pool} together, after ${since()} s`,
);
// Booting takes more at times than there is: what is used then is no order of first use.
await calm(async () =>
  (await daemon.client.ask('vm.usage', {})).every(({ memory }) => (memory?.pool?.state ?? 'high') === 'high'),
);
say('    s   guest    zero   saved balloon  packed   paged   pools | in MiB; what is done');

/** When each means was used first since all had booted, and the most that there was of it at a time. */
const first = new Map<Means, string>();
const most: Record<Means, number> = { share: 0, balloon: 0, compress: 0, 'page out': 0 };
let [inUse, poolsBytes, shown] = [0, 0, 0];
let before = new Map<string, number>();
const atStart = await daemon.client.ask('vm.usage', {});
const balloonsAtStart = atStart.reduce((sum, { memory }) => sum + (memory?.balloonBytes ?? 0), 0);
const counted = (usages: readonly UsageView[], of: 'merged' | 'packs' | 'pageOuts'): number =>
  usages.reduce((sum, { memory }) => sum + (memory?.pool?.[of] ?? 0), 0);

function looked(usages: readonly UsageView[], host: HostMemory): void {
  const used: Readonly<Record<Means, readonly [isUsed: boolean, bytes: number]>> = {
    share: [counted(usages, 'merged') > counted(atStart, 'merged'), host.savedBytes + host.zeroBytes],
    balloon: [host.balloonBytes > balloonsAtStart, host.balloonBytes],
    compress: [counted(usages, 'packs') > counted(atStart, 'packs'), host.compressedBytes],
    'page out': [counted(usages, 'pageOuts') > counted(atStart, 'pageOuts'), host.pagedBytes],
  };
  for (const name of MEANS) {
    const [isUsed, bytes] = used[name];
    if (isUsed && !first.has(name)) first.set(name, since());
    most[name] = Math.max(most[name], bytes);
  }
  inUse = Math.max(inUse, host.guestResidentBytes + host.compressedBytes + host.pagedBytes);
  const now = new Map(usages.map(({ name, memory }) => [name, memory?.pool?.bytes ?? 0]));
  // They are asked one after the other: between two answers one may have become smaller, and another larger by that.
  const pools = [...now].reduce((sum, [name, bytes]) => sum + Math.min(bytes, before.get(name) ?? 0), 0);
  before = now;
  poolsBytes = Math.max(poolsBytes, pools);
  if (performance.now() - shown < 1000) return;
  shown = performance.now();
  const figures = [host.guestResidentBytes, host.zeroBytes, host.savedBytes, host.balloonBytes];
  const away = [host.compressedBytes, host.pagedBytes, pools];
  const states = usages.map(({ memory }) => memory?.pool?.state ?? '-');
  say(`${since()} ${[...figures, ...away].map(mib).join(' ')} | ${states.join(' ')}`);
}

const work = Promise.all(
  names.map((name) => daemon.exec(name, 'sh', '-c', overcommitWork(values.data, values.rounds))),
);
let isOver = false;
const watching = (async () => {
  while (!isOver) {
    const [usages, { memory }] = await Promise.all([
      daemon.client.ask('vm.usage', {}),
      daemon.client.ask('host.inspect', {}),
    ]);
    looked(usages, memory);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
})();
const results = await work;
isOver = true;
await watching;
say(`\n${(await daemon.ringfence('top')).stdout.toString()}`);
const end = await daemon.client.ask('vm.usage', {});
const { memory } = await daemon.client.ask('host.inspect', {});
const times = inUse / memory.capacityBytes;
say(
  `all had finished after ${since().trim()} s; in use at most ${mib(inUse).trim()} MiB, ${times.toFixed(1)} times what they may have;`,
);
say(`their pools together were ${mib(poolsBytes).trim()} MiB at most, of ${mib(memory.capacityBytes).trim()}`);
say('means in the order of their first use:');
const done: Readonly<Record<Means, string>> = {
  share: `${counted(end, 'merged')} pages got the frame of others or that of zeros`,
  balloon: 'given by guests',
  compress: `${counted(end, 'packs')} pages packed`,
  'page out': `${counted(end, 'pageOuts')} pages written`,
};
for (const [name, at] of first)
  say(`  ${name.padEnd(9)} after ${at} s: ${mib(most[name]).trim()} MiB at most; ${done[name]}`);
const right = results.filter((said) => said === 'same').length;
say(`${right} of ${results.length} machines finished their work and read every byte as they wrote it`);
for (const said of results) if (said !== 'same') say(`one ended its work otherwise: ${said}`);
const disorder = whyNotInOrder([...first.keys()]);
const wanted = [
  [`all finish, no wrong byte: ${right} of ${results.length}`, right === results.length],
  [`at least twice what they may have in use: ${times.toFixed(2)} times`, times >= 2],
  [
    `pools within what they may have: ${mib(poolsBytes).trim()} of ${mib(memory.capacityBytes).trim()} MiB`,
    poolsBytes <= memory.capacityBytes,
  ],
  [`share, balloon, compress, page out, in this order: ${disorder ?? 'so they were used'}`, disorder === undefined],
] as const;
for (const [what, isMet] of wanted) say(`${isMet ? 'met   ' : 'MISSED'} ${what}`);
process.exitCode = wanted.every(([, isMet]) => isMet) ? 0 : 1;
