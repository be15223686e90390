/** What becomes of compiled code: when it comes, and when it must not be executed any more. */

import { describe, expect, test } from 'vitest';
import { defined } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { Domain } from '../domain.ts';
import { EXIT } from '../interpreter.ts';
import { HOT, hartBase } from '../layout.ts';
import { DATA, PTE, RAM, READ_ONLY, READ_WRITE, Rig, TABLES, pte, supervisor } from '../testing/rig.ts';
import { type BatchAnswer, COVERED } from './batch.ts';
import { ABANDONED } from './compile-queue.ts';
import { Jit, LONG_WARM, LONG_WARM_WAITS } from './jit.ts';
import { HeldCompiler } from './testing/held-compiler.ts';

const END = `
1:      wfi
        j 1b`;

/** Few instructions, so that there are many runs: code is compiled between them. */
const SLICE = 200;

/** Runs to the program's WFI, while whatever is asked for is answered at once. */
async function finish(rig: Rig, compiler: HeldCompiler): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (rig.engine.run(rig.hart, SLICE) === EXIT.WAIT) return;
    await compiler.answerAll();
  }
  throw new Error('The program reaches its wfi');
}

/** Runs some slices, and answers nothing. */
function run(rig: Rig, slices = 3): void {
  for (let turn = 0; turn < slices; turn++) rig.engine.run(rig.hart, SLICE);
}

const compiledCount = (rig: Rig): bigint => rig.hart.get64('compiled');
const statistic = (rig: Rig, name: string): number => defined(rig.engine.compiled[`jit.${name}`], name);
const pageIndex = (rig: Rig, address: bigint | number): number => rig.domain.guest.pageIndex(Number(address));
const frameNumber = (rig: Rig, address: bigint | number): number =>
  rig.domain.guest.frameNumber(pageIndex(rig, address));

/** Some of `pages` lie in one region of these answers. */
function isTogether(answers: readonly BatchAnswer[], pages: readonly number[]): boolean {
  const regions = answers.flatMap((answer) => answer.regions);
  return regions.some(
    (region) =>
      typeof region === 'object' && pages.every((page) => region.ranges.some(({ number }) => number === page)),
  );
}

describe('code that is written after it was compiled', () => {
  const PADDING = 'nop\n'.repeat(PAGE_SIZE / 4);
  /** 200 times round as it is; then 200 times, each with `slot` adding one more than the last time. */
  const counting = (body: string, behind = ''): string => `
        li t1, 400
        li t4, 200
        la t0, slot
        li t3, 0x100000
loop:   blt t4, t1, skip
        lw t2, 0(t0)
        add t2, t2, t3
        sw t2, 0(t0)
skip:   ${body}
        addi t1, t1, -1
        bnez t1, loop
        ${END}
        ${behind}`;
  const places = [
    ['in the middle of the loop that writes it', 'slot: addi a0, a0, 1', ''],
    [
      'in a function of another page, called by the loop',
      'jal ra, leaf',
      `${PADDING.repeat(3)}leaf: nop\nslot: addi a0, a0, 1\nret`,
    ],
    ['in the next page', 'j away\nback: nop', `${PADDING}away: nop\nslot: addi a0, a0, 1\nj back`],
  ] as const;
  const SUM = 200n + (201n * 202n) / 2n - 1n;

  test.each(places)('is not executed any more: %s', async (_, body, behind) => {
    const compiler = new HeldCompiler();
    const text = counting(body, behind);
    const rig = await Rig.of('jit', text, { compiler });
    const slot = defined(rig.place(RAM, text).get('slot'), 'slot');
    for (let turn = 0; rig.hart.x(6) > 250n || turn === 0; turn++) {
      rig.engine.run(rig.hart, SLICE);
      await compiler.answerAll();
    }
    expect(isTogether(compiler.answers, [frameNumber(rig, RAM), frameNumber(rig, slot)]), 'one region').toBe(true);
    expect(compiledCount(rig)).toBeGreaterThan(0n);
    await finish(rig, compiler);
    expect(rig.hart.x(10)).toBe(SUM);
    expect(statistic(rig, 'voided')).toBeGreaterThan(0);
  });

  test.each(places)(
    'is not executed any more, when everything is compiled at first sight: %s',
    async (_, body, behind) => {
      const rig = await Rig.of('jit-eager', counting(body, behind));
      rig.finish();
      expect(rig.hart.x(10)).toBe(SUM);
    },
  );

  test('beside the written bytes stays compiled', async () => {
    const compiler = new HeldCompiler();
    const rig = await Rig.of(
      'jit',
      `
        la t0, data
        li a0, 2000
loop:   addi a0, a0, -1
        sd a0, 0(t0)
        bnez a0, loop${END}
        .align 3
data:   .dword 0`,
      { compiler },
    );
    await finish(rig, compiler);
    expect([statistic(rig, 'regions') > 0, statistic(rig, 'voided')]).toEqual([true, 0]);
  });

  test('is compiled again when it stays as it is', async () => {
    const compiler = new HeldCompiler();
    const rig = await Rig.of('jit', `li a0, 100000\nloop: addi a0, a0, -1\n bnez a0, loop${END}`, { compiler });
    run(rig);
    await compiler.answerAll();
    const before = statistic(rig, 'regions');
    rig.domain.guest.codeWritten(pageIndex(rig, RAM), 0, 64);
    expect(statistic(rig, 'voided')).toBe(before);
    await finish(rig, compiler);
    expect(statistic(rig, 'regions')).toBeGreaterThan(before);
  });
});

