/** Machines of one memory domain with the real kernel: what they have in common, and what each has alone. */

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { VM, VMDomain } from '../src/index.ts';

const MiB = 2 ** 20;
const PATIENCE_MS = 40_000;

describe('machines of one memory domain', () => {
  test('have equal pages in common until one writes them, and live on when another has ended', async () => {
    await using domain = await VMDomain.create({ label: 'tests', scanShare: 0.5 });
    const start = (): Promise<VM> =>
      VM.start({ image: 'tiny', memory: '128M', domain, label: 'tests', reachable: false });
    const [one, other] = [await start(), await start()];
    for (const endMs = performance.now() + PATIENCE_MS; performance.now() < endMs; await sleep(200)) {
      const { frameBytes, pageBytes } = domain.memory();
      if (frameBytes < 0.6 * pageBytes) break;
    }
    const { frameBytes, pageBytes } = domain.memory();
    expect(frameBytes).toBeLessThan(0.6 * pageBytes);
    const say = (vm: VM): Promise<string> =>
      vm.exec(['sh', '-c', 'echo $(hostname) > /name; cat /name']).then(({ stdout }) => stdout.trim());
    expect(await Promise.all([one, other].map(say))).toEqual([one.name, other.name]);
    const [fork] = await other.fork({ names: ['a-fork'] });
    await one.kill();
    expect(await say(other)).toBe(other.name);
    expect(fork && (await say(fork))).toBe('a-fork');
    await other.kill();
    await fork?.kill();
    expect(domain.memory()).toMatchObject({ frameBytes: 0, pageBytes: 0 });
    expect(domain.memory().freeBytes).toBeGreaterThan(domain.memory().domainBytes - 64 * MiB);
  });

  test('are alike in label, processors and engine, or are refused', async () => {
    await using domain = await VMDomain.create({ label: 'tests' });
    await expect(VM.start({ domain })).rejects.toThrow('for machines with the label "tests", and not ""');
    const wanted = { domain, label: 'tests' };
    await expect(VM.start({ ...wanted, cpus: 2 })).rejects.toThrow('one processor each, and not 2');
    await expect(VM.start({ ...wanted, engine: 'interpreter' })).rejects.toThrow('is the domain’s');
    await expect(VMDomain.create({ scanShare: 2 })).rejects.toThrow('no part of a core');
    await expect(VMDomain.create({ cpus: 9 })).rejects.toThrow('1 to 8');
  });
});
