/**
 * A running Linux, saved and continued in a second machine that has nothing but its memory and its saved state: whatever a hart or a
 * device kept for itself would be missing there. And power off and on again.
 */

import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { Machine, MachineRunner, MemoryBlockStore } from '@ringfence/core';
import { OPENSBI, debianFile, missing } from '@ringfence/core/testing/firmware';
import { Transcript, nodeTurns } from '@ringfence/core/testing/node-host';
import { DEFAULT_TIER, BOOTING_TIERS } from '@ringfence/core/testing/tiers';
import { newNetwork, SharedTree } from '@ringfence/host';
import { expect, test } from 'vitest';
import { Guest, type GuestOptions, guestOptions } from './testing/guest.ts';
import { httpServer } from './testing/servers.ts';

const PAGE_BYTES = 4096;
const RAM_BASE = 0x8000_0000;

/** Echoes lines with their number, and looks at the disk and the clock when its input ends. */
const PROGRAM = String.raw`
port=$0
seq 1 20000 >/tmp/numbers
wget -q -O /dev/null http://10.0.2.2:$port/ # the network was used before, too
while :; do dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null; done & # never a quiet moment
half=0.5; n=0
started=$(date +%s)
while read -r line; do n=$((n + 1)); echo "$n $line" | dd of=/dev/vda bs=512 seek=$n conv=fsync 2>/dev/null; echo "$n $line"; done
md5sum </tmp/numbers
dd if=/dev/vda bs=512 skip=8 count=1 2>/dev/null | head -n 1
awk -v half=$half 'BEGIN { printf "%.3f\n", half / 3 }'
dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c
sleep 0.3
ping -c 1 -W 10 10.0.2.2 | grep -o '1 packets received'
wget -q -O - http://10.0.2.2:$port/ | md5sum
[ $(($(date +%s) - started)) -lt 250 ] && echo 'the clock goes on'
exit 7
`;

const NUMBERS = Array.from({ length: 20_000 }, (_, index) => `${index + 1}\n`).join('');

function diskContent(): Uint8Array {
  const content = new Uint8Array(1 << 20);
  content.set(new TextEncoder().encode('on the disk\n'), 4096);
  return content;
}

/** Copies what differs, page by page. */
function copyMemory(from: Machine, to: Machine): void {
  const there = new Uint8Array(PAGE_BYTES);
  const here = new Uint8Array(PAGE_BYTES);
  for (let at = RAM_BASE; at < RAM_BASE + from.memoryBytes; at += PAGE_BYTES) {
    from.ram.read(at, there);
    to.ram.read(at, here);
    if (Buffer.compare(there, here) !== 0) to.ram.write(at, there);
  }
}

async function continued(options: Omit<GuestOptions, 'argv'>): Promise<void> {
  const content = diskContent();
  const server = await httpServer(Buffer.from(NUMBERS));
  // The second machine is on another network, which knows nothing of the first one's.
  const networks = [newNetwork([]), newNetwork([])];
  const [here, there] = networks.map((network) => {
    const place = network.plug('tiny');
    if (place === undefined) throw new Error('a new network has no address');
    const networkCards = [{ mac: place.mac.bytes, port: place.port }];
    return { ...options, argv: ['sh', '-c', PROGRAM, String(server.port)], networkCards, network: place.settings };
  });
  if (here === undefined || there === undefined) throw new Error('there are two networks');
  const disks = [{ store: new MemoryBlockStore(content), serial: 'lifecycle' }];
  const first = await Guest.create({ ...here, disks });
  first.runner.start();
  await first.control.waitFor(/ready\n/);
  first.feed('before\n', false);
  await first.stdout.waitFor(/1 before\n/);
  await first.runner.stop();

  const state = deserialize(serialize(first.machine.save())) as ReturnType<Machine['save']>;
  const serial = new Transcript();
  // What is saved knows nothing of tiers.
  const engine =
    BOOTING_TIERS[(BOOTING_TIERS.indexOf(options.engine ?? DEFAULT_TIER) + 1) % BOOTING_TIERS.length] ?? DEFAULT_TIER;
  const second = new Guest(await Machine.create(await guestOptions({ ...there, disks, engine }, serial)), serial);
  copyMemory(first.machine, second.machine);
  second.machine.restore(state);
  second.machine.resume();
  second.feed('after\n', true);
  expect(await second.end()).toEqual({ kind: 'poweroff' });
  expect(second.stdout.text).toBe(
    [
      '2 after',
      `${createHash('md5').update(NUMBERS).digest('hex')}  -`,
      'on the disk',
      '0.167',
      '16',
      '1 packets received',
      `${createHash('md5').update(NUMBERS).digest('hex')}  -`,
      'the clock goes on',
      '',
    ].join('\n'),
  );
  expect(second.stderr.text).toBe('');
  expect(second.control.text).toBe('exit 7\n');
  const line = (sector: number, length: number): string =>
    Buffer.from(content).toString('latin1', sector * 512, sector * 512 + length);
  expect([line(1, 9), line(2, 8)]).toEqual(['1 before\n', '2 after\n']);
  server.close();
  for (const network of networks) network.close();
}