describe('a compiler beside the machine', () => {
  const LOOP = `li a0, 3000\nloop: addi a0, a0, -1\n addi a1, a1, 2\n bnez a0, loop${END}`;

  test('that answers late has its code interpreted until then, and executed afterwards', async () => {
    const compiler = new HeldCompiler();
    const rig = await Rig.of('jit', LOOP, { compiler });
    run(rig, 10);
    expect([compiler.waiting, compiledCount(rig)]).toEqual([1, 0n]);
    await compiler.answer();
    run(rig, 1);
    expect(compiledCount(rig)).toBeGreaterThan(SLICE_MOSTLY);
    await finish(rig, compiler);
    expect([rig.hart.x(10), rig.hart.x(11)]).toEqual([0n, 6000n]);
  });
  const SLICE_MOSTLY = BigInt(SLICE / 2);

  test('is asked for one batch at a time', async () => {
    const compiler = new HeldCompiler();
    const loops = ['one', 'two', 'three'].map((name) => `li a0, 300\n${name}: addi a0, a0, -1\n bnez a0, ${name}`);
    const rig = await Rig.of('jit', `${loops.join('\n')}${END}`, { compiler });
    for (let turn = 0; turn < 20; turn++) {
      rig.engine.run(rig.hart, SLICE);
      expect(compiler.waiting).toBeLessThanOrEqual(1);
    }
    const { requests } = await compiler.answer();
    expect([requests.length, compiler.waiting]).toEqual([1, 1]);
    expect((await compiler.answer()).requests.length).toBeGreaterThan(1);
  });

  test('that fails leaves everything interpreted, and is not asked for the same code again', async () => {
    const compiler = new HeldCompiler();
    const rig = await Rig.of('jit', LOOP, { compiler });
    run(rig);
    await compiler.fail();
    run(rig, 10);
    expect([compiler.answers.length, compiler.waiting, compiledCount(rig)]).toEqual([1, 0, 0n]);
    rig.finish();
    expect(rig.hart.x(11)).toBe(6000n);
  });

  test('that throws instead of promising leaves everything interpreted', async () => {
    const compiler = {
      compile: () => {
        throw new Error('No thread');
      },
    };
    const rig = await Rig.of('jit', LOOP, { compiler });
    rig.finish();
    expect([rig.hart.x(11), compiledCount(rig)]).toEqual([6000n, 0n]);
  });

  test('that has nothing for the code leaves it interpreted', async () => {
    const compiler = new HeldCompiler();
    const rig = await Rig.of('jit', LOOP, { compiler });
    run(rig);
    await compiler.answer(() => ({ module: undefined, regions: [undefined], bytes: 0, failed: 0 }));
    run(rig, 5);
    expect([compiler.waiting, compiledCount(rig)]).toEqual([0, 0n]);
  });

  test('leaves out what begins within a region of its batch', async () => {
    const compiler = new HeldCompiler();
    // Both loops are hot when the first batch has been answered.
    const nest = `li a2, 300\nfirst: addi a2, a2, -1\n bnez a2, first
        li a0, 400
outer:  li a1, 3
inner:  addi a1, a1, -1
        bnez a1, inner
        addi a0, a0, -1
        bnez a0, outer`;
    const rig = await Rig.of('jit', `${nest}${END}`, { compiler });
    for (let turn = 0; rig.hart.x(10) === 0n || rig.hart.x(10) > 200n; turn++) {
      if (turn > 100) throw new Error('The outer loop goes round');
      rig.engine.run(rig.hart, 40);
    }
    await compiler.answer();
    const { requests } = await compiler.answer();
    const [, nested] = compiler.answers;
    expect([requests.length, nested?.regions.map((region) => (region === COVERED ? COVERED : typeof region))]).toEqual([
      2,
      ['object', COVERED],
    ]);
    await finish(rig, compiler);
    expect([rig.hart.x(10), statistic(rig, 'voided')]).toEqual([0n, 0]);
  });

  test('that answers with what the code was has that thrown away', async () => {
    const compiler = new HeldCompiler();
    const text = LOOP.replace('addi a1', 'slot: addi a1');
    const rig = await Rig.of('jit', text, { compiler });
    run(rig);
    const doneBefore = rig.hart.x(11);
    const left = rig.hart.x(10);
    // addi a1, a1, 5 by somebody else: a device, say.
    const symbols = rig.place(RAM, text.replace('a1, a1, 2', 'a1, a1, 5'));
    const slot = Number(defined(symbols.get('slot'), 'slot'));
    rig.domain.guest.codeWritten(pageIndex(rig, slot), slot % PAGE_SIZE, 4);
    await compiler.answer();
    await finish(rig, compiler);
    expect(rig.hart.x(11)).toBe(doneBefore + 5n * left);
  });

  test('that answers after the same code was written back is believed', async () => {
    const compiler = new HeldCompiler();
    const rig = await Rig.of('jit', LOOP, { compiler });
    run(rig);
    rig.domain.guest.codeWritten(pageIndex(rig, RAM), 0, 32);
    await compiler.answer();
    run(rig, 1);
    expect(compiledCount(rig)).toBeGreaterThan(0n);
  });
});

