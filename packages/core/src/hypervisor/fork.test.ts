import { describe, expect, test } from 'vitest';
import { TIERS, onTier } from '../engine/testing/tiers.ts';
import { Machine } from '../machine/machine.ts';
import { MAXIMUM_DOMAIN_BYTES, type MachineOptions } from '../machine/options.ts';
import { bareProgram } from '../machine/testing/bare-machine.ts';
import { MachineRunner } from '../vm/runner.ts';
import { Transcript, nodeClock, nodeEntropy, nodeTurns, within } from '../vm/testing/node-host.ts';
import { ForkError, ForkPoint } from './fork.ts';

const ROUNDS = 200_000;

/** Counts, says what is at `name`, and ends; every hart does, and the first waits for the others. */
const PROGRAM = `
        csrr s3, mhartid
        slli t0, s3, 3
        la   s0, count
        add  s0, s0, t0
        li   s1, ${ROUNDS}
loop:   ld   t0, 0(s0)
        addi t0, t0, 1
        sd   t0, 0(s0)
        blt  t0, s1, loop
        bnez s3, done
        la   s0, count
2:      pause
        ld   t0, 8(s0)
        blt  t0, s1, 2b
        lbu  t0, name
        li   t1, 0x10000000
        sb   t0, 0(t1)
        li   t0, 0x5555
        li   t1, 0x100000
        sw   t0, 0(t1)
done:   wfi
        j    done
        .balign 4096
name:   .byte 80
        .balign 4096
count:  .dword 0
        .dword 0`.replace('lbu  t0, name', 'la   t0, name\n lbu  t0, 0(t0)');

interface Made {
  readonly machine: Machine;
  readonly runner: MachineRunner;
  readonly clock: typeof nodeClock;
  readonly said: Transcript;
}

function optionsOf(said: Transcript, more: Partial<MachineOptions>): MachineOptions {
  return {
    memoryBytes: 4 << 20,
    harts: 2,
    clock: nodeClock,
    entropy: nodeEntropy,
    serialOutput: said,
    firmware: 'none',
    ...more,
  };
}

const made = (machine: Machine, said: Transcript): Made => ({
  machine,
  runner: new MachineRunner(machine, nodeTurns),
  clock: nodeClock,
  said,
});

async function parent(
  more: Partial<MachineOptions> = {},
): Promise<Made & { readonly symbols: ReadonlyMap<string, bigint> }> {
  const { payload, symbols } = bareProgram(PROGRAM);
  const said = new Transcript();
  const machine = await Machine.create(
    optionsOf(said, { kernel: payload, domainBytes: MAXIMUM_DOMAIN_BYTES, ...more }),
  );
  return { ...made(machine, said), symbols };
}

async function forks(of: Made, count: number): Promise<Made[]> {
  const point = await ForkPoint.of(of, count);
  try {
    return Array.from({ length: count }, () => {
      const said = new Transcript();
      return made(point.machine(optionsOf(said, {})), said);
    });
  } finally {
    point.release();
  }
}

const ends = ({ runner }: Made): Promise<unknown> => within(runner.ended, 60_000, 'the guest');

describe.each(TIERS)('a machine that is forked while it runs, on the %s', (tier) => {
  test('goes on, and so do its forks and theirs, each with a memory and devices of its own', async () => {
    const first = await parent(onTier(tier));
    first.runner.start();
    const at = Number(first.symbols.get('count'));
    while ((first.machine.ram.load32(at) ?? 0) < 1000) await new Promise(setImmediate);
    const children = await forks(first, 2);
    const [one] = children;
    if (one === undefined) throw new Error('a fork');
    expect(one.machine.ram.load32(at)).toBeGreaterThanOrEqual(1000);
    for (const [index, { machine, runner }] of children.entries()) {
      machine.ram.store8(Number(first.symbols.get('name')), 'AB'.charCodeAt(index));
      runner.start();
    }
    const grandchildren = await forks(one, 1);
    for (const { machine, runner } of grandchildren) {
      machine.ram.store8(Number(first.symbols.get('name')), 'C'.charCodeAt(0));
      runner.start();
    }
    const all = [first, ...children, ...grandchildren];
    expect(await Promise.all(all.map(ends))).toEqual(all.map(() => ({ kind: 'poweroff' })));
    expect(all.map(({ said }) => said.text)).toEqual(['P', 'A', 'B', 'C']);
    for (const { machine } of all) expect(machine.ram.load32(at)).toBe(ROUNDS);
  });
});

describe('a fork', () => {
  test('goes on when its parent has ended, and ends without harm to others', async () => {
    const first = await parent();
    first.runner.start();
    const [one, two] = await forks(first, 2);
    if (one === undefined || two === undefined) throw new Error('two forks');
    await first.runner.stop();
    first.machine.close();
    one.runner.start();
    two.runner.start();
    await two.runner.stop();
    two.machine.close();
    expect(await ends(one)).toEqual({ kind: 'poweroff' });
    expect(one.said.text).toBe('P');
    one.machine.close();
  });

  test('of a machine that stands still leaves it so', async () => {
    const first = await parent();
    first.runner.start();
    await first.runner.pause();
    const [child] = await forks(first, 1);
    expect(first.runner.isPaused).toBe(true);
    child?.runner.start();
    expect(await ends(child ?? first)).toEqual({ kind: 'poweroff' });
    first.runner.resume();
    expect(await ends(first)).toEqual({ kind: 'poweroff' });
  });

  test('that has no room is refused, and the machine runs on', async () => {
    const first = await parent({ domainBytes: 0 });
    first.runner.start();
    const refused = await forks(first, 3).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ForkError);
    expect(refused).toMatchObject({ code: 'no-room', message: expect.stringContaining('of a memory domain that has') });
    expect(await ends(first)).toEqual({ kind: 'poweroff' });
  });
});
