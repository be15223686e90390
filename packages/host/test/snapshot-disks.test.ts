/**
 * Debian as a library starts it: the example of docs/library.md; what it is told at its first boot; snapshots with its disk and one more, taken
 * while it writes, and gone on with in other processes.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { check, CLEAN, qemu } from '@ringfence/core/testing/qemu-img';
import { cacheFolder } from '@ringfence/images/cache-folder';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RENEW_SYSTEM } from '../src/guest/renew-identity.ts';
import { imageNamed, SnapshotStore, VM } from '../src/index.ts';
import { keptBootKey } from '../src/vm/kept-boot.ts';
import { vmSettings } from '../src/vm/options.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const RESTORE_PROCESS = fileURLToPath(new URL('testing/restore-process.ts', import.meta.url));
/** Of making the image, where the cache does not have it: docs/debian.md says how long that takes on an idle machine. */
const IMAGE_TIMEOUT_MS = 900_000;

/** Of stat(2). */
const HOST_BLOCK_BYTES = 512;
const FILLED_BYTES = 32 << 20;

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

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV4YW1wbGU= ann@example';
/** What cloud-init's NoCloud would do, too. */
const USER_DATA = `#cloud-config
hostname: snapped
users:
  - name: ann
    shell: /bin/bash
    ssh_authorized_keys: ['${KEY}']
runcmd:
  - [sh, -c, 'id -un ann >/root/ran']
`;
const IS_TOLD = `
hostname
getent passwd ann | cut -d: -f1,7
cat /home/ann/.ssh/authorized_keys; stat -c '%U %a' /home/ann/.ssh/authorized_keys
cat /root/ran`;
const TOLD = `snapped
ann:/bin/bash
${KEY}
ann 600
ann
`;

/** Ends with the numbers of queues that Linux uses, for its two processors. */
const FILL = `
set -e
mkfs.ext4 -q /dev/vdb && mkdir -p /data && mount /dev/vdb /data
head -c ${FILLED_BYTES} /dev/urandom >/data/filler && sync
ls /sys/block/vdb/mq | wc -l; ls -d /sys/class/net/eth0/queues/rx-* | wc -l`;

