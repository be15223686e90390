/** Disks as a Debian guest sees them: what was synced survives a kill of the host's process; snapshots, buses, read-only disks. */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createQcow2 } from '@ringfence/core';
import { check, CLEAN, hasQemuImg, qemu } from '@ringfence/core/testing/qemu-img';
import { DiskFile } from '@ringfence/host';
import { openTiny } from '@ringfence/images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answer, start } from './testing/ringfence.ts';

const MiB = 1 << 20;
const KILLED = 'overlay.qcow2';
/** Of a qcow2 header and of entries of its tables (QEMU, docs/interop/qcow2). */
const L1_OFFSET_FIELD = 40;
const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;

let folder = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-disks-'));
  await openTiny();
});
afterAll(() => rmSync(folder, { recursive: true }));

async function image(name: string, sizeBytes: number, backing?: string): Promise<string> {
  const path = join(folder, name);
  const file = await DiskFile.create(path);
  await createQcow2(file, {
    sizeBytes,
    ...(backing === undefined ? {} : { backing: { name: backing, format: 'qcow2' } }),
  });
  await file.close();
  return path;
}

const shell = (...settings: readonly string[]): ((script: string) => Promise<[number | null, string, string]>) => {
  const disks = settings.flatMap((setting) => ['--disk', setting]);
  return (script) => answer(['run', ...disks, '--', 'sh', '-c', script]);
};

test("files that a guest has synced are there after its host's process was killed", async () => {
  await image('base.qcow2', 64 * MiB);
  const path = await image(KILLED, 64 * MiB, 'base.qcow2');
  const script = `
    mke2fs /dev/vda >/dev/null 2>&1
    mount -t ext4 /dev/vda /mnt
    n=1
    while :; do
      yes "line of file $n" | head -c $((n * 3000)) | dd of=/mnt/file$n conv=fsync 2>/dev/null
      echo $n
      n=$((n + 1))
    done`;
  const child = start('run', '--disk', path, '--', 'sh', '-c', script);
  child.stdin.end();
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.split('\n').length > 25) resolve();
    });
    child.on('close', () => reject(new Error(`the guest ended by itself: ${said}`)));
  });
  child.kill('SIGKILL');
  await new Promise((resolve) => child.on('close', resolve));
  const synced = said.split('\n').slice(0, -1).map(Number);
  // Clusters that leaked are what a kill may leave behind, and no harm.
  if (hasQemuImg) expect(check(path)).toMatchObject({ corruptions: 0, errors: 0 });

  const [code, stdout, stderr] = await shell(path)(
    `mount -t ext4 -o ro /dev/vda /mnt && cd /mnt && for n in ${synced.join(' ')}; do md5sum file$n; done`,
  );
  const expected = synced.map((number) => {
    const content = Buffer.alloc(number * 3000, `line of file ${number}\n`);
    return `${createHash('md5').update(content).digest('hex')}  file${number}\n`;
  });
  expect([code, stdout, stderr]).toEqual([0, expected.join(''), '']);
  expect(spawnSync('cmp', [join(folder, 'base.qcow2'), await image('untouched.qcow2', 64 * MiB)]).status).toBe(0);
});

