/** `ringfence boot`: the serial console on stdio, endings and exit codes, the device tree, bad input. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTiny, type TinyImage } from '@ringfence/images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answer, end, start } from './testing/ringfence.ts';

let folder = '';
let image: TinyImage;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-boot-'));
  image = await openTiny();
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, ...words: readonly number[]): string {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(Uint32Array.from(words).buffer));
  return path;
}

/** Writes `value` to the test device (sifive_test) at 0x100000. */
function endingProgram(value: number): readonly number[] {
  return [
    0x0010_02b7, // lui t0, 0x100
    (((value + 0x800) & 0xffff_f000) | 0x337) >>> 0, // lui t1, value[31:12]
    (((value & 0xfff) << 20) | 0x0003_0313) >>> 0, // addi t1, t1, value[11:0]
    0x0062_a023, // sw t1, 0(t0)
    0x0000_006f, // j .
  ];
}

test('a Linux kernel has its serial console on stdin and stdout', async () => {
  const append = ['console=ttyS0', 'quiet', ...image.kernelParameters].join(' ');
  const child = start(
    'boot',
    '--kernel',
    image.kernelPath,
    '--initrd',
    image.initrdPath,
    '--append',
    append,
    '--timeout',
    '60s',
  );
  let seen = '';
  const whenSeen = new Promise<void>((resolve) => {
    child.stdout.on('data', (bytes: Buffer) => {
      seen += bytes.toString();
      if (seen.includes('root@tiny')) resolve();
    });
  });
  await whenSeen;
  const ended = await end(child, 'echo $((6 * 7)) from $(uname -m)\nexit\n');
  expect(ended.code).toBe(0);
  expect(ended.stdout.toString()).toContain('42 from riscv64');
});

describe('a bare program', () => {
  test('that switches off ends with 0', async () => {
    const program = file('poweroff', ...endingProgram(0x5555));
    expect(await answer(['boot', '--bios', 'none', '--kernel', program])).toEqual([0, '', '']);
  });

  test('that fails ends with its code, and it is said', async () => {
    const program = file('failure', ...endingProgram(0x2a_3333));
    const said = 'ringfence: the guest reported failure 42\n';
    expect(await answer(['boot', '--bios', 'none', '--kernel', program])).toEqual([42, '', said]);
  });

  test('that restarts the machine is started again, until the time is over', async () => {
    const program = file('restart', ...endingProgram(0x7777));
    const [code] = await answer(['boot', '--bios', 'none', '--kernel', program, '--timeout', '1s']);
    expect(code).toBe(124);
  });

  test('that spins with interrupts off is ended by the time limit', async () => {
    const program = file('spin', 0x3000_1073, 0x0000_006f);
    const [code, , stderr] = await answer(['boot', '--bios', 'none', '--kernel', program, '--timeout', '500ms']);
    expect([code, stderr]).toEqual([124, 'ringfence: the machine was ended after 500ms, as --timeout says\n']);
  });
});

test('the device tree is written to a file, whatever there is to boot', async () => {
  const path = join(folder, 'machine.dtb');
  expect(await answer(['boot', '--memory', '64M', '--dump-dtb', path])).toEqual([0, '', '']);
  expect(readFileSync(path).readUInt32BE(0)).toBe(0xd00d_feed);
});

describe('bad input', () => {
  test('a file that is no kernel', async () => {
    const [code, , stderr] = await answer(['boot', '--kernel', file('noise', 1, 2, 3)]);
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(/^ringfence: Cannot load kernel ".*noise": it is neither .*\n$/),
    ]);
  });

  test('an ELF file that ends too early', async () => {
    const [code, , stderr] = await answer(['boot', file('elf', 0x464c_457f, 0x0001_0102)]);
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(/^ringfence: Cannot load kernel ".*elf": .*complete.*\n$/),
    ]);
  });

  test('a bare file that is no ELF file', async () => {
    const [code, , stderr] = await answer(['boot', file('text', 0x2021_6948)]);
    expect([code, stderr]).toEqual([125, expect.stringContaining('is no ELF file; give a kernel with --kernel')]);
  });

  test('a device tree that cannot be written', async () => {
    const [code, , stderr] = await answer(['boot', '--dump-dtb', join(folder, 'none/tree.dtb')]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(
        /^ringfence: the device tree cannot be written to ".*": there is no such file or folder\n$/,
      ),
    ]);
  });
});
