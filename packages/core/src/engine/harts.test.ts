/** Several harts of one engine, in turns that the test gives them. */

import { expect, describe, test } from 'vitest';
import { assembleProgram } from '../isa/assemble-program.ts';
import { Domain } from './domain.ts';
import type { Engine } from './engine.ts';
import type { Hart } from './hart.ts';
import { EXIT } from './interpreter.ts';
import { CSR } from './state.ts';
import { csrIndex } from '../isa/csrs.ts';
import { TIERS, type Tier, createEngine } from './testing/tiers.ts';

const RAM = 0x8000_0000;

interface Pair {
  readonly engine: Engine;
  readonly harts: readonly [Hart, Hart];
  readonly symbols: ReadonlyMap<string, bigint>;
}

/** Two harts that begin at the labels `first` and `second`. */
async function pair(tier: Tier, text: string): Promise<Pair> {
  const domain = new Domain([{ base: RAM, sizeBytes: 1 << 20, writable: true }]);
  const nobody = { mmioLoad: () => 0, mmioStore: () => 0, readTime: () => {}, timerChanged: () => {} };
  const engine = await createEngine(domain, nobody, tier, { harts: 2 });
  const { bytes, symbols } = assembleProgram(text, BigInt(RAM));
  for (let at = 0; at < bytes.length; at++)
    domain.u8[domain.guest.host(at >>> 12, true) + (at & 0xfff)] = bytes[at] ?? 0;
  const start = (id: number, label: string): Hart => {
    const hart = engine.addHart(id);
    hart.reset(symbols.get(label) ?? 0n);
    return hart;
  };
  return { engine, harts: [start(0, 'first'), start(1, 'second')], symbols };
}

const CELLS = '.balign 8\ncell: .dword 5\nother: .dword 0\n';

describe.each(TIERS)('two harts on the %s', (tier) => {
  test.each([
    ['a store of another value', 'li t1, 6\n sd t1, 0(t0)'],
    ['a store of the same value', 'li t1, 5\n sd t1, 0(t0)'],
    ['an AMO that changes nothing', 'amoadd.d zero, zero, (t0)'],
  ])('a reservation is lost by %s on the other hart', async (_, store) => {
    const { engine, harts } = await pair(
      tier,
      `
first:  la t0, cell
        lr.d a0, (t0)
        csrw mscratch, zero
        wfi
        sc.d a1, a0, (t0)
1:      wfi
        j 1b
second: la t0, cell
        ${store}
1:      wfi
        j 1b
        ${CELLS}`,
    );
    expect(engine.run(harts[0], 100)).toBe(EXIT.WAIT);
    expect(engine.run(harts[1], 100)).toBe(EXIT.WAIT);
    expect(engine.run(harts[0], 100)).toBe(EXIT.WAIT);
    expect(harts[0].x(10)).toBe(5n);
    expect(harts[0].x(11)).toBe(1n);
  });

  test('a reservation outlasts the end of a run when nobody else ran', async () => {
    const { engine, harts } = await pair(
      tier,
      `
first:  la t0, cell
        lr.d a0, (t0)
        wfi
        sc.d a1, a0, (t0)
1:      wfi
        j 1b
second: wfi
        ${CELLS}`,
    );
    expect(engine.run(harts[0], 100)).toBe(EXIT.WAIT);
    expect(engine.run(harts[0], 100)).toBe(EXIT.WAIT);
    expect(harts[0].x(11)).toBe(0n);
  });

  test.each(['pause', 'wrs.nto', 'wrs.sto'])('%s ends the run, and says why', async (wait) => {
    const { engine, harts } = await pair(
      tier,
      `
first:  addi a0, a0, 1
        ${wait}
        j first
second: addi a0, a0, 1
        j second`,
    );
    for (let turn = 1; turn < 30; turn++) {
      expect(engine.run(harts[0], 1_000_000)).toBe(EXIT.BUDGET);
      expect(harts[0].takeYield()).toBe(true);
      expect(harts[0].x(10)).toBeLessThan(BigInt(4 * turn));
      engine.run(harts[1], 100);
      expect(harts[1].takeYield()).toBe(false);
    }
  });

  test('each has registers, privilege, float state and translations of its own', async () => {
    const { engine, harts } = await pair(
      tier,
      `
first:  li t0, 0x6000
        csrs mstatus, t0
        li t0, 1
        fcvt.d.l fa0, t0
        li t0, 3
        fcvt.d.l fa1, t0
        fdiv.d fa2, fa0, fa1     # inexact
        li a0, 1
1:      wfi
        j 1b
second: li t0, 0x6000
        csrs mstatus, t0
        fmv.d.x fa0, zero
        fdiv.d fa2, fa0, fa0     # invalid
        csrr a0, fflags
2:      wfi
        j 2b`,
    );
    for (const hart of harts) expect(engine.run(hart, 100)).toBe(EXIT.WAIT);
    const flags = csrIndex(1) ?? -1;
    expect(harts.map((hart) => hart.readCsr(flags))).toEqual([1n, 16n]);
    harts[0].writeCsr(flags, 4n);
    expect(harts.map((hart) => hart.readCsr(flags))).toEqual([4n, 16n]);
    expect(harts[1].x(10)).toBe(16n);
    expect(harts.map((hart) => hart.stored(CSR.mie))).toEqual([0n, 0n]);
  });

  test('code that one of them writes is seen by the other, which has executed the old', async () => {
    const { engine, harts } = await pair(
      tier,
      `
first:  li s1, 100
1:      jal code
        addi s1, s1, -1
        bnez s1, 1b
2:      wfi
        j first
second: la t0, code
        li t1, 0x00900513        # li a0, 9
        sw t1, 0(t0)
3:      wfi
        j 3b
        .balign 4
code:   addi a0, zero, 1
        ret`,
    );
    for (let turn = 0; turn < 20; turn++) engine.run(harts[0], 1000);
    expect(harts[0].x(10)).toBe(1n);
    engine.run(harts[1], 100);
    for (let turn = 0; turn < 20; turn++) engine.run(harts[0], 1000);
    expect(harts[0].x(10)).toBe(9n);
  });
});