describe('a page that is mapped anew', () => {
  const ENTRY = TABLES + 2 * PAGE_SIZE;
  const [OLD, NEW] = [DATA + PAGE_SIZE, DATA + 2 * PAGE_SIZE];
  const remapping = `
        li t0, ${ENTRY + 8 * 4}
        li t1, ${pte(NEW, READ_ONLY | PTE.X)}
        li t2, 0x3000
        li s2, 400
turn:   jalr t2
        addi s2, s2, -1
        li t3, 200
        bne s2, t3, same
        sd t1, 0(t0)
        sfence.vma
same:   bnez s2, turn`;
  const ways = [
    // 0x3000 jumps into the page behind it, and that returns.
    ['is reached by a jump', 'nop\n j . + 0xffc', 'addi a0, a0, %\n ret'],
    [
      'holds a function that was compiled into its caller',
      'mv s3, ra\n jal ra, . + 0xffc\n jr s3',
      'addi a0, a0, %\n ret',
    ],
  ] as const;

  test.each(ways)('is what it is now, when it %s', async (_, front, behind) => {
    for (const tier of ['jit', 'jit-eager'] as const) {
      const compiler = new HeldCompiler();
      const rig = await Rig.of(tier, supervisor(remapping), tier === 'jit' ? { compiler } : {});
      rig.map(3, DATA, READ_ONLY | PTE.X);
      rig.map(4, OLD, READ_ONLY | PTE.X);
      rig.map(0x10, TABLES, READ_WRITE);
      rig.place(DATA, front);
      rig.place(OLD, behind.replace('%', '1'));
      rig.place(NEW, behind.replace('%', '1000'));
      await finish(rig, compiler);
      expect(rig.hart.x(10), tier).toBe(200n + 200n * 1000n);
      if (tier === 'jit')
        expect(isTogether(compiler.answers, [frameNumber(rig, DATA), frameNumber(rig, OLD)]), 'one region').toBe(true);
    }
  });
});