test.each(BOOTING_TIERS)(
  "a saved Debian system goes on in another machine, from its harts' and devices' state and its memory (%s)",
  async (engine) => {
    await continued({ suite: 'stable', engine });
  },
);

/** Has a file open, one that is removed too, a folder half listed, and stands in a folder of the share. */
const SHARE_PROGRAM = String.raw`
cd /files/deep/er; exec 3>>log 4<../removed 5</files/many
echo first >&3; rm ../removed; echo ready
while read -r line; do
  echo "$line" >&3; cat <&4; cat log; pwd; ls /files/many | wc -l; echo "new $line" >new; cat ../../top
done
`;

test('so does one that has a folder of the host open', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-lifecycle-'));
  const trees: SharedTree[] = [];
  try {
    mkdirSync(join(folder, 'deep/er'), { recursive: true });
    mkdirSync(join(folder, 'many'));
    for (let index = 0; index < 500; index++) writeFileSync(join(folder, `many/${index}`), '');
    writeFileSync(join(folder, 'top'), 'top\n');
    writeFileSync(join(folder, 'deep/removed'), 'still there\n');
    const options = async (): Promise<GuestOptions> => {
      const tree = await SharedTree.open(folder);
      trees.push(tree);
      return { suite: 'stable', argv: ['sh', '-c', SHARE_PROGRAM], shares: [{ tag: 'files', tree }] };
    };
    const first = await Guest.create(await options());
    first.runner.start();
    await first.stdout.waitFor(/ready\n/);
    await first.runner.stop();
    const state = deserialize(serialize(first.machine.save())) as ReturnType<Machine['save']>;
    await trees[0]?.close();

    const serial = new Transcript();
    const second = new Guest(await Machine.create(await guestOptions(await options(), serial)), serial);
    copyMemory(first.machine, second.machine);
    second.machine.restore(state);
    second.machine.resume();
    second.feed('after\n', true);
    expect(await second.end()).toEqual({ kind: 'poweroff' });
    // A file without a name cannot be found again; all else is as it was.
    expect(second.stdout.text).toBe('first\nafter\n/files/deep/er\n500\ntop\n');
    expect(second.stderr.text).toMatch(/^cat: .*Stale file handle\n$/);
    expect(readFileSync(join(folder, 'deep/er/log'), 'utf8')).toBe('first\nafter\n');
    expect(readFileSync(join(folder, 'deep/er/new'), 'utf8')).toBe('new after\n');
  } finally {
    for (const tree of trees) await tree.close();
    rmSync(folder, { recursive: true });
  }
});

const absent = missing(OPENSBI);

test.skipIf(absent !== undefined)(
  `so does one that stands on OpenSBI${absent === undefined ? '' : `: ${absent}`}`,
  async () => {
    await continued({ suite: 'stable', firmware: debianFile(OPENSBI) });
  },
);

test('after a reset in the middle of its work the same system boots again', async () => {
  const guest = await Guest.create({
    suite: 'stable',
    argv: ['sh', '-c', 'read -r line; echo "read $line"; [ "$line" = end ] || sleep 1000'],
    disks: [{ store: new MemoryBlockStore(diskContent()), serial: 'lifecycle' }],
  });
  guest.runner.start();
  await guest.control.waitFor(/ready\n/);
  guest.feed('first\n', false);
  await guest.stdout.waitFor(/read first\n/);
  await guest.runner.stop();

  guest.machine.reset();
  guest.machine.resume();
  const again = new MachineRunner(guest.machine, nodeTurns);
  again.start();
  await guest.control.waitFor(/ready\n/);
  guest.feed('end\n', true);
  expect(await again.ended).toEqual({ kind: 'poweroff' });
  expect(guest.stdout.text).toBe('read first\nread end\n');
  expect(guest.control.text).toBe('ready\nready\nexit 0\n');
});