const PREPARE = `
set -e
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

test('the example of docs/library.md starts Debian and says what it says', () => {
  const program = execFileSync(process.execPath, ['tools/readme.ts', 'debian', 'docs/library.md'], { cwd: ROOT });
  const running = { cwd: ROOT, input: program, encoding: 'utf8' } as const;
  expect(execFileSync(process.execPath, ['--input-type=module-typescript', '-'], running)).toBe('riscv64\n');
});

test('Debian goes on with its disks as they were, and each machine writes to its own', async () => {
  const data = join(folder, 'data.qcow2');
  qemu('qemu-img', 'create', '-q', '-f', 'qcow2', data, '256M');
  const bytesOnHost = (): number => statSync(data).blocks * HOST_BLOCK_BYTES;
  await using vm = await VM.start({
    image: 'debian',
    cpus: 2,
    memory: '512M',
    disks: [data],
    userData: USER_DATA,
    reachable: false,
  });
  expect(await vm.exec(['sh', '-c', FILL])).toMatchObject({ code: 0, stdout: '2\n2\n' });
  const filled = bytesOnHost();
  expect(filled).toBeGreaterThan(FILLED_BYTES);
  expect(await vm.exec(['sh', '-c', 'rm /data/filler && sync && fstrim /data && sync'])).toMatchObject({ code: 0 });
  // What the guest has discarded is this computer's again as soon as it is a hole of the file.
  await expect.poll(() => filled - bytesOnHost(), { timeout: 60_000 }).toBeGreaterThan(0.9 * FILLED_BYTES);
  await expect.poll(async () => (await vm.exec(['cat', '/root/ran'])).stdout, { timeout: 120_000 }).toBe('ann\n');
  expect((await vm.exec(['sh', '-c', IS_TOLD])).stdout).toBe(TOLD);
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
    for (const disk of ['disk0', 'disk1']) expect(check(join(store.folder, name, `${disk}.qcow2`))).toEqual(CLEAN);
  await vm.stop();
  expect(check(data)).toEqual(CLEAN);
  expect(restored('first', LOOK).trim().split('\n')).toEqual(['one', 'same', 'counts', 'clean', '0']);
  // Nothing that a restored one has written is in a snapshot.
  expect(restored('second', 'cat /root/state; ls /data/one 2>&1 | grep -c No').trim()).toBe('two\n1');
}, 300_000);

/** In the place of the package openssh-server: it says which keys it serves with. */
const SSH = `
set -e
mkdir -p /etc/ssh
cat >/usr/bin/ssh-keygen <<'END'
#!/bin/sh
sleep 0.3
for kind in ecdsa ed25519; do cat /proc/sys/kernel/random/uuid >/etc/ssh/ssh_host_\${kind}_key; done
END
cat >/usr/lib/systemd/system/ssh.service <<'END'
[Service]
ExecStart=sh -c 'cat /etc/ssh/ssh_host_*_key >/run/served; exec sleep infinity'
[Install]
WantedBy=multi-user.target
END
chmod +x /usr/bin/ssh-keygen
systemctl --quiet enable ssh.service
systemctl start ringfence-ssh-keys.service ssh.service`;
const SERVES =
  'systemctl --quiet is-active ssh.service && cat /etc/ssh/ssh_host_*_key | cmp - /run/served && cat /run/served';

test('Debian goes on from a boot that was kept, and what it writes is its own, and who it is', async () => {
  // Of this size there is no other.
  const options = { image: 'debian', memory: '704M', keptBoot: true, reachable: false } as const;
  const look = ['sh', '-c', 'hostname; ls /root/mine 2>/dev/null; systemctl is-system-running --wait'];
  // With the one that was kept, which the journal's service goes on with.
  const who =
    'cat /etc/machine-id; find /run/log/journal -mindepth 1 -type d -printf "%f\\n"; journalctl -qn 1 | wc -l';
  const identities: string[] = [];
  {
    await using first = await VM.start(options);
    identities.push((await first.exec(['sh', '-c', who])).stdout);
    await first.exec(['sh', '-c', 'echo mine >/root/mine && sync']);
  }
  {
    await using next = await VM.start({ ...options, name: 'next' });
    expect(next.isResumed).toBe(true);
    identities.push((await next.exec(['sh', '-c', who])).stdout);
    expect((await next.exec(look)).stdout).toBe('next\nrunning\n');
    await next.exec(['sh', '-c', 'echo next >/root/mine && sync']);
    await next.snapshot(store, 'kept');
    const served = async (): Promise<string> => (await next.exec(['sh', '-c', SERVES])).stdout;
    expect(await next.exec(['sh', '-c', SSH])).toMatchObject({ code: 0 });
    await expect.poll(served, { timeout: 30_000 }).not.toBe('');
    const shared = await served();
    expect(await next.exec(['sh', '-c', RENEW_SYSTEM])).toMatchObject({ code: 0 });
    await expect.poll(served, { timeout: 30_000 }).not.toBe('');
    expect(new Set([...shared.split('\n'), ...(await served()).split('\n')].filter(Boolean)).size).toBe(4);
  }
  for (const each of identities) expect(each).toMatch(/^(?:[0-9a-f]{32}\n){2}1\n$/);
  expect(new Set(identities.flatMap((each) => each.trim().split('\n'))).size).toBe(3 + 1);
  // A snapshot needs nothing that may be gone tomorrow.
  const { manifest, close } = store.open('kept');
  close();
  expect(manifest.disks[0]?.behind.map(({ path }) => basename(path))).toEqual([expect.stringMatching(/^disk-/)]);
  expect(restored('kept', 'cat /root/mine').trim()).toBe('next');

  // One whose disk is broken is removed, and the machine boots.
  const found = await imageNamed('debian').find?.({});
  if (found === undefined) throw new Error('the image is gone');
  const { name } = keptBootKey(found, options, vmSettings(options));
  const disk = join(cacheFolder(undefined, process.env), 'booted', name, 'disk0.qcow2');
  writeFileSync(disk, new Uint8Array(statSync(disk).size));
  const later = await VM.create(options);
  expect(later.isResumed).toBe(false);
  later.start();
  await later.kill();
  expect(existsSync(disk)).toBe(false);
}, 300_000);
