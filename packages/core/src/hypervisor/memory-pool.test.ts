import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { TIERS, onTier } from '../engine/testing/tiers.ts';
import { MachineDomain } from '../machine/machine-domain.ts';
import { Machine } from '../machine/machine.ts';
import { bareProgram } from '../machine/testing/bare-machine.ts';
import { Transcript, nodeClock, nodeEntropy } from '../vm/testing/node-host.ts';
import type { PagingFile } from './away-pages.ts';
import { MemoryPool, MOST_POOL_BYTES } from './memory-pool.ts';
import { sharesPerPage, whyNotJoin } from './memory-shares.ts';

const MIB = 2 ** 20;

/** Fills so many bytes from `seed` on with what nothing can pack, reads it all and says K, or X where it is another; switches off. */
const filler = (bytes: number, seed: number): string => `
        la   s0, data
        li   s1, ${bytes}
        add  s1, s1, s0
        li   s2, ${seed}
        mv   t0, s0
        mv   t1, s2
1:      slli t2, t1, 13
        xor  t1, t1, t2
        srli t2, t1, 7
        xor  t1, t1, t2
        slli t2, t1, 17
        xor  t1, t1, t2
        sd   t1, 0(t0)
        addi t0, t0, 8
        blt  t0, s1, 1b
        mv   t0, s0
        mv   t1, s2
2:      slli t2, t1, 13
        xor  t1, t1, t2
        srli t2, t1, 7
        xor  t1, t1, t2
        slli t2, t1, 17
        xor  t1, t1, t2
        ld   t3, 0(t0)
        li   a0, 88
        bne  t3, t1, 3f
        addi t0, t0, 8
        blt  t0, s1, 2b
        li   a0, 75
3:      li   t1, 0x10000000
        sb   a0, 0(t1)
        li   t0, 0x5555
        li   t1, 0x100000
        sw   t0, 0(t1)
4:      j    4b
        .balign 4096
data:   .dword 0`;

class TestFile implements PagingFile {
  readonly pages: number;
  isFull = false;
  readonly #bytes: Uint8Array;

  constructor(bytes: number) {
    this.pages = bytes / PAGE_SIZE;
    this.#bytes = new Uint8Array(bytes);
  }

  write(page: number, bytes: Uint8Array): void {
    if (this.isFull) throw new Error('there is no room on the disk');
    this.#bytes.set(bytes, page * PAGE_SIZE);
  }

  read(page: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE));
  }

  /** Something else has written there. */
  damage(): void {
    this.#bytes.fill(1);
  }
}

interface Scene {
  readonly pool: MemoryPool;
  readonly file: TestFile;
  readonly logged: string[];
  start(bytes: number, seed: number): Promise<{ readonly machine: Machine; readonly said: Transcript }>;
  run(program: string, memoryBytes: number): Promise<{ readonly machine: Machine; readonly said: Transcript }>;
}

async function scene(poolBytes: number, more: { readonly engine?: (typeof TIERS)[number] } = {}): Promise<Scene> {
  const domain = await MachineDomain.create({ label: '', domainBytes: 256 * MIB, ...onTier(more.engine ?? 'jit') });
  const [file, logged]: [TestFile, string[]] = [new TestFile(128 * MIB), []];
  const log = { log: (_level: unknown, _area: unknown, message: string): void => void logged.push(message) };
  const pool = await MemoryPool.of(domain, { clock: nodeClock, poolBytes, sharing: undefined, file, log });
  const run: Scene['run'] = async (program, memoryBytes) => {
    const said = new Transcript();
    const machine = await Machine.create({
      memoryBytes,
      domain,
      mayRun: (asking) => pool.mayRun(asking),
      clock: nodeClock,
      entropy: nodeEntropy,
      serialOutput: said,
      firmware: 'none',
      kernel: bareProgram(program).payload,
    });
    pool.join(machine);
    return { machine, said };
  };
  return { pool, file, logged, run, start: (bytes, seed) => run(filler(bytes, seed), 64 * MIB) };
}

