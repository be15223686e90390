/** A machine's memory with the real kernel: what it has free goes back, and more when it is asked for. */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VM } from '../src/index.ts';

const MiB = 2 ** 20;
/** Linux reports free pages two seconds after the last change, some at a time. */
const PATIENCE_MS = 40_000;

/** Looks until it is so; gives the last value. */
async function until(look: () => Promise<number>, isSo: (value: number) => boolean): Promise<number> {
  for (const endMs = performance.now() + PATIENCE_MS; ;) {
    const value = await look();
    if (isSo(value) || performance.now() > endMs) return value;
    await sleep(200);
  }
}

describe.each([1, 2])('a balloon in a machine with %i processors', (cpus) => {
  let vm: VM;

  beforeAll(async () => {
    vm = await VM.start({ memory: '512M', cpus, balloon: true, reachable: false });
  });
  afterAll(() => vm.kill());

  const resident = async (): Promise<number> => (await vm.memory()).residentBytes;

  test('memory that was used and is free again goes back, and can be used again', async () => {
    const before = await resident();
    const fill =
      'mount -t tmpfs none /mnt && dd if=/dev/urandom of=/mnt/x bs=1M count=160 2>/dev/null && sha256sum /mnt/x';
    const { stdout, code } = await vm.exec(['sh', '-c', fill]);
    expect(code).toBe(0);
    expect(await resident()).toBeGreaterThan(before + 150 * MiB);
    expect((await vm.exec(['sha256sum', '/mnt/x'])).stdout).toBe(stdout);
    await vm.exec(['sh', '-c', 'rm /mnt/x']);
    expect(await until(resident, (bytes) => bytes < before + 60 * MiB)).toBeLessThan(before + 60 * MiB);
    const again = await vm.exec([
      'sh',
      '-c',
      'dd if=/dev/urandom of=/mnt/y bs=1M count=100 2>/dev/null && cp /mnt/y /mnt/z && cmp /mnt/y /mnt/z && rm /mnt/?',
    ]);
    expect(again).toMatchObject({ code: 0, stderr: '' });
  });

  test('the guest gives back what it is asked for, says so, and gets it again', async () => {
    const free = async (): Promise<number> => (await vm.memory()).guest?.freeBytes ?? 0;
    const total = (await vm.memory()).guest?.totalBytes ?? 0;
    expect(total).toBeGreaterThan(400 * MiB);
    const before = await free();
    vm.setBalloon(200 * MiB);
    const actual = await until(
      async () => (await vm.memory()).actualBytes,
      (bytes) => bytes === 200 * MiB,
    );
    expect(actual).toBe(200 * MiB);
    expect(await free()).toBeLessThan(before - 150 * MiB);
    vm.setBalloon(0);
    expect(
      await until(
        async () => (await vm.memory()).actualBytes,
        (bytes) => bytes === 0,
      ),
    ).toBe(0);
    expect(await until(free, (bytes) => bytes > before - 30 * MiB)).toBeGreaterThan(before - 30 * MiB);
    expect(await vm.exec(['sh', '-c', 'dmesg | grep -cE "BUG:|Oops|Kernel panic"'])).toMatchObject({ stdout: '0\n' });
  });

  test('more than it has cannot be asked for', () => {
    expect(() => vm.setBalloon(513 * MiB)).toThrow('is no part of a memory of 536870912 bytes');
  });
});
