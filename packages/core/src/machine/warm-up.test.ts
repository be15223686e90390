import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { DRAM_BASE } from './memory-map.ts';
import { PacedClock } from './testing/bare-machine.ts';
import { blankMachine } from './testing/blank-machine.ts';
import { warmUp } from './warm-up.ts';

test('a machine that was warmed up has executed something, and is blank again', async () => {
  const clock = new PacedClock();
  clock.paceNs = 20_000;
  const machine = await blankMachine({ clock });
  let executed = 0;
  await warmUp(machine, async () => {
    executed = machine.statistics()['instructions'] ?? 0;
    await turn();
  });
  expect(executed).toBeGreaterThan(1000);
  const count = machine.statistics()['instructions'];
  machine.run(1);
  expect(machine.statistics()['instructions']).toBe(count);
  const bytes = new Uint8Array(8192).fill(1);
  machine.ram.read(DRAM_BASE, bytes);
  expect([
    bytes.every((byte) => byte === 0),
    machine.pages.isEmpty(machine.pages.count),
    machine.pages.codePages,
  ]).toEqual([true, true, 0]);
  machine.ram.write(DRAM_BASE, bytes.fill(3));
  await expect(warmUp(machine, turn)).rejects.toThrow('nothing is in a machine that is warmed up');
});
