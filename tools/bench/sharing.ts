/**
 * What machines of one image, booted apart in one memory domain, have in common (docs/memory.md): `npm run bench:sharing`.
 *
 *     boot      one after the other, while nothing is shared
 *     share     pages are looked for until a pass finds nearly nothing more
 *     check     each answers a command; how much of a core looking takes from then on
 *
 * Says of both figures whether they are met, and ends with 1 when less than half is saved or
 * looking took 5 % of a core.
 */

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { VM, VMDomain } from '@ringfence/host';

const MIB = 1024 ** 2;
const LEAST_SAVED = 0.5;
const MOST_OF_A_CORE = 0.05;
/** Nothing more comes when a second saved less than this part. */
const LITTLE = 0.001;
const LONGEST_SHARING_S = 60;
const WATCH_MS = 5000;

const values = scriptOptions('npm run bench:sharing --', 'What machines of one image, booted apart, have in common.', {
  image: { default: 'tiny', says: 'what they boot' },
  memory: { default: '128M', word: 'SIZE', says: 'of each machine' },
  machines: { default: 20, says: 'so many' },
});
const count = values.machines;
const say = (what: string, figure: string): void => void process.stdout.write(`${what.padEnd(58)} ${figure}\n`);
const mib = (bytes: number): string => `${(bytes / MIB).toFixed(0)} MiB`;
const percent = (part: number): string => `${(part * 100).toFixed(1)} %`;

await using domain = await VMDomain.create({ label: 'bench', sharing: false });
const machines: VM[] = [];
const bootStart = performance.now();
for (let made = 0; made < count; made++)
  machines.push(
    await VM.start({ image: values.image, memory: values.memory, domain, label: 'bench', reachable: false }),
  );
say(
  `${count} machines of ${values.image}, ${values.memory} each, booted in`,
  `${((performance.now() - bootStart) / 1000).toFixed(1)} s`,
);
const before = domain.memory();
say('their memory', mib(before.pageBytes));

domain.setSharing(true);
const start = performance.now();
let last = before.frameBytes;
let seconds = 0;
let passes = 0;
for (; seconds < LONGEST_SHARING_S; seconds++) {
  await sleep(1000);
  const { frameBytes, sharing } = domain.memory();
  const isQuiet = last - frameBytes < LITTLE * last && sharing.passes >= passes + 2;
  if (last - frameBytes >= LITTLE * last) passes = sharing.passes;
  last = frameBytes;
  if (isQuiet) break;
}
const took = performance.now() - start;
const after = domain.memory();
const { merged, zeros, looks, scanNs } = after.sharing;
const saved = 1 - after.frameBytes / before.frameBytes;
say('after they were looked at', `${mib(after.frameBytes)} (${(took / 1000).toFixed(0)} s later)`);
say('  saved', `${percent(saved)} (${merged} pages equal to others, ${zeros} of zeros)`);
say('  looks', `${looks}, ${(scanNs / looks).toFixed(0)} ns each`);
const busy = scanNs / 1e6 / took;
say('  of a core, meanwhile', percent(busy));

const answers = await Promise.all(machines.map((vm) => vm.exec(['hostname'])));
if (answers.some(({ stdout }, index) => stdout.trim() !== machines[index]?.name))
  throw new Error('a machine forgot its name');
const quiet = domain.memory().sharing.scanNs;
await sleep(WATCH_MS);
const idle = (domain.memory().sharing.scanNs - quiet) / 1e6 / WATCH_MS;
say('  of a core, when all was looked at', percent(idle));
await Promise.all(machines.map((vm) => vm.kill()));
const scan = Math.max(busy, idle);
const wanted = [
  [`saved: ${percent(saved)}, wanted at least ${percent(LEAST_SAVED)}`, saved >= LEAST_SAVED],
  [`looking, at most: ${percent(scan)} of a core, wanted under ${percent(MOST_OF_A_CORE)}`, scan < MOST_OF_A_CORE],
] as const;
for (const [what, isMet] of wanted) process.stdout.write(`${isMet ? 'met   ' : 'MISSED'} ${what}\n`);
process.exit(wanted.every(([, isMet]) => isMet) ? 0 : 1);
