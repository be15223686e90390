/** Forks and snapshots of the same machine: pages that are elsewhere, pages that are shared, and pages that are kept. */

import { beforeAll, describe, expect, test } from 'vitest';
import { Machine } from '../machine/machine.ts';
import { MAXIMUM_DOMAIN_BYTES, type MachineOptions } from '../machine/options.ts';
import { bareMachine } from '../machine/testing/bare-machine.ts';
import { restoreInto } from '../vm/snapshot/open-snapshot.ts';
import { MemorySnapshots, STANDING } from '../vm/snapshot/testing/memory-snapshots.ts';
import { nodeClock, nodeEntropy } from '../vm/testing/node-host.ts';
import { ForkPoint } from './fork.ts';

const PAGES = 64;
/** Adds `step` to the first word of each page of a table, again and again, and counts the rounds. */
const PROGRAM = `
1:    la   s0, table
      li   s1, ${PAGES}
      la   t0, step
      ld   s2, 0(t0)
      li   s3, 4096
2:    ld   t1, 0(s0)
      add  t1, t1, s2
      sd   t1, 0(s0)
      add  s0, s0, s3
      addi s1, s1, -1
      bnez s1, 2b
      la   t0, rounds
      ld   t1, 0(t0)
      addi t1, t1, 1
      sd   t1, 0(t0)
      j    1b
      .balign 4096
step:   .dword 1
rounds: .dword 0
      .balign 4096
table:  .dword 0`;

const OPTIONS: MachineOptions = {
  memoryBytes: 4 << 20,
  clock: nodeClock,
  entropy: nodeEntropy,
  serialOutput: { write: () => {} },
  firmware: 'none',
  domainBytes: MAXIMUM_DOMAIN_BYTES,
};

describe('a machine of which there are snapshots and forks', () => {
  const store = new MemorySnapshots();
  let symbols: ReadonlyMap<string, bigint>;
  let first: string;

  const addressOf = (name: string): number => Number(symbols.get(name));
  const word = (machine: Machine, address: number): number => machine.ram.load32(address) ?? -1;
  const rounds = (machine: Machine): number => word(machine, addressOf('rounds'));
  const run = (machine: Machine, count: number): void => {
    for (const until = rounds(machine) + count; rounds(machine) < until;) machine.run(1);
  };
  /** Runs on until it is between two rounds, and gives what is in the table: one number, when all pages have the same. */
  const table = (machine: Machine): number[] =>
    Array.from({ length: PAGES }, (_, page) => word(machine, addressOf('table') + 4096 * page));
  const spread = (machine: Machine): number => Math.max(...table(machine)) - Math.min(...table(machine));
  const setStep = (machine: Machine, step: number): boolean => machine.ram.store32(addressOf('step'), step);
  const restored = async (id: string): Promise<Machine> => {
    const machine = await Machine.create({ ...OPTIONS, blank: true });
    restoreInto(machine, store.open(id));
    return machine;
  };
  const forked = async (machine: Machine, count: number): Promise<Machine[]> => {
    const point = await ForkPoint.of({ machine, runner: STANDING, clock: nodeClock }, count);
    try {
      return Array.from({ length: count }, () => point.machine(OPTIONS));
    } finally {
      point.release();
    }
  };

  beforeAll(async () => {
    const bare = await bareMachine(PROGRAM, { clock: nodeClock });
    ({ symbols } = bare);
    run(bare.machine, 3);
    first = (await store.take(bare.machine)).manifest.id;
  });

  test('forks of one that was restored load what neither has touched, each for itself', async () => {
    const parent = await restored(first);
    const [one, two] = await forked(parent, 2);
    if (one === undefined || two === undefined) throw new Error('there are two forks');
    const before = table(await restored(first));
    expect(table(one)).toEqual(before);
    setStep(one, 1000);
    run(one, 2);
    expect(Math.min(...table(one))).toBeGreaterThan(1000);
    expect(table(two)).toEqual(before);
    run(parent, 2);
    expect(Math.max(...table(parent))).toBeLessThan(1000);
    for (const machine of [parent, one, two]) machine.close();
  });

  test('a snapshot of a fork holds the pages that it shares, also those that its parent had before', async () => {
    const parent = await restored(first);
    run(parent, 1);
    const [child] = await forked(parent, 1);
    if (child === undefined) throw new Error('there is a fork');
    setStep(child, 1000);
    const { manifest } = await store.take(child);
    expect(table(await restored(manifest.id))).toEqual(table(child));
    run(parent, 5);
    run(child, 1);
    const again = await restored(manifest.id);
    expect(spread(again)).toBeLessThanOrEqual(1);
    expect(word(again, addressOf('step'))).toBe(1000);
    run(again, 2);
    expect(Math.min(...table(again))).toBeGreaterThan(1000);
    for (const machine of [parent, child, again]) machine.close();
  });

  test('what is written while a snapshot is taken is not in it, of pages of its own and of shared ones', async () => {
    const parent = await restored(first);
    run(parent, 1);
    const [child] = await forked(parent, 1);
    if (child === undefined) throw new Error('there is a fork');
    const before = table(child);
    const others = table(parent);
    const point = await store.hold(child, {});
    setStep(child, 1000);
    run(child, 1);
    expect(child.pages.keptBytes).toBeGreaterThan(PAGES * 4096 - 1);
    const { manifest } = await point.write();
    expect(table(await restored(manifest.id))).toEqual(before);
    expect(Math.max(...table(child))).toBeGreaterThan(1000);
    expect(table(parent)).toEqual(others);
    run(child, 2);
    expect(spread(child)).toBeLessThanOrEqual(1000);
    for (const machine of [parent, child]) machine.close();
  });

  test('has no forks while a snapshot of it is taken', async () => {
    const parent = await restored(first);
    const point = await store.hold(parent, {});
    await expect(forked(parent, 1)).rejects.toMatchObject({ code: 'snapshot' });
    await point.write();
    expect(await forked(parent, 1)).toHaveLength(1);
  });
});
