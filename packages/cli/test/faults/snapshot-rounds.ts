/**
 * Snapshots on a disk that is full at a random point, and snapshots with a changed byte: what cannot be written leaves nothing, what is broken is
 * refused, and the machine never notices.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiError } from '@ringfence/api/errors';
import { SnapshotStore } from '@ringfence/host';
import { RealDaemon } from '../testing/daemon.ts';
import { numbers } from './numbers.ts';

export interface Rounds {
  readonly rounds: number;
  readonly seed: number;
  readonly say: (line: string) => void;
}

/** Of the file system that is full now and then: a snapshot of such a machine takes a quarter of it. */
const FULL_DISK_BYTES = 80 * 1024 * 1024;
/** The most that is left free when a snapshot begins: some fit. */
const MOST_FREE_BYTES = 24 * 1024 * 1024;

/** What the guest has in memory and on its disk. */
const PUT =
  'printf one | dd of=/dev/vda conv=fsync 2>/dev/null; echo one >/tmp/memory; dd if=/dev/urandom of=/tmp/noise bs=1M count=2 2>/dev/null';
const LOOK = 'cat /tmp/memory; dd if=/dev/vda bs=3 count=1 2>/dev/null';
const SEEN = 'one\none';

/** Needs a mount of its own: runs in a mount namespace where the caller is root (unshare -rm). */
export async function fullDiskRounds({ rounds, seed, say }: Rounds): Promise<void> {
  const random = numbers(seed);
  await using daemon = new RealDaemon();
  await daemon.start();
  await daemon.create('one', { disks: [{ size: '8M' }] });
  const small = join(daemon.folder, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${FULL_DISK_BYTES}`, 'tmpfs', small]);
  // What goes wrong is said, and not that this cannot be removed.
  using opened = new DisposableStack();
  opened.defer(() => void execFileSync('umount', ['-l', small]));
  cpSync(join(daemon.machinesFolder, 'one'), join(small, 'vm'), { recursive: true });
  const { client } = daemon;
  await client.run('vm.register', { folder: join(small, 'vm'), name: 'vm' });
  await client.run('vm.start', { vm: 'vm' });
  await daemon.exec('vm', 'sh', '-c', PUT);
  await client.run('snapshot.create', { vm: 'vm', name: 'whole' });
  const filler = join(small, 'filler');
  const snapshots = join(small, 'vm/snapshots');
  for (let round = 1; round <= rounds; round++) {
    const { bavail, bsize } = statfsSync(small);
    const freeBytes = Math.min(random(MOST_FREE_BYTES), bavail * bsize);
    writeFileSync(filler, Buffer.alloc(bavail * bsize - freeBytes));
    const parent = random(2) === 0 ? { parent: 'whole' } : {};
    const isRestored = random(4) === 0;
    const work = isRestored
      ? client.run('snapshot.restore', { vm: 'vm', snapshot: 'whole' })
      : client.run('snapshot.create', { vm: 'vm', name: 'next', ...parent });
    const answer = await codeOf(work);
    const what = `round ${round}: ${isRestored ? 'restored' : 'taken'} with ${freeBytes} bytes free: ${answer}`;
    say(what);
    rmSync(filler);
    assert(['done', 'no-space'].includes(answer), what);
    assert.deepEqual(visible(snapshots), answer === 'done' && !isRestored ? ['next', 'whole'] : ['whole'], what);
    const { state, end } = await daemon.machine('vm');
    // One whose process was to go on from the snapshot and had no space for that stands.
    if (isRestored && answer !== 'done' && state === 'stopped') await client.run('vm.start', { vm: 'vm' });
    else assert.equal(state, 'running', `${what}: ${end?.detail ?? ''}`);
    if (!isRestored || answer === 'done') assert.equal(await daemon.exec('vm', 'sh', '-c', LOOK), SEEN, what);
    const store = new SnapshotStore(snapshots);
    for (const name of visible(snapshots)) await store.verify(name);
    if (visible(snapshots).includes('next')) await client.run('snapshot.remove', { vm: 'vm', snapshot: 'next' });
    if (isRestored && answer !== 'done') await client.run('snapshot.restore', { vm: 'vm', snapshot: 'whole' });
  }
  await client.run('vm.stop', { vm: 'vm', timeoutMs: 0 });
  await daemon.stop();
}

/** A bit of a random byte of a random file of a snapshot, or of an image behind its disks, is another. */
export async function changedByteRounds({ rounds, seed, say }: Rounds): Promise<void> {
  const random = numbers(seed);
  await using daemon = new RealDaemon();
  await daemon.start();
  const base = join(daemon.folder, 'base');
  writeFileSync(base, Buffer.alloc(1024 * 1024, 'behind'));
  await daemon.create('vm', { disks: [{ backing: base }] });
  const { client } = daemon;
  await client.run('vm.start', { vm: 'vm' });
  await daemon.exec('vm', 'sh', '-c', PUT);
  await client.run('snapshot.create', { vm: 'vm', name: 'first' });
  await client.run('snapshot.create', { vm: 'vm', name: 'second', parent: 'first' });
  const snapshots = join(daemon.machinesFolder, 'vm/snapshots');
  const files = [
    base,
    ...['first', 'second'].flatMap((name) => ['pages', 'disk0.qcow2'].map((file) => join(snapshots, name, file))),
    ...['manifest.json', 'index'].map((file) => join(snapshots, 'second', file)),
  ];
  for (let round = 1; round <= rounds; round++) {
    const file = files[random(files.length)] ?? '';
    const sound = readFileSync(file);
    if (sound.length === 0) continue;
    const at = random(sound.length);
    writeFileSync(file, sound.with(at, (sound[at] ?? 0) ^ (1 << random(8))));
    const as = random(2) === 0 ? {} : { as: 'other' };
    const answer = await codeOf(client.run('snapshot.restore', { vm: 'vm', snapshot: 'second', ...as }));
    writeFileSync(file, sound);
    const what = `round ${round}: byte ${at} of ${file.slice(daemon.folder.length + 1)}: ${answer}`;
    say(what);
    // A manifest may say another version, which is as good a reason.
    assert(
      ['broken', 'other-version'].includes(answer) || (answer === 'not-found' && file.endsWith('manifest.json')),
      what,
    );
    assert.deepEqual(readdirSync(daemon.machinesFolder), ['vm'], what);
    assert.equal(await daemon.exec('vm', 'sh', '-c', LOOK), SEEN, what);
    assert.equal(
      readdirSync(join(daemon.machinesFolder, 'vm/disks')).filter((name) => name.endsWith('.qcow2')).length,
      1,
    );
  }
  await client.run('snapshot.restore', { vm: 'vm', snapshot: 'second' });
  assert.equal(await daemon.exec('vm', 'sh', '-c', LOOK), SEEN);
  await client.run('vm.stop', { vm: 'vm', timeoutMs: 0 });
  await daemon.stop();
}

/** What is in the folder of snapshots, whole or not, but for what is remembered of other files. */
function visible(snapshots: string): string[] {
  return readdirSync(snapshots)
    .filter((name) => !name.startsWith('.digests'))
    .toSorted();
}

function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error: unknown) => (error instanceof ApiError ? error.code : Promise.reject(error)),
  );
}
