import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { expect, test } from 'vitest';
import { rehearse } from './rehearsal.ts';

test('a rehearsal takes nobody’s WebAssembly away', async () => {
  await expect(rehearse()).rejects.toThrow(/no WebAssembly/);
});

test('where there is none it comes to its end, and leaves nothing that holds the process or can be seen', () => {
  const program = `
    import { rehearse } from ${JSON.stringify(new URL('./rehearsal.ts', import.meta.url).href)};
    delete globalThis.WebAssembly;
    const before = [SharedArrayBuffer, Uint8Array.fromBase64, Uint8Array.prototype.toBase64];
    await rehearse();
    const after = [SharedArrayBuffer, Uint8Array.fromBase64, Uint8Array.prototype.toBase64];
    console.log(typeof WebAssembly, before.every((value, n) => value === after[n]));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'undefined true\n', stderr: '' });
});
