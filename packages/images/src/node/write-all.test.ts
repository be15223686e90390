import { execFileSync, spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const MODULE = fileURLToPath(new URL('./write-all.ts', import.meta.url));
const canMount = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt']).status === 0;

test.skipIf(!canMount)('a disk that has room for a part only is a full disk', () => {
  const program = `
    import { open } from 'node:fs/promises';
    import { writeAll } from ${JSON.stringify(MODULE)};
    const file = await open('/mnt/file', 'w');
    console.log(await writeAll(file, new Uint8Array(100_000), 0).then(() => 'written', ({ code }) => code));`;
  const script = 'mount -t tmpfs -o size=64k tmpfs /mnt && exec "$@"';
  const words = [process.execPath, '--input-type=module', '--eval', program];
  expect(execFileSync('unshare', ['-rm', 'sh', '-c', script, 'sh', ...words], { encoding: 'utf8' })).toBe('ENOSPC\n');
});
