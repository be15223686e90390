/**
 * A disk that moves while fio writes to it: `npm run bench:storage-migration`. Debian with fio, and a disk of its own for it, between two daemons of this
 * computer; fio verifies afterwards all that it wrote. Then the guest's SHA-256 of the disk is compared with that of what QEMU reads in its file,
 * which QEMU checks. Ends with status 1 when anything is not as it should be.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { scriptOptions } from '@ringfence/core/testing/script-options';
import { RealDaemon } from '../testing/daemon.ts';

const values = scriptOptions('npm run bench:storage-migration --', 'A disk that moves while fio writes to it.', {
  megabytes: { default: 256, says: 'of the disk; each block of it is written once' },
  iops: { default: 0, says: 'writes a second; 0 is as many as there can be' },
});
const [megabytes, iops] = [values.megabytes, values.iops];
const NAME = 'writes';
/** It has written for so long when it is moved. */
const WARM_MS = 3000;
/** For writing and verifying. */
const TIMEOUT_MS = 180_000;

interface Counts {
  readonly total_ios: number;
  readonly iops: number;
  readonly clat_ns: { readonly max: number };
}
/** Of fio, as JSON. */
interface Report {
  readonly jobs: readonly { readonly error: number; readonly write: Counts; readonly read: Counts }[];
}

const wrong: string[] = [];
function check(isRight: boolean, what: string): void {
  process.stdout.write(`${isRight ? 'ok   ' : 'WRONG'} ${what}\n`);
  if (!isRight) wrong.push(what);
}

await using one = new RealDaemon({ listens: true });
await using two = new RealDaemon({ listens: true });
await Promise.all([one.start(), two.start()]);
await one.trust(two);
await two.trust(one);
await one.create(NAME, {
  image: 'debian',
  packages: ['fio'],
  memory: '512M',
  disks: [{ size: `${megabytes}M` }],
});
await one.client.run('vm.start', { vm: NAME });
const shell = (daemon: RealDaemon, words: string): Promise<string> => daemon.exec(NAME, 'sh', '-c', words);
const disk = await shell(one, `lsblk -bdnpo NAME,SIZE | awk '$2 == ${megabytes * 2 ** 20} { print $1 }'`);
const work = [
  `fio --name=w --filename=${disk} --rw=randwrite --bs=4k --iodepth=16 --ioengine=libaio --direct=1`,
  `--verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0`,
  `--output=/run/fio --output-format=json ${iops > 0 ? `--rate_iops=${iops}` : ''}`,
].join(' ');
// It outlives the connection that it was started over, as that does not move.
await shell(one, `(trap '' HUP; ${work}; echo $? > /run/fio-status) > /run/fio-said 2>&1 < /dev/null & echo`);
await sleep(WARM_MS);
const beganMs = performance.now();
const { notes = [] } = await one.client.run('vm.migrate', { vm: NAME, target: two.listens });
const movedMs = performance.now() - beganMs;
const wasWriting = (await shell(two, 'test -e /run/fio-status && echo over')) === '';
for (const until = performance.now() + TIMEOUT_MS; (await shell(two, 'cat /run/fio-status 2>/dev/null')) === '';) {
  if (performance.now() > until) throw new Error('fio did not end');
  await sleep(500);
}
check(wasWriting, 'fio was at work before, while and after the machine moved');
check(
  (await shell(two, 'cat /run/fio-status')) === '0',
  `fio's exit status; it said: ${await shell(two, 'cat /run/fio-said')}`,
);
const [job] = (JSON.parse(await shell(two, `sed -n '/^{/,$p' /run/fio`)) as Report).jobs;
check(job?.error === 0, `fio's error: ${job?.error}`);
check((job?.read.total_ios ?? 0) > 0, `blocks that were verified: ${job?.read.total_ios}`);
const failed = await shell(two, 'dmesg | grep -ciE "I/O error|blk_update"');
check(failed === '0', `failed requests in the kernel's log: ${failed}`);
const sum = await shell(two, `dd if=${disk} bs=1M iflag=direct 2>/dev/null | sha256sum | cut -d' ' -f1`);
await two.client.run('vm.stop', { vm: NAME });
const [folder = ''] = readdirSync(two.machinesFolder);
const disks = join(two.machinesFolder, folder, 'disks');
for (const name of readdirSync(disks).filter((each) => each.endsWith('.qcow2')))
  check(isSound(join(disks, name)), `qemu-img check of ${name}`);
const raw = join(two.folder, 'raw');
execFileSync('qemu-img', ['convert', '-O', 'raw', join(disks, 'disk0.qcow2'), raw]);
const hash = createHash('sha256');
await pipeline(createReadStream(raw), hash);
check(hash.digest('hex') === sum, `SHA-256 of the disk, by the guest and in what QEMU reads: ${sum.slice(0, 16)}…`);
const ms = ((job?.write.clat_ns.max ?? 0) / 1e6).toFixed(0);
process.stdout.write(
  `${job?.write.total_ios} writes of 4 KiB, ${job?.write.iops.toFixed(0)} a second; the slowest took ${ms} ms\n` +
    `moved in ${(movedMs / 1000).toFixed(1)} s: ${notes.join('; ')}\n`,
);
process.exitCode = wrong.length === 0 ? 0 : 1;

function isSound(path: string): boolean {
  try {
    execFileSync('qemu-img', ['check', path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