/** Writes so many pages that pack well, each another, and then twice as many that nothing can pack; slowly. */
const SLOW_FILLER = (pages: number): string => `
        la   s0, data
        li   s1, ${pages}
        li   s2, 4096
        mv   s3, s1
        mv   t0, s0
1:      add  t2, t0, s2
2:      sd   s3, 0(t0)
        addi t0, t0, 8
        blt  t0, t2, 2b
        li   t3, 5000
3:      addi t3, t3, -1
        bnez t3, 3b
        addi s3, s3, -1
        bnez s3, 1b
        mv   t1, s1
        add  s1, s1, s1
4:      add  t2, t0, s2
5:      slli t3, t1, 13
        xor  t1, t1, t3
        srli t3, t1, 7
        xor  t1, t1, t3
        slli t3, t1, 17
        xor  t1, t1, t3
        sd   t1, 0(t0)
        addi t0, t0, 8
        blt  t0, t2, 5b
        li   t3, 5000
6:      addi t3, t3, -1
        bnez t3, 6b
        addi s1, s1, -1
        bnez s1, 4b
        li   t0, 0x5555
        li   t1, 0x100000
        sw   t0, 0(t1)
7:      j    7b
        .balign 4096
data:   .dword 0`;

describe('a pool', () => {
  test('says what it does, one means after the other in ESXi’s order, and that it has enough when it has', async () => {
    const { pool, run } = await scene(32 * MIB);
    const { machine } = await run(SLOW_FILLER((26 * MIB) / PAGE_SIZE), 96 * MIB);
    const first = new Map<string, { readonly packs: number; readonly pageOuts: number }>();
    // Between two looks no more is written than a part of what lies between the first watermarks.
    const goesOn = (): boolean => machine.run(first.has('balloon') ? 1 : 0.2).kind !== 'ended';
    while (goesOn()) {
      pool.tick();
      const { state, packs, pageOuts } = pool.memory;
      if (!first.has(state)) first.set(state, { packs, pageOuts });
    }
    expect([...first.keys()]).toEqual(['high', 'share', 'balloon', 'compress', 'page-out']);
    expect(first.get('balloon')).toEqual({ packs: 0, pageOuts: 0 });
    expect(first.get('compress')).toEqual({ packs: expect.any(Number) as number, pageOuts: 0 });
    expect(pool.memory.pageOuts).toBeGreaterThan(1000);
    pool.resize(120 * MIB);
    for (let ticks = 0; ticks < 10; ticks++) pool.tick();
    expect(pool.memory.state).toBe('high');
  });

  test('that is to be smaller gives what nobody uses at once and the rest by and by; that is to be larger it is at once', async () => {
    const { pool, start } = await scene(96 * MIB);
    const { machine, said } = await start(50 * MIB, 1);
    let end = machine.run(5);
    while (pool.memory.usedBytes < 52 * MIB && end.kind !== 'ended') end = machine.run(5);
    pool.resize(80 * MIB);
    expect(pool.poolBytes).toBe(80 * MIB);
    pool.resize(36 * MIB);
    const sizes = [pool.poolBytes];
    expect(sizes[0]).toBeGreaterThan(52 * MIB);
    expect(pool.memory.targetBytes).toBe(36 * MIB);
    for (let ticks = 0; pool.poolBytes > 36 * MIB && ticks < 200; ticks++) {
      pool.tick();
      sizes.push(pool.poolBytes);
    }
    expect(pool.poolBytes).toBe(36 * MIB);
    const steps = sizes.slice(1).map((size, index) => (sizes[index] ?? 0) - size);
    expect(Math.max(...steps)).toBe(2 * MIB);
    expect(Math.min(...steps)).toBeGreaterThanOrEqual(0);
    expect(pool.memory.usedBytes).toBeLessThanOrEqual(36 * MIB);
    // What it had once is never the computer's again.
    expect(pool.memory.touchedBytes).toBeGreaterThanOrEqual(50 * MIB);
    expect(pool.memoryOf(machine)).toMatchObject({
      sharedBytes: 0,
      savedBytes: 0,
      limitBytes: undefined,
      shares: 1000,
    });
    pool.resize(70 * MIB);
    expect(pool.poolBytes).toBe(70 * MIB);
    while (machine.run(5).kind !== 'ended') pool.tick();
    expect(said.text).toBe('K');
    machine.close();
  });

  test('whose machine can give nothing more shrinks no further, and the machine runs on', async () => {
    const { pool, file, start } = await scene(96 * MIB);
    file.isFull = true;
    const { machine, said } = await start(50 * MIB, 1);
    let end = machine.run(5);
    while (pool.memory.usedBytes < 52 * MIB && end.kind !== 'ended') end = machine.run(5);
    pool.resize(36 * MIB);
    for (let ticks = 0; ticks < 50; ticks++) pool.tick();
    expect(pool.poolBytes).toBeGreaterThanOrEqual(pool.memory.usedBytes - 2 * MIB);
    expect(pool.memory.problem).toContain('no room on the disk');
    while (machine.run(5).kind !== 'ended') pool.tick();
    expect(said.text).toBe('K');
    machine.close();
  });

  test.each(TIERS)(
    'lets machines that use more than it has finish their work without a wrong byte (%s)',
    async (engine) => {
      const { pool, start } = await scene(8 * MIB, { engine });
      const runs = [await start(10 * MIB, 1), await start(10 * MIB, 2)];
      const waiting = new Set(runs);
      while (waiting.size > 0) {
        for (const each of waiting) if (each.machine.run(5).kind === 'ended') waiting.delete(each);
        pool.tick();
      }
      expect(runs.map(({ said }) => said.text)).toEqual(['K', 'K']);
      expect(pool.memory.pageOuts).toBeGreaterThan(2000);
      expect(pool.memory.pageIns).toBeGreaterThan(1000);
      for (const { machine } of runs) machine.close();
      expect(pool.memory).toMatchObject({ packed: 0, paged: 0 });
    },
  );

  test('lets a machine wait while nothing can be paged out, says so, and lets it go on when there is room', async () => {
    const { pool, file, logged, start } = await scene(8 * MIB);
    const { machine, said } = await start(40 * MIB, 3);
    file.isFull = true;
    let waits = 0;
    while (waits < 5) {
      const { kind } = machine.run(5);
      expect(kind).not.toBe('ended');
      if (kind === 'idle') waits++;
      pool.tick();
    }
    expect(pool.memory).toMatchObject({ state: 'full', problem: 'there is no room on the disk' });
    expect(logged).toEqual([expect.stringContaining('no page can be paged out')]);
    file.isFull = false;
    while (machine.run(5).kind !== 'ended') pool.tick();
    expect(said.text).toBe('K');
    expect(pool.memory.problem).toBeUndefined();
  });

  test('never gives a page other bytes than were paged out: whoever wants one that is damaged fails', async () => {
    const { pool, file, start } = await scene(8 * MIB);
    const { machine } = await start(20 * MIB, 4);
    while (pool.memory.paged < 1000) machine.run(5);
    file.damage();
    expect(() => {
      while (machine.run(5).kind !== 'ended');
    }).toThrow('other bytes than were written');
  });

  test('takes from who is over its limit although there is room', async () => {
    const { pool, start } = await scene(64 * MIB);
    const { machine, said } = await start(24 * MIB, 5);
    pool.join(machine, { limitBytes: 16 * MIB });
    while (machine.run(1).kind !== 'ended') pool.tick();
    expect(said.text).toBe('K');
    expect(pool.memory.pageOuts).toBeGreaterThan(500);
    while ((pool.memoryOf(machine)?.residentBytes ?? 0) > 16 * MIB) pool.tick();
  });
});