describe('what a guest writes', () => {
  test('is on its disk when a signal ends the machine, although the guest had not synced it', async () => {
    const path = join(folder, 'cut.img');
    writeFileSync(path, '');
    truncateSync(path, MiB);
    const script = 'exec 3<>/dev/vda; echo "not synced" >&3; echo ready; sleep 600';
    const child = start('run', '--disk', `${path},format=raw`, '--', 'sh', '-c', script);
    child.stdin.end();
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGTERM');
    const [code] = await once(child, 'close');
    expect([code, said]).toEqual([143, '']);
    expect(readFileSync(path).subarray(0, 11).toString()).toBe('not synced\n');
  });

  test('to a snapshot is gone afterwards, and machines may have snapshots of one disk at once', async () => {
    const path = join(folder, 'shared.img');
    writeFileSync(path, 'as it was\n');
    truncateSync(path, MiB);
    const guests = [1, 2].map((number) =>
      shell(`${path},snapshot`)(`echo "by guest ${number}" >/dev/vda; sync; head -n 1 /dev/vda`),
    );
    expect(await Promise.all(guests)).toEqual([
      [0, 'by guest 1\n', ''],
      [0, 'by guest 2\n', ''],
    ]);
    expect(readFileSync(path).subarray(0, 10).toString()).toBe('as it was\n');
  });

  test('is refused by a read-only disk', async () => {
    const path = await image('read-only.qcow2', MiB);
    const [, stdout] = await shell(`${path},readonly`)('cat /sys/block/vda/ro; echo x >/dev/vda || echo refused');
    expect(stdout).toBe('1\nrefused\n');
  });

  test('is written through where the disk is set so, and by a disk on virtio-mmio too', async () => {
    const written = await image('through.qcow2', MiB);
    const on = await image('mmio.qcow2', MiB);
    const [code, stdout] = await shell(
      `${written},cache=writethrough`,
      `${on},bus=mmio`,
    )(`
      for disk in vda vdb; do
        case $(readlink /sys/block/$disk) in */pci*) bus=pci ;; */*virtio_mmio*) bus=mmio ;; esac
        echo "$(cat /sys/block/$disk/serial) $bus $(cat /sys/block/$disk/queue/write_cache)"
        echo "on $bus" >/dev/$disk
      done | sort; sync; head -n 1 /dev/vda; head -n 1 /dev/vdb`);
    expect(code).toBe(0);
    expect(stdout.split('\n').slice(0, 2)).toEqual(['disk0 pci write through', 'disk1 mmio write back']);
    expect(stdout.split('\n').slice(2, 4).toSorted()).toEqual(['on mmio', 'on pci']);
  });
});

describe('a damaged image', () => {
  // By other names than those that QEMU has to find whole.
  test('that was cut off within its tables starts no machine', async () => {
    const path = await image('cut-off.img', MiB);
    truncateSync(path, 1000);
    const [code, stdout, stderr] = await shell(path)('echo ran');
    expect([code, stdout]).toEqual([125, '']);
    expect(stderr).toMatch(/^ringfence: Disk ".*cut-off\.img" is damaged: it has .* beyond the end of its file\n$/);
  });

  test.skipIf(!hasQemuImg)(
    'behind its header is an I/O error for the guest, and one sentence for its user',
    async () => {
      const path = await image('damaged.img', MiB);
      qemu('qemu-io', '-f', 'qcow2', '-c', 'write -P 7 0 1M', path);
      const bytes = readFileSync(path);
      const entryAt = (at: number): number => Number(bytes.readBigUInt64BE(at) & OFFSET_MASK);
      const l2 = entryAt(entryAt(L1_OFFSET_FIELD));
      // The first cluster of the disk is where none can begin; the others are as they were.
      bytes.writeBigUInt64BE(bytes.readBigUInt64BE(l2) | 512n, l2);
      writeFileSync(path, bytes);
      const [code, stdout, stderr] = await shell(path)(`
      for try in 1 2; do dd if=/dev/vda of=/dev/null bs=4096 count=1 2>&1 | grep -o 'Input/output error'; done
      dd if=/dev/vda bs=4096 skip=100 count=1 2>/dev/null | tr -d '\\7' | wc -c`);
      expect([code, stdout]).toEqual([0, 'Input/output error\nInput/output error\n0\n']);
      expect(stderr).toMatch(/^ringfence: .*Disk ".*damaged\.img" is damaged: it .*\n$/);
    },
  );
});

test.skipIf(!hasQemuImg)('QEMU finds nothing wrong with any disk that these guests had', () => {
  const images = readdirSync(folder).filter((name) => name.endsWith('.qcow2'));
  for (const name of images)
    // Clusters that leaked are what a kill may leave behind, and no harm.
    expect(check(join(folder, name)), name).toEqual(name === KILLED ? { ...CLEAN, leaks: expect.any(Number) } : CLEAN);
});
