import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Machine } from '../../machine/machine.ts';
import { blankMachine } from '../../machine/testing/blank-machine.ts';
import { rehearseMigration } from './rehearsal.ts';

test('a machine of no consequence moves there and back, and has executed something at each end', async () => {
  const clock = { monotonicNs: () => performance.now() * 1e6, wallNs: () => 0n };
  const make = (): Promise<Machine> => blankMachine({ memoryBytes: 8 * 1024 * 1024, clock, firmware: 'own' });
  const machines = [await make(), await make()] as const;
  let states = 0;
  for (const machine of machines) {
    const restore = machine.restore.bind(machine);
    machine.restore = (state) => {
      states++;
      restore(state);
    };
  }
  await rehearseMigration(machines, {
    clock: { ...clock, sleep },
    codec: { checksum: (bytes) => bytes.length, compress: async () => undefined, decompress: (packed) => packed, turn },
    turns: { soon: (callback) => void setImmediate(callback), after: (ms, callback) => timer(ms, callback) },
  });
  // It began once, came four times, and was taken back four times.
  expect(states).toBe(9);
  for (const machine of machines) {
    expect(machine.pages.isEmpty(machine.pages.count)).toBe(machine === machines[1]);
    machine.close();
  }
}, 20_000);

function timer(ms: number, callback: () => void): () => void {
  const set = setTimeout(callback, ms);
  return () => clearTimeout(set);
}
