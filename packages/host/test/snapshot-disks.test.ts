/** Snapshots of Debian with its disk and one more, taken while it writes, and gone on with in other processes. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { imageNamed, SnapshotStore, VM } from '../src/index.ts';

const RESTORE_PROCESS = fileURLToPath(new URL('testing/restore-process.ts', import.meta.url));
/** Of making the image, where the cache does not have it: docs/debian.md says how long that takes on an idle machine. */
const IMAGE_TIMEOUT_MS = 900_000;

let folder: string;
let store: SnapshotStore;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-disk-snapshots-'));
  store = new SnapshotStore(join(folder, 'snapshots'));
  await imageNamed('debian').load({});
}, IMAGE_TIMEOUT_MS);
afterAll(() => rmSync(folder, { recursive: true }));

const restored = (name: string, command: string): string =>
  execFileSync(process.execPath, [RESTORE_PROCESS, store.folder, name, 'jit', 'sh', '-c', command]).toString();

const PREPARE = `
set -e
mkfs.ext4 -q /dev/vdb && mkdir -p /data && mount /dev/vdb /data
head -c 3000000 /dev/urandom >/data/one && cp /data/one /root/one && sync
echo one >/root/state
cat >/root/write <<'END'
i=0
while :; do i=$((i+1)); for d in /data /root; do head -c 100000 /dev/urandom >$d/new; sync; mv $d/new $d/new-$((i%20)); done; echo $i >/root/c; mv /root/c /root/count; sleep 0.1; done
END
setsid sh /root/write >/dev/null 2>&1 </dev/null &`;

const LOOK = `
cat /root/state
cmp /data/one /root/one && echo same
a=$(cat /root/count); sleep 3; [ "$(cat /root/count)" -gt "$a" ] && echo counts
pkill -f 'sh /root/writ[e]'; sleep 0.2; sync; umount /data && e2fsck -fn /dev/vdb >/dev/null 2>&1 && echo clean
dmesg | grep -c 'EXT4-fs error'`;

test('Debian goes on with its disks as they were, and each machine writes to its own', async () => {
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, 'data.qcow2'), '256M']);
  await using vm = await VM.start({
    image: 'debian',
    cpus: 2,
    memory: '512M',
    disks: [join(folder, 'data.qcow2')],
    reachable: false,
  });
  const prepared = await vm.exec(['sh', '-c', PREPARE]);
  expect(prepared).toMatchObject({ code: 0 });
  await expect.poll(async () => (await vm.exec(['cat', '/root/count'])).stdout, { timeout: 60_000 }).toMatch(/\d/);
  await vm.snapshot(store, 'first');
  await vm.exec(['sh', '-c', 'echo two >/root/state; rm /data/one; head -c 1000000 /dev/urandom >/root/one']);
  const second = await vm.snapshot(store, 'second', { parent: 'first' });
  expect(second.manifest.disks.map(({ serial, readOnly }) => [serial, readOnly])).toEqual([
    ['disk0', false],
    ['disk1', false],
  ]);
  for (const name of ['first', 'second'])
    for (const disk of ['disk0', 'disk1'])
      expect(execFileSync('qemu-img', ['check', join(store.folder, name, `${disk}.qcow2`)]).toString()).toContain(
        'No errors',
      );
  await vm.stop();
  expect(restored('first', LOOK).trim().split('\n')).toEqual(['one', 'same', 'counts', 'clean', '0']);
  // Nothing that a restored one has written is in a snapshot.
  expect(restored('second', 'cat /root/state; ls /data/one 2>&1 | grep -c No').trim()).toBe('two\n1');
}, 300_000);
