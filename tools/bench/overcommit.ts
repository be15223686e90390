/**
 * Machines that use twice the memory there is for them (docs/memory.md): `npm run bench:overcommit`. Each fills its memory with data of its own, half of it
 * noise and half of it text, and then reads all of it again and again while the others do the same. A line each second says what the pool does; in the
 * end every machine has read what it wrote, or this fails.
 *
 * Options: --machines N, --memory SIZE of each, --data MIB that each fills, --pool SIZE, --rounds N of reading.
 */

import process from 'node:process';
import { parseArgs } from 'node:util';
import { VM, VMDomain } from '@ringfence/host';

const MIB = 1024 ** 2;
const LOOK_MS = 100;

const { values } = parseArgs({
  options: {
    machines: { type: 'string', default: '4' },
    memory: { type: 'string', default: '192M' },
    data: { type: 'string', default: '96' },
    pool: { type: 'string', default: '192M' },
    rounds: { type: 'string', default: '3' },
  },
});
const count = Number(values.machines);
const half = Math.floor(Number(values.data) / 2);
const startMs = performance.now();
const mib = (bytes: number): string => (bytes / MIB).toFixed(0).padStart(5);
const seconds = (): string => ((performance.now() - startMs) / 1000).toFixed(0).padStart(4);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Fills two files in memory, says what they amount to, and then as often as it is told again. */
const WORK = `
mkdir -p /data && mount -t tmpfs -o size=90% none /data && cd /data || exit 1
name=$(hostname)
dd if=/dev/urandom of=noise bs=1M count=${half} 2>/dev/null || exit 1
i=0; while [ $i -lt 1024 ]; do echo "$name $i of $$"; i=$((i+1)); done > seed
while [ $(stat -c %s seed) -lt 1048576 ]; do cat seed seed > more; mv more seed; done
i=0; while [ $i -lt ${half} ]; do { head -c 1048560 seed; echo $i; } >> text || exit 1; i=$((i+1)); done
rm seed
first=$(cat noise text | sha256sum)
round=0; while [ $round -lt ${values.rounds} ]; do
  [ "$(cat noise text | sha256sum)" = "$first" ] || { echo "other bytes in round $round"; exit 2; }
  round=$((round+1))
done`;

await using domain = await VMDomain.create({
  label: 'bench',
  memory: values.pool,
  log: { log: (_level, _area, text) => say(text) },
});
const machines: VM[] = [];
for (let made = 0; made < count; made++)
  machines.push(await VM.start({ memory: values.memory, balloon: true, domain, label: 'bench', reachable: false }));
say(`${count} machines of ${values.memory} have booted in a pool of ${values.pool}, after ${seconds()} s`);
say(
  '   s   used shared balloon packed paged | per second: merged zeros packs unpacks outs ins | state (all in MiB or pages)',
);
let before = domain.memory();
const order: string[] = [];
let inUse = 0;
let last = performance.now();
/** Means that were used since all had booted, in the order of their first use. */
const start = domain.memory();
const look = setInterval(() => {
  const { pool, sharing } = domain.memory();
  for (const [name, value, first] of [
    ['share', sharing.merged + sharing.zeros, start.sharing.merged + start.sharing.zeros],
    ['balloon', pool?.balloonBytes, start.pool?.balloonBytes],
    ['compress', pool?.packs, start.pool?.packs],
    ['page out', pool?.pageOuts, start.pool?.pageOuts],
  ] as const)
    if ((value ?? 0) > (first ?? 0) && !order.includes(name)) order.push(name);
}, LOOK_MS);
const watch = setInterval(() => {
  const now = domain.memory();
  const { pool } = now;
  if (pool === undefined || before.pool === undefined) return;
  const elapsed = (performance.now() - last) / 1000;
  last = performance.now();
  const rate = (one: number, other: number): string => String(Math.round((one - other) / elapsed)).padStart(6);
  inUse = Math.max(inUse, now.pageBytes + (pool.packed + pool.paged) * 4096);
  say(
    `${seconds()} ${mib(pool.usedBytes)} ${mib(now.pageBytes - now.frameBytes)} ${mib(pool.balloonBytes)}   ${mib(pool.packed * 4096)} ${mib(pool.paged * 4096)} |       ` +
      `${rate(now.sharing.merged, before.sharing.merged)} ${rate(now.sharing.zeros, before.sharing.zeros)} ${rate(pool.packs, before.pool.packs)} ` +
      `${rate(pool.unpacks, before.pool.unpacks)} ${rate(pool.pageOuts, before.pool.pageOuts)} ${rate(pool.pageIns, before.pool.pageIns)} | ${pool.state} ${pool.waits}`,
  );
  before = now;
}, 1000);
const results = await Promise.all(machines.map((vm) => vm.exec(['sh', '-c', WORK])));
clearInterval(watch);
clearInterval(look);
const wrong = results.filter(({ code }) => code !== 0);
for (const { code, stdout, stderr } of wrong) say(`a machine ended its work with ${code}: ${stdout}${stderr}`);
const { pool } = domain.memory();
say(
  `all had finished after ${seconds()} s; in use at most ${mib(inUse).trim()} MiB, ${(inUse / (pool?.poolBytes ?? 1)).toFixed(1)} times the pool; ${pool?.waits} waits`,
);
say(`the order of means: ${order.join(', ')}`);
await Promise.all(machines.map((vm) => vm.kill()));
process.exit(wrong.length === 0 && inUse >= 2 * (pool?.poolBytes ?? 0) ? 0 : 1);
