/** Machines with disks move while they write to them. QEMU looks at what came of the disks. */

import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RealDaemon } from './testing/daemon.ts';
import { acknowledged, checkContent, checkWritten, contentOf, startWriting } from './testing/disk-writer.ts';

const MiB = 1024 * 1024;

test('a machine moves to and fro while it writes to its disks, and no write that it was told of is lost', async () => {
  await using one = new RealDaemon({ listens: true });
  await using two = new RealDaemon({ listens: true });
  await Promise.all([one.start(), two.start()]);
  await one.trust(two);
  await two.trust(one);
  // Both daemons reach it: it stands behind the disk here and there.
  const base = join(one.folder, 'base.qcow2');
  const data = randomBytes(6 * MiB);
  writeFileSync(join(one.folder, 'base.raw'), data);
  execFileSync('qemu-img', ['convert', '-O', 'qcow2', join(one.folder, 'base.raw'), base]);
  await one.create('db', { disks: [{ size: '64M' }, { backing: base }] });
  await one.client.run('vm.start', { vm: 'db' });
  const random = 'dd if=/dev/urandom bs=1M count=6 2>/dev/null';
  await one.exec(
    'db',
    'sh',
    '-c',
    `${random} | dd of=/dev/vda bs=1M conv=fsync; printf changed | dd of=/dev/vdb conv=notrunc,fsync`,
  );
  const hash = async (daemon: RealDaemon): Promise<string> =>
    (
      await daemon.exec(
        'db',
        'sh',
        '-c',
        'echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M count=6 2>/dev/null | sha256sum',
      )
    ).split(' ')[0] ?? '';
  const before = await hash(one);
  await startWriting(one, 'db');
  let last = await acknowledged(one, 'db');
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    const { notes = [] } = await from.client.run('vm.migrate', { vm: 'db', target: to.listens });
    expect(notes.join()).toMatch(/stood still/);
    expect(readdirSync(from.machinesFolder)).toEqual([]);
    const now = await acknowledged(to, 'db');
    expect(now).toBeGreaterThan(last);
    last = now;
    await checkWritten(to, 'db', last);
    expect(await hash(to)).toBe(before);
  }
  last = await acknowledged(one, 'db');
  await one.client.run('vm.stop', { vm: 'db', timeoutMs: 0 });
  const disks = join(one.machinesFolder, readdirSync(one.machinesFolder)[0] ?? '', 'disks');
  const content = contentOf(join(disks, 'disk0.qcow2'));
  checkContent(content, last);
  expect(
    createHash('sha256')
      .update(content.subarray(0, 6 * MiB))
      .digest('hex'),
  ).toBe(before);
  expect(contentOf(join(disks, 'disk1.qcow2')).subarray(0, data.length)).toEqual(
    Buffer.concat([Buffer.from('changed'), data.subarray(7)]),
  );
  expect(statSync(join(disks, 'disk1.qcow2')).size).toBeLessThan(2 * MiB);
}, 180_000);