describe('the book that is kept of compiled code', () => {
  const NOTHING: BatchAnswer = { module: undefined, bytes: 0, failed: 0, regions: [] };

  /** A Jit with memory and a table, and no guest: cells are made hot by hand, and answers are made up. */
  function book(rounds = 1) {
    const domain = new Domain([{ base: RAM, sizeBytes: 9 * 1024 ** 2, writable: true }], { codePages: 2 });
    domain.addHart(0);
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: HOT.FIRST_FUNCTION });
    const compiler = new HeldCompiler(() => NOTHING);
    const memory = { module: 'env', name: 'memory', initialPages: 1, maximumPages: 1, shared: true };
    const jit = new Jit(domain, table, {
      memory,
      isEager: false,
      isAlone: true,
      compiler,
      rounds,
      wait: 1,
      names: false,
    });
    const left = new WebAssembly.Instance(new WebAssembly.Module(EMPTY_FUNCTION)).exports['leaveCompiled'];
    jit.connect({ leaveCompiled: left } as WebAssembly.Exports);
    domain.translations = jit;
    const heat = (page: number): number => domain.heatPage(page);
    const cell = (at: number): number => defined(domain.u16[at >>> 1], 'a cell');
    /** Has what begins at `cells` compiled together. */
    const hot = (cells: readonly number[]): void => {
      for (const at of cells) jit.hot(hartBase(0), at);
      for (let runs = 0; runs < 2; runs++) jit.compileSoon();
    };
    /** As if the regions of a batch were one instruction each, in a module of so many bytes. */
    const madeUp = (pages: readonly number[], bytes = 1) => {
      const regions = pages.map((number) => ({
        ranges: [{ number, heat: heat(number), from: 0, to: 4 }],
        code: Uint32Array.of(),
        opCount: 1,
      }));
      return (): BatchAnswer => ({ module: EMPTY_MODULE, bytes, failed: 0, regions });
    };
    return { domain, table, compiler, jit, heat, cell, hot, left, madeUp };
  }
  /** (module (func (export "leaveCompiled"))) */
  const EMPTY_FUNCTION = Uint8Array.from(
    [
      [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      [1, 4, 1, 0x60, 0, 0],
      [3, 2, 1, 0],
      [7, 17, 1, 13, ...new TextEncoder().encode('leaveCompiled'), 0, 0],
      [10, 4, 1, 2, 0, 0x0b],
    ].flat(),
  );
  const EMPTY_MODULE = new WebAssembly.Module(Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));

  test('has room for so many bytes of modules: then the oldest go, and are counted again from nothing', async () => {
    const { compiler, jit, heat, cell, hot, table, left, madeUp } = book();
    for (const page of [1, 2, 3]) {
      hot([heat(page)]);
      await compiler.answer(madeUp([page], 14 * 1024 ** 2));
    }
    expect([1, 2, 3].map((page) => cell(heat(page)))).toEqual([0, HOT.FIRST_FUNCTION + 1, HOT.FIRST_FUNCTION + 2]);
    expect(jit.statistics).toMatchObject({ evicted: 1, codeBytes: 28 * 1024 ** 2 });
    expect(table.get(HOT.FIRST_FUNCTION), 'whoever has the number still leaves').toBe(left);
    expect([1, 2, 3].map((page) => jit.has(page))).toEqual([false, true, true]);
  });

  test('gives numbers out again when they are used up, and who had them is gone', async () => {
    const { compiler, jit, heat, cell, hot, domain, madeUp } = book();
    hot([heat(1)]);
    await compiler.answer(madeUp([1]));
    expect(cell(heat(1))).toBe(HOT.FIRST_FUNCTION);
    const COUNT = 16;
    const others = Array.from({ length: COUNT }, (_, index) => heat(2) + 2 * index);
    for (let number = HOT.FIRST_FUNCTION + 1; number + COUNT <= HOT.LAST_FUNCTION; number += COUNT) {
      for (const at of others) domain.u16[at >>> 1] = 0;
      hot(others);
      await compiler.answer();
    }
    expect([cell(heat(1)), jit.has(1)]).toEqual([HOT.FIRST_FUNCTION, true]);
    hot([heat(3), ...others.slice(1)]);
    await compiler.answer(madeUp(Array.from({ length: COUNT }, () => 3)));
    expect([cell(heat(1)), jit.has(1), cell(heat(3))]).toEqual([0, false, HOT.FIRST_FUNCTION]);
    expect(jit.statistics.evicted).toBe(1);
  });

  test('does not enter code under the heat page of another: the page was given to somebody else meanwhile', async () => {
    const { compiler, jit, heat, cell, hot, domain, madeUp } = book();
    const first = heat(1);
    const answer = madeUp([1]);
    hot([first]);
    // All heat pages go round once.
    let next = 2;
    while (domain.frameOfHeat(first) === 1) heat(next++);
    await compiler.answer(answer);
    expect([cell(first), cell(heat(1)), jit.has(1)]).toEqual([0, 0, false]);
  });

  test("does not enter code that knows another of its pages by a heat page which is somebody else's meanwhile", async () => {
    const { compiler, jit, heat, cell, hot, domain, madeUp } = book();
    const other = heat(1);
    const first = heat(2);
    const answer = madeUp([1]);
    hot([first]);
    let next = 3;
    while (domain.frameOfHeat(other) === 1) heat(next++);
    expect(domain.frameOfHeat(first)).toBe(2);
    await compiler.answer(answer);
    expect([cell(first), jit.has(1)]).toEqual([0, false]);
    hot([first]);
    expect(compiler.waiting, 'it is asked for again').toBe(1);
  });

  test('forgets a page whose heat page goes', async () => {
    const { compiler, jit, heat, cell, hot, domain, madeUp } = book();
    const first = heat(1);
    hot([first]);
    await compiler.answer(madeUp([1]));
    expect(jit.has(1)).toBe(true);
    let next = 2;
    while (domain.frameOfHeat(first) === 1) heat(next++);
    expect([jit.has(1), cell(first)]).toEqual([false, 0]);
  });

  test('asks for patience where code changes again and again', async () => {
    const { compiler, jit, heat, cell, hot, madeUp } = book();
    const times: number[] = [];
    for (let turn = 0; turn < 4; turn++) {
      let asked = 0;
      for (; compiler.waiting === 0; asked++) hot([heat(1)]);
      times.push(asked);
      await compiler.answer(madeUp([1]));
      expect(cell(heat(1))).toBeGreaterThanOrEqual(HOT.FIRST_FUNCTION);
      jit.written(1, 0, 4);
      expect(cell(heat(1))).toBe(0);
    }
    expect(times).toEqual([1, 2, 4, 8]);
  });

  test.each([
    ['soon', LONG_WARM - 100, 0],
    ['long', LONG_WARM, 1],
  ])('has half the patience with code that is warm %s after it first was', (_, runs, waiting) => {
    const { compiler, jit, heat, hot } = book(4);
    jit.hot(hartBase(0), heat(1));
    for (let count = 0; count < runs; count++) jit.compileSoon();
    hot([heat(1)]);
    expect(compiler.waiting).toBe(waiting);
  });

  test.each([
    ['few', LONG_WARM_WAITS - 10, 0],
    ['many', LONG_WARM_WAITS, 1],
  ])('has a quarter of the patience with code that is still warm after %s waits of the guest', (_, waits, waiting) => {
    const { compiler, jit, heat, hot } = book(8);
    jit.hot(hartBase(0), heat(1));
    for (let count = 0; count < waits; count++) jit.compileSoon(true);
    hot([heat(1)]);
    expect(compiler.waiting).toBe(waiting);
  });

  test('has what nobody comes to any more compiled when somebody does, and at once then', async () => {
    const { compiler, jit, heat, hot, madeUp } = book(4);
    const often = (page: number): void => hot(Array.from({ length: 4 }, () => heat(page)));
    often(1);
    // The compiler has something to do, so this waits.
    often(2);
    for (let count = 0; count <= ABANDONED; count++) jit.compileSoon();
    await compiler.answer(madeUp([1]));
    expect(compiler.waiting).toBe(0);
    hot([heat(2)]);
    expect(compiler.waiting).toBe(1);
  });

  test('waits longer with code that is a part of something compiled already', async () => {
    const { compiler, heat, hot, madeUp } = book();
    hot([heat(1)]);
    await compiler.answer(madeUp([1]));
    let asked = 0;
    // The range of `madeUp`: a second instruction of two halfwords.
    for (; compiler.waiting === 0; asked++) hot([heat(1) + 2]);
    expect(asked).toBe(2);
  });
});