test('a pool of a domain that is as large as one can be may have what is said to be the most, beside what its machines need', async () => {
  const domain = await MachineDomain.create({ label: '' });
  expect(MemoryPool.mostBytes(domain)).toBeGreaterThan(MOST_POOL_BYTES + 16 * MIB);
});

test('a pool takes a paging file for no larger than there are pages that it can put away', async () => {
  const domain = await MachineDomain.create({ label: '', domainBytes: 256 * MIB });
  const file = { pages: 16 * 2 ** 20, write: () => {}, read: () => {} };
  const pool = await MemoryPool.of(domain, { clock: nodeClock, poolBytes: 40 * MIB, sharing: undefined, file });
  expect(pool.whyNotJoin(4096 * MIB + 36 * MIB, {})).toBeUndefined();
  expect(pool.whyNotJoin(4096 * MIB + 37 * MIB, {})).toMatch('40 MiB and 4092 MiB of paging file are not enough');
});

test('a pool lets a machine be over its limit by a few MiB at most, however fast it takes pages', async () => {
  const { pool, start } = await scene(64 * MIB);
  const { machine, said } = await start(40 * MIB, 6);
  pool.join(machine, { limitBytes: 16 * MIB });
  let most = 0;
  // No tick helps.
  for (let kind = ''; kind !== 'ended'; kind = machine.run(1).kind)
    most = Math.max(most, pool.memoryOf(machine)?.residentBytes ?? 0);
  expect(said.text).toBe('K');
  expect(most).toBeGreaterThan(16 * MIB);
  expect(most).toBeLessThan(28 * MIB);
});

