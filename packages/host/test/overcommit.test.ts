/** Machines with the real kernel that use more memory than there is for them together. */

import { writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MemoryPool } from '@ringfence/core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { VM, VMDomain } from '../src/index.ts';

const MiB = 2 ** 20;
/** Noise that nothing can pack, and text; then all of it is read again, twice. */
const WORK = `
mkdir -p /data && mount -t tmpfs -o size=90% none /data && cd /data || exit 1
dd if=/dev/urandom of=noise bs=1M count=36 2>/dev/null && seq 1 2000000 | head -c 12000000 > text || exit 1
first=$(cat noise text | sha256sum)
for round in 1 2; do [ "$(cat noise text | sha256sum)" = "$first" ] || exit 2; done`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ringfence-paging-test-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('machines in a pool', () => {
  test('use more than it has, and every byte is what was written', async () => {
    await using domain = await VMDomain.create({ label: 'tests', memory: '96M', pagingFolder: folder });
    const start = (): Promise<VM> =>
      VM.start({
        memory: '160M',
        memoryReservation: '16M',
        domain,
        label: 'tests',
        balloon: true,
        reachable: false,
      });
    const machines = [await start(), await start()];
    await expect(VM.start({ domain, label: 'tests', memory: '160M', memoryReservation: '64M' })).rejects.toThrow(
      /64 MiB cannot be reserved: of the pool’s 96 MiB, 4\d MiB are reserved already/,
    );
    await expect(VM.start({ domain, label: 'tests', memoryLimit: '8M' })).rejects.toThrow('under what a guest needs');
    await expect(machines[0]?.fork({ count: 4 })).rejects.toThrow('64 MiB cannot be reserved');
    const results = await Promise.all(machines.map((vm) => vm.exec(['sh', '-c', WORK])));
    expect(results.map(({ code, stderr }) => [code, stderr])).toEqual([
      [0, ''],
      [0, ''],
    ]);
    const { pool } = domain.memory();
    expect(pool?.pageOuts).toBeGreaterThan(1000);
    expect(pool?.packs).toBeGreaterThan(1000);
    expect(pool?.usedBytes).toBeLessThan(96 * MiB + 24 * MiB);
    const [first] = machines;
    const memory = await first?.memory();
    expect((memory?.pool?.compressedBytes ?? 0) + (memory?.pool?.pagedBytes ?? 0)).toBeGreaterThan(4 * MiB);
    // The file has no name.
    expect(await readdir(folder)).toEqual([]);
    await Promise.all(machines.map((vm) => vm.kill()));
  });

  test('run on when their pool fails at a tick, which is said once', async () => {
    const said: string[] = [];
    const log = { log: (_level: unknown, _area: unknown, message: string): void => void said.push(message) };
    await using domain = await VMDomain.create({ memory: '64M', pagingFolder: folder, log });
    expect(domain.hasPool).toBe(true);
    const tick = vi.spyOn(MemoryPool.prototype, 'tick').mockImplementation(() => {
      throw new Error('no frame left');
    });
    while (tick.mock.calls.length < 3) await delay(20);
    tick.mockRestore();
    expect(said).toEqual(['the memory domain failed: no frame left']);
  });

  test('are refused what only pools have, and a paging file where there can be none', async () => {
    await using domain = await VMDomain.create({ label: '' });
    await expect(VM.start({ domain, memoryShares: 5 })).rejects.toThrow('for machines of a memory domain');
    await expect(VM.start({ memoryLimit: '64M' })).rejects.toThrow('for machines of a memory domain');
    await expect(VMDomain.create({ memory: '8M' })).rejects.toThrow('memory "8M"');
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await expect(VMDomain.create({ memory: '64M', pagingFolder: file })).rejects.toThrow(
      'there can be no paging file in',
    );
    await rm(file);
  });
});
