/**
 * Machines that use twice the memory there is for them (docs/memory.md): `npm run bench:overcommit`. Each fills its memory with data of its own, half of it
 * noise and half of it text, and then reads all of it again and again while the others do the same. A line each second says what the pool does; in the
 * end it is said when each means was used first; all four have to be, in their order, and every machine has to read what it wrote, or this fails.
 */

import process from 'node:process';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { VM, VMDomain } from '@ringfence/host';
import { calm, type Means, whyNotInOrder } from './means.ts';
import { overcommitWork } from './overcommit-work.ts';

const MIB = 1024 ** 2;
const LOOK_MS = 100;

const values = scriptOptions('npm run bench:overcommit --', 'Machines that use twice the memory there is for them.', {
  machines: { default: 4, says: 'so many' },
  memory: { default: '192M', word: 'SIZE', says: 'of each machine' },
  data: { default: 96, says: 'MiB that each fills' },
  pool: { default: '192M', word: 'SIZE', says: 'of memory for all' },
  rounds: { default: 3, says: 'times that it is read' },
});
const count = values.machines;
const startMs = performance.now();
const mib = (bytes: number): string => (bytes / MIB).toFixed(0).padStart(5);
const since = (): string => ((performance.now() - startMs) / 1000).toFixed(1);
const seconds = (): string => ((performance.now() - startMs) / 1000).toFixed(0).padStart(4);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const work = overcommitWork(values.data, values.rounds);
await using domain = await VMDomain.create({
  label: 'bench',
  memory: values.pool,
  log: { log: (_level, _area, text) => say(text) },
});
const machines: VM[] = [];
for (let made = 0; made < count; made++)
  machines.push(await VM.start({ memory: values.memory, balloon: true, domain, label: 'bench', reachable: false }));
say(`${count} machines of ${values.memory} have booted in a pool of ${values.pool}, after ${seconds()} s`);
// Booting takes more at times than there is: what is used then is no order of first use.
await calm(() => domain.memory().pool?.state === 'high');
say(
  '   s   used shared balloon packed paged | per second: merged zeros packs unpacks outs ins | state (all in MiB or pages)',
);
let before = domain.memory();
/** Means that were used since all had booted, in the order of their first use, and when that was. */
const first = new Map<Means, string>();
let inUse = 0;
let last = performance.now();
/** Of each means, the most that there was at a time, in MiB. */
const most = { shared: 0, balloon: 0, packed: 0, paged: 0 };
const start = domain.memory();
const look = setInterval(() => {
  const { pool, sharing } = domain.counters();
  for (const [name, value, atStart] of [
    ['share', sharing.merged + sharing.zeros, start.sharing.merged + start.sharing.zeros],
    ['balloon', pool?.balloonBytes, start.pool?.balloonBytes],
    ['compress', pool?.packs, start.pool?.packs],
    ['page out', pool?.pageOuts, start.pool?.pageOuts],
  ] as const)
    if ((value ?? 0) > (atStart ?? 0) && !first.has(name)) first.set(name, since());
}, LOOK_MS);
const watch = setInterval(() => {
  const now = domain.memory();
  const { pool } = now;
  if (pool === undefined || before.pool === undefined) return;
  const elapsed = (performance.now() - last) / 1000;
  last = performance.now();
  const rate = (one: number, other: number): string => String(Math.round((one - other) / elapsed)).padStart(6);
  inUse = Math.max(inUse, now.pageBytes + (pool.packed + pool.paged) * 4096);
  most.shared = Math.max(most.shared, now.pageBytes - now.frameBytes);
  most.balloon = Math.max(most.balloon, pool.balloonBytes);
  most.packed = Math.max(most.packed, pool.packed * 4096);
  most.paged = Math.max(most.paged, pool.paged * 4096);
  say(
    `${seconds()} ${mib(pool.usedBytes)} ${mib(now.pageBytes - now.frameBytes)} ${mib(pool.balloonBytes)}   ${mib(pool.packed * 4096)} ${mib(pool.paged * 4096)} |       ` +
      `${rate(now.sharing.merged, before.sharing.merged)} ${rate(now.sharing.zeros, before.sharing.zeros)} ${rate(pool.packs, before.pool.packs)} ` +
      `${rate(pool.unpacks, before.pool.unpacks)} ${rate(pool.pageOuts, before.pool.pageOuts)} ${rate(pool.pageIns, before.pool.pageIns)} | ${pool.state} ${pool.waits}`,
  );
  before = now;
}, 1000);
const results = await Promise.all(machines.map((vm) => vm.exec(['sh', '-c', work])));
clearInterval(watch);
clearInterval(look);
const wrong = results.filter(({ code }) => code !== 0);
for (const { code, stdout, stderr } of wrong) say(`a machine ended its work with ${code}: ${stdout}${stderr}`);
const { pool, sharing } = domain.memory();
say(
  `all had finished after ${seconds()} s; in use at most ${mib(inUse).trim()} MiB, ${(inUse / (pool?.poolBytes ?? 1)).toFixed(1)} times the pool; ${pool?.waits} waits`,
);
const figures: Readonly<Record<Means, string>> = {
  share: `${mib(most.shared).trim()} MiB saved at most; ${sharing.merged} pages got the frame of others and ${sharing.zeros} that of zeros`,
  balloon: `${mib(most.balloon).trim()} MiB given at most`,
  compress: `${mib(most.packed).trim()} MiB packed at most; ${pool?.packs} pages packed, ${pool?.unpacks} unpacked`,
  'page out': `${mib(most.paged).trim()} MiB in the file at most; ${pool?.pageOuts} pages written, ${pool?.pageIns} read`,
};
say('means in the order of their first use:');
for (const [name, at] of first) say(`  ${name.padEnd(9)} after ${at.padStart(5)} s: ${figures[name]}`);
say(
  `${results.length - wrong.length} of ${results.length} machines finished their work and read every byte as they wrote it`,
);
await Promise.all(machines.map((vm) => vm.kill()));
const disorder = whyNotInOrder([...first.keys()]);
const wanted = [
  [`all finish, no wrong byte: ${results.length - wrong.length} of ${results.length}`, wrong.length === 0],
  [
    `at least twice the pool in use: ${(inUse / (pool?.poolBytes ?? 1)).toFixed(2)} times`,
    inUse >= 2 * (pool?.poolBytes ?? 0),
  ],
  [`share, balloon, compress, page out, in this order: ${disorder ?? 'so they were used'}`, disorder === undefined],
] as const;
for (const [what, isMet] of wanted) say(`${isMet ? 'met   ' : 'MISSED'} ${what}`);
process.exit(wanted.every(([, isMet]) => isMet) ? 0 : 1);
