/** A disk that is really full: a small tmpfs in a user namespace, where the machine lets us have one. */

import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { makeArchive, makeSigningKey, tinyPackages } from '../src/testing/debian-archive.ts';
import { serveArchive } from '../src/testing/http-mirror.ts';

const PULL_PROCESS = fileURLToPath(new URL('../src/testing/pull-process.ts', import.meta.url));
const canMount = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt']).status === 0;

test.skipIf(!canMount)('a full disk is told with a sentence, wherever it fills up, and keeps nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-full-'));
  const key = await makeSigningKey();
  writeFileSync(join(folder, 'keyring.gpg'), key.keyring);
  mkdirSync(join(folder, 'cache'));
  // 200 KB of kernel that make a package of 150 KB: the disk fills up at the lock, the index, the package or the kernel.
  const noise = randomBytes(150_000).toString('base64');
  await using mirror = await serveArchive(await makeArchive({ key, packages: tinyPackages(noise) }));
  const options = {
    mirror: mirror.url,
    keyring: join(folder, 'keyring.gpg'),
    cacheDir: join(folder, 'cache'),
    env: {},
  };

  const pull = async (size: string): Promise<string> => {
    const script = `mount -t tmpfs -o size=${size} tmpfs "$1"; "$2" "$3" "$4"; ls -A "$1"/images/* 2>/dev/null`;
    const child = spawn('unshare', [
      '-rm',
      'sh',
      '-c',
      script,
      'sh',
      options.cacheDir,
      process.execPath,
      PULL_PROCESS,
      JSON.stringify(options),
    ]);
    let output = '';
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    await new Promise((resolve) => child.on('close', resolve));
    return output.trim();
  };
  try {
    for (const size of ['4k', '16k', '100k', '300k']) {
      expect(await pull(size), size).toMatch(
        /^no-space: The disk of the cache .*cache is full\. [^\n]*RINGFENCE_CACHE\.$/,
      );
    }
    expect(await pull('8m')).toMatch(/\/initrd-[0-9a-f]{16}\ninitrd-.*\nkernel-.*\nmanifest\.json$/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
