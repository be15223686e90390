/**
 * The real image, of the suites that have to work, in QEMU: what README.md, "The guest protocol", promises to the host. It needs QEMU
 * and, the first time, a Debian mirror.
 */

import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { cpioMembers } from '../src/archive/cpio.ts';
import { openTiny, type GuestCommand, type TinyImage } from '../src/index.ts';
import { isImage } from '../src/linux/kernel-image.ts';
import { conversation, hasQemu, runInQemu } from './testing/qemu.ts';

const shell = (script: string, ...words: (string | Uint8Array)[]): GuestCommand => ({
  argv: ['sh', '-c', script, 'sh', ...words],
  interactive: false,
});

describe.each(['stable', 'testing'])('the image of %s', (suite) => {
  let image: TinyImage;
  beforeAll(async () => {
    image = await openTiny({ suite });
  });

  test('is a plain kernel and a small initrd, and opens without a network', async () => {
    expect(isImage(readFileSync(image.kernelPath))).toBe(true);
    const initrd = readFileSync(image.initrdPath);
    expect(initrd.length).toBeLessThan(10 * 1024 * 1024);
    const names = cpioMembers(initrd).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['init', 'usr/bin/busybox', 'usr/bin/sh', 'usr/bin/vi']));
    for (const module of ['virtio_blk', 'virtio_net', 'virtio-rng', 'virtio_mmio', 'ext4', 'vfat', 'overlay', '9p']) {
      expect(
        names.filter((name) => name.endsWith(`/${module}.ko`)),
        module,
      ).toHaveLength(1);
    }
    const offline = await openTiny({ suite, mirror: 'http://mirror.invalid/' });
    expect(offline.initrdPath).toBe(image.initrdPath);
  });

  test.skipIf(!hasQemu)('gives a command its words and streams byte for byte, and its exit code back', async () => {
    const words = [
      Uint8Array.from({ length: 255 }, (_, at) => at + 1),
      '',
      "it's",
      '$(poweroff)',
      'new\nline',
      randomBytes(500).map((octet) => octet || 1),
    ];
    const stdin = randomBytes(1024 * 1024);
    const script =
      'for word; do printf %s "$word" | md5sum >&2; done; echo a; echo b >/dev/stdout; echo c; echo d >/dev/stderr; cat /dev/stdin; exit 44';
    const { stdout, stderr, control } = await runInQemu({ image, command: shell(script, ...words), stdin });
    const sums = words.map((word) => `${createHash('md5').update(word).digest('hex')}  -\n`);
    expect(stderr.toString()).toBe(`${sums.join('')}d\n`);
    expect(stdout.equals(Buffer.concat([Buffer.from('a\nb\nc\n'), stdin]))).toBe(true);
    expect(control).toBe('ready\nexit 44\n');
  });

  test.skipIf(!hasQemu)(
    'ends with the command, whatever that leaves running and whether or not its input ends',
    async () => {
      const script =
        '(while :; do sleep 0.01; done) & setsid sh -c "trap : 1 2 15; sleep 1000" & sleep 1000 & echo done; kill -SEGV $$';
      const { stdout, control } = await runInQemu({ image, command: shell(script), stdin: undefined });
      expect(stdout.toString()).toBe('done\n');
      expect(control).toBe('ready\nexit 139\n');
    },
  );

  test.skipIf(!hasQemu)('says 127 for a command that is not there', async () => {
    const { stderr, control } = await runInQemu({
      image,
      command: { argv: ['no such command', 'x'], interactive: false },
      stdin: '',
    });
    expect(stderr.toString()).toBe('no such command: not found\n');
    expect(control).toBe('ready\nexit 127\n');
  });

  test.skipIf(!hasQemu)('gives a shell with job control on the console', async () => {
    const { talk, log } = conversation([
      // The key comes when the program is surely the one in the foreground: it has answered.
      ['# ', 'tty; echo $TERM; cat\r'],
      ['vt220\r\n', 'still\r'],
      ['still\r\nstill\r\n', '\x03'],
      ['# ', 'hostname; exit 7\r'],
    ]);
    const command: GuestCommand = { argv: [], interactive: true, hostname: 'web-1', env: { TERM: 'vt220' } };
    const { control } = await runInQemu({ image, command, onConsole: talk });
    expect(log()).toContain('\r\n/dev/hvc0\r\nvt220\r\n');
    expect(log()).toContain('\r\nweb-1\r\n');
    expect(control).toBe('ready\nexit 7\n');
  });

  test.skipIf(!hasQemu)('mounts disks, and has them written when the command ends', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ringfence-disks-'));
    const disks = ['a', 'b'].map((name) => join(folder, name));
    try {
      for (const disk of disks) writeFileSync(disk, Buffer.alloc(16 * 1024 * 1024));
      const script =
        'mke2fs /dev/vda >/dev/null && mkdosfs /dev/vdb && mkdir /mnt/a /mnt/b && mount /dev/vda /mnt/a && mount /dev/vdb /mnt/b && ' +
        'echo "$1" >/mnt/a/file && echo "$2" >/mnt/b/file.txt && grep /mnt/ /proc/mounts | cut -d" " -f3';
      const { stdout, stderr, control } = await runInQemu({
        image,
        command: shell(script, 'words on ext', 'words on fat'),
        stdin: '',
        disks,
      });
      expect(stderr.toString()).toBe('');
      expect(stdout.toString()).toBe('ext4\nvfat\n');
      expect(control).toBe('ready\nexit 0\n');
      expect(disks.map((disk) => readFileSync(disk).includes('words on'))).toEqual([true, true]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