test('a pool lets a machine wait that is over its limit while nothing of it can be put away', async () => {
  const { pool, file, start } = await scene(64 * MIB);
  const { machine, said } = await start(40 * MIB, 7);
  pool.join(machine, { limitBytes: 16 * MIB });
  file.isFull = true;
  while (machine.run(1).kind === 'busy');
  expect(pool.memoryOf(machine)?.residentBytes).toBeLessThan(28 * MIB);
  expect(pool.memory.waits).toBeGreaterThan(0);
  file.isFull = false;
  while (machine.run(5).kind !== 'ended');
  expect(said.text).toBe('K');
});

describe('who gives first', () => {
  test('is who has more for its shares, and of equals who uses less of it', () => {
    expect(sharesPerPage(1000, 200, 1)).toBeLessThan(sharesPerPage(1000, 100, 1));
    expect(sharesPerPage(1000, 100, 1)).toBeLessThan(sharesPerPage(2000, 100, 1));
    expect(sharesPerPage(1000, 100, 0.1)).toBeLessThan(sharesPerPage(1000, 100, 0.9));
    // With the tax, an idle page counts four times.
    expect(sharesPerPage(1000, 100, 0)).toBe(sharesPerPage(1000, 400, 1));
  });

  const pool = { poolBytes: 256 * MIB, reservedBytes: 100 * MIB, memoryBytes: 300 * MIB, pagingBytes: 256 * MIB };

  test.each([
    [
      { reservationBytes: 157 * MIB },
      '157 MiB cannot be reserved: of the pool’s 256 MiB, 100 MiB are reserved already',
    ],
    [
      { reservationBytes: 65 * MIB, limitBytes: 64 * MIB },
      'a memory reservation of 65 MiB is more than the machine can have, which is 64 MiB',
    ],
    [{ limitBytes: 8 * MIB }, 'a memory limit of 8 MiB is under what a guest needs; it can be 16 MiB or more'],
    [{ shares: 0 }, '0 is no number of memory shares; there can be 1 to 1000000'],
  ])('is not asked when %o cannot be met', (wishes, why) => {
    expect(whyNotJoin(200 * MIB, wishes, pool)).toBe(why);
  });

  test('is not asked when several that come at once are too many together', () => {
    const wishes = { reservationBytes: 40 * MIB };
    expect(whyNotJoin(50 * MIB, wishes, pool, 3)).toBeUndefined();
    expect(whyNotJoin(50 * MIB, wishes, pool, 4)).toMatch('160 MiB cannot be reserved');
    expect(whyNotJoin(50 * MIB, {}, pool, 5)).toMatch('not enough for 250 MiB more');
  });

  test('is not asked when pool and paging file together are too small', () => {
    expect(whyNotJoin(300 * MIB, {}, pool)).toBe(
      'the pool’s 256 MiB and 256 MiB of paging file are not enough for 300 MiB more than the 300 MiB of its machines',
    );
    expect(whyNotJoin(200 * MIB, { reservationBytes: 156 * MIB }, pool)).toBeUndefined();
  });
});
