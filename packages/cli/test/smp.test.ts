/** Debian's kernel on several harts: it finds them, runs work on each, and takes them away and back. */

import { OPENSBI, debianFile, missing } from '@ringfence/core/testing/firmware';
import { BOOTING_TIERS, DEFAULT_TIER, type Tier } from '@ringfence/core/testing/tiers';
import { expect, test } from 'vitest';
import { Guest } from './testing/guest.ts';

/** On every processor a pipe of work, and where it ran; then processors go and come; then work that moves between them. */
const script = (harts: number): string => String.raw`
grep -c '^processor' /proc/cpuinfo
cat /sys/devices/system/cpu/online
cpu=0
while [ $cpu -lt ${harts} ]; do
  (exec taskset $(printf %x $((1 << cpu))) sh -c 'seq 1 3000 | sha256sum | cut -c 1-8 >/tmp/sum.'$cpu'; set -- $(cat /proc/self/stat); shift 38; echo $1 >/tmp/ran.'$cpu) &
  cpu=$((cpu + 1))
done
wait
cat /tmp/sum.* | uniq -c | sed 's/^ *//'
cat /tmp/ran.* | tr '\n' ' '; echo
for round in 1 2 3; do
  echo 0 >/sys/devices/system/cpu/cpu1/online
  cat /sys/devices/system/cpu/online
  echo 1 >/sys/devices/system/cpu/cpu1/online
done
cat /sys/devices/system/cpu/online
taskset 2 sh -c 'set -- $(cat /proc/self/stat); shift 38; echo back on $1'
for n in 1 2 3 4 5 6; do seq 1 2000 | sort -r | gzip -c | gunzip -c | sort -n | tail -n 1 & done | sort | uniq -c | sed 's/^ *//'
`;

const expected = (harts: number): string => {
  const all = harts === 1 ? '0' : `0-${harts - 1}`;
  const without1 = harts === 2 ? '0' : harts === 3 ? '0,2' : `0,2-${harts - 1}`;
  const ran = Array.from({ length: harts }, (_, hart) => `${hart} `).join('');
  return `${harts}\n${all}\n${harts} 2e57c67a\n${ran}\n${`${without1}\n`.repeat(3)}${all}\nback on 1\n6 2000\n`;
};

async function runsOn(harts: number, threads: number, engine: Tier, firmware?: 'opensbi'): Promise<Guest> {
  const guest = await Guest.create({
    suite: 'stable',
    argv: ['sh', '-c', script(harts)],
    engine,
    heat: 'late',
    harts,
    threads,
    ...(firmware ? { firmware: debianFile(OPENSBI) } : {}),
  });
  guest.feed('', true);
  const end = await guest.end();
  expect(guest.stderr.text).toBe('');
  expect(guest.stdout.text).toBe(expected(harts));
  expect(end).toEqual({ kind: 'poweroff' });
  // No hart was missing for long: the kernel watches for that itself.
  expect(guest.serial.text).not.toMatch(/stall|soft lockup|hard LOCKUP|BUG|WARNING/);
  return guest;
}

test.each<[number, number, Tier]>([
  ...BOOTING_TIERS.map((tier): [number, number, Tier] => [2, 0, tier]),
  [8, 0, DEFAULT_TIER],
  ...BOOTING_TIERS.map((tier): [number, number, Tier] => [2, 2, tier]),
  [8, 2, DEFAULT_TIER],
])(
  'Debian finds %i harts, works on all of them, and takes one away and back (threads for them: %i; %s)',
  async (harts, threads, engine) => {
    await runsOn(harts, threads, engine);
  },
);

const absent = missing(OPENSBI);

test.skipIf(absent !== undefined)(
  `OpenSBI starts Debian on four harts of two threads${absent === undefined ? '' : `: ${absent}`}`,
  async () => {
    const guest = await runsOn(4, 2, DEFAULT_TIER, 'opensbi');
    expect(guest.serial.text).toMatch(/Platform HART Count\s+: 4/);
  },
);
