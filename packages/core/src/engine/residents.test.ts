import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { assembleProgram } from '../isa/assemble-program.ts';
import { Domain } from './domain.ts';
import type { Engine, EngineSurroundings } from './engine.ts';
import type { Guest } from './guest.ts';
import type { Hart } from './hart.ts';
import { EXIT } from './interpreter.ts';
import { MAX_DOMAIN_BYTES } from './layout.ts';
import { TIERS, type Tier, createEngine } from './testing/tiers.ts';

const RAM = 0x8000_0000;
const REGIONS = [{ base: RAM, sizeBytes: 32 * PAGE_SIZE, writable: true }];
const nobody: EngineSurroundings = {
  mmioLoad: () => 0,
  mmioStore: () => 0,
  readTime: () => {},
  timerChanged: () => {},
};
const ROUNDS = 3000;

/**
 * Counts to ROUNDS in memory and, through a function, in a0. With s3 it writes another instruction into that function: one that adds what
 * s4 says, encoded.
 */
const COUNTING = `
        la s0, data
        li s2, ${ROUNDS}
loop:   ld t0, 0(s0)
        addi t0, t0, 1
        sd t0, 0(s0)
        call slot
        beqz s3, keep
        la t1, slot
        sw s4, 0(t1)
        fence.i
        li s3, 0
keep:   blt t0, s2, loop
1:      wfi
        j 1b
        .align 12
slot:   addi a0, a0, 1
        ret
        .align 12
data:   .dword 0`;

interface Running {
  readonly guest: Guest;
  readonly hart: Hart;
}

async function counting(tier: Tier, totalBytes?: number): Promise<{ domain: Domain; engine: Engine; first: Running }> {
  const domain = new Domain(REGIONS, { codePages: 8, totalBytes });
  const engine = await createEngine(domain, nobody, tier);
  const { bytes } = assembleProgram(COUNTING, BigInt(RAM));
  for (let at = 0; at < bytes.length; at++)
    domain.u8[domain.guest.host(at >>> 12, true) + (at & (PAGE_SIZE - 1))] = bytes[at] ?? 0;
  const hart = engine.addHart(0);
  hart.reset(BigInt(RAM));
  return { domain, engine, first: { guest: domain.guest, hart } };
}

function fork(engine: Engine, { guest, hart }: Running): Running {
  const made = engine.addGuest(guest.regions, nobody);
  guest.shareWith(made.guest);
  engine.flush(guest);
  const [child] = made.harts;
  if (child === undefined) throw new Error('a guest has a hart');
  child.restore(hart.save());
  return { guest: made.guest, hart: child };
}

/** Runs all of them by turns to their WFI. */
function finish(engine: Engine, all: readonly Running[]): void {
  const left = new Set(all);
  for (let turn = 0; turn < 100_000 && left.size > 0; turn++)
    for (const each of left) if (engine.run(each.hart, 150) === EXIT.WAIT) left.delete(each);
  expect(left.size).toBe(0);
}

const counted = ({ guest }: Running): bigint => {
  const data = guest.pageIndex(RAM + 2 * PAGE_SIZE);
  return guest.domain.u64[guest.host(data, false) >>> 3] ?? 0n;
};

const ADD_2 = 0x0025_0513n;
const ADD_5 = 0x0055_0513n;

describe.each(TIERS)('guests of one domain on the %s', (tier) => {
  test('each have their own memory and registers, and what one writes to its code is not the others', async () => {
    const { engine, first } = await counting(tier, MAX_DOMAIN_BYTES);
    for (let turn = 0; turn < 60; turn++) engine.run(first.hart, 100);
    const before = [counted(first), first.hart.x(10)] as const;
    expect(before[0]).toBeGreaterThan(100n);
    const [second, third] = [fork(engine, first), fork(engine, first)];
    second.hart.setX(19, 1n);
    second.hart.setX(20, ADD_2);
    third.hart.setX(19, 1n);
    third.hart.setX(20, ADD_5);
    finish(engine, [first, second, third]);
    for (const each of [first, second, third]) expect(counted(each)).toBe(BigInt(ROUNDS));
    const rest = BigInt(ROUNDS) - before[1];
    expect(first.hart.x(10)).toBe(BigInt(ROUNDS));
    // The round in which the code is written has called it already, or is about to.
    expect([before[1] + 2n * rest, before[1] + 2n * rest - 1n]).toContain(second.hart.x(10));
    expect([before[1] + 5n * rest, before[1] + 5n * rest - 4n]).toContain(third.hart.x(10));
  });

  test('are forked from each other, and end in any order', async () => {
    const { domain, engine, first } = await counting(tier, MAX_DOMAIN_BYTES);
    const alone = domain.frames.usedBytes;
    let all = [first];
    for (let turn = 0; turn < 4; turn++) {
      finishSome(engine, all);
      all = [...all, ...all.map((each) => fork(engine, each))];
    }
    finish(engine, all);
    for (const each of all) expect([counted(each), each.hart.x(10)]).toEqual([BigInt(ROUNDS), BigInt(ROUNDS)]);
    for (const { guest } of all.slice(1).toReversed()) engine.removeGuest(guest);
    expect(engine.guests).toBe(0);
    expect(domain.frames.usedBytes).toBe(alone);
    expect(counted(first)).toBe(BigInt(ROUNDS));
  });

  test('leave a guest in peace that ends while others go on', async () => {
    const { engine, first } = await counting(tier, MAX_DOMAIN_BYTES);
    finishSome(engine, [first]);
    const children = [1, 2, 3].map(() => fork(engine, first));
    finishSome(engine, children);
    engine.removeGuest(first.guest);
    finish(engine, children);
    for (const each of children) expect(counted(each)).toBe(BigInt(ROUNDS));
  });
});

/** A few turns of each. */
function finishSome(engine: Engine, all: readonly Running[]): void {
  for (let turn = 0; turn < 10; turn++) for (const { hart } of all) engine.run(hart, 100);
}
