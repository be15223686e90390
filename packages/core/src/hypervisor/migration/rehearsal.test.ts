import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import type { Machine } from '../../machine/machine.ts';
import { blankMachine } from '../../machine/testing/blank-machine.ts';
import type { MigrationCodec } from './ports.ts';
import { type RehearsalHost, rehearseMigration } from './rehearsal.ts';

const clock = { monotonicNs: () => performance.now() * 1e6, wallNs: () => 0n };
const make = (): Promise<Machine> => blankMachine({ memoryBytes: 8 * 1024 * 1024, clock, firmware: 'own' });

test('a machine of no consequence moves there and back, and has executed something at each end', async () => {
  const machines = [await make(), await make()] as const;
  const states = callsOf(machines, 'restore');
  await rehearseMigration(
    machines,
    host(async () => undefined),
  );
  // It began once, came four times, and was taken back four times.
  expect(states()).toBe(9);
  for (const machine of machines) {
    expect(machine.pages.isEmpty(machine.pages.count)).toBe(machine === machines[1]);
    machine.close();
  }
}, 20_000);

test('where that fails no machine executes anything any more', async () => {
  const machines = [await make(), await make()] as const;
  const turns = callsOf(machines, 'run');
  const failing = host(() => Promise.reject(new Error('it cannot be packed')));
  await expect(rehearseMigration(machines, failing)).rejects.toThrow('it cannot be packed');
  const before = turns();
  await sleep(50);
  expect([before > 0, turns() - before]).toEqual([true, 0]);
  for (const machine of machines) machine.close();
}, 20_000);

/** How often that is asked of any of them from now on. */
function callsOf(machines: readonly Machine[], method: 'restore' | 'run'): () => number {
  const spies = machines.map((machine) => vi.spyOn(machine, method));
  return () => spies.reduce((sum, { mock }) => sum + mock.calls.length, 0);
}

const host = (compress: MigrationCodec['compress']): RehearsalHost => ({
  clock: { ...clock, sleep },
  codec: { checksum: (bytes) => bytes.length, compress, decompress: (packed) => packed, turn },
  turns: { soon: (callback) => void setImmediate(callback), after: (ms, callback) => timer(ms, callback) },
});

function timer(ms: number, callback: () => void): () => void {
  const set = setTimeout(callback, ms);
  return () => clearTimeout(set);
}
