import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import { DATA, PTE, READ_WRITE, Rig, supervisor } from '../testing/rig.ts';
import { TIERS } from '../testing/tiers.ts';
import { groupAccesses } from './access-group.ts';
import { Code } from './testing/code.ts';

/** The groups of a block: [lowest offset, span, indexes of the instructions]. The instructions `apart` go their own way. */
function groups(text: string, apart: readonly number[] = []): [number, number, number[]][] {
  const { ops } = new Code(`entry: ${text}\n ret`).region().entry;
  const found: [number, number, number[]][] = [];
  new ModuleBuilder().function('block', [], [], (body) => {
    const byOp = groupAccesses(body, ops, (op) => apart.includes(ops.indexOf(op)));
    for (const group of new Set(byOp.values())) {
      expect(byOp.get(group.first)).toBe(group);
      const members = ops.flatMap((op, index) => (byOp.get(op) === group ? [index] : []));
      expect(ops[members[0] ?? -1], 'the first of the group is the first that is executed').toBe(group.first);
      found.push([group.low, group.span, members]);
    }
  });
  return found;
}

describe('accesses through one base register', () => {
  test('are a group from the lowest to the highest byte, in whatever order', () => {
    expect(groups('lw a0, 8(sp)\n ld a1, 16(sp)\n lb a2, -1(sp)')).toEqual([[-1, 25, [0, 1, 2]]]);
  });

  test('are none when there is one', () => {
    expect(groups('ld a0, 0(sp)\n ld a1, 0(s0)')).toEqual([]);
  });

  test('are apart for loads and stores', () => {
    expect(groups('ld a0, 0(sp)\n sd a0, 8(sp)\n ld a1, 16(sp)\n sw a1, 24(sp)')).toEqual([
      [0, 24, [0, 2]],
      [8, 20, [1, 3]],
    ]);
  });

  test('of floats and integers are together', () => {
    expect(groups('fld fa0, 0(a0)\n ld a1, 8(a0)\n flw fa1, 16(a0)')).toEqual([[0, 20, [0, 1, 2]]]);
  });

  test('end where the base is written, and the access that loads it belongs to them', () => {
    expect(groups('ld a1, 8(a0)\n ld a0, 0(a0)\n ld a2, 8(a0)\n ld a3, 0(a0)')).toEqual([
      [0, 16, [0, 1]],
      [0, 16, [2, 3]],
    ]);
  });

  test('end where the base is loaded by an access that is apart from all', () => {
    // As perl copies a word: the pointers lie in memory, at places that do not move.
    const text = 'lbu a2, 0(a0)\n ld a0, 0(s9)\n lbu a4, 0(a0)\n lbu a5, 1(a0)';
    expect(groups(text, [1])).toEqual([[0, 2, [2, 3]]]);
  });

  test('do not end where something else is written', () => {
    expect(groups('ld a1, 8(a0)\n fld fa0, 0(a0)\n li a2, 1\n ld a2, 16(a0)')).toEqual([[0, 24, [0, 1, 3]]]);
  });

  test('that are far from each other are apart: most would not be in one page', () => {
    expect(groups('ld a1, 0(a0)\n ld a2, 1016(a0)')).toEqual([[0, 1024, [0, 1]]]);
    expect(groups('ld a1, 0(a0)\n ld a2, 1024(a0)')).toEqual([]);
  });

  test('without a base, and atomic ones, are none', () => {
    expect(groups('ld a1, 0(x0)\n ld a2, 8(x0)')).toEqual([]);
    expect(groups('lr.d a1, (a0)\n ld a2, 0(a0)')).toEqual([]);
  });
});

describe.each(TIERS)('accesses through one base register on the %s', (tier) => {
  test('are refused where S-mode has given up its right to user pages between them', async () => {
    const rig = await Rig.of(
      tier,
      supervisor(
        `
        li a0, ${16 * PAGE_SIZE}
        li t1, 0
        li t2, 2000
        li t3, 0x40000
        mv t4, t3
again:  csrs sstatus, t3
        ld a1, 0(a0)
        csrc sstatus, t1
        ld a2, 8(a0)
        addi t2, t2, -1
        bgtz t2, again
        mv t1, t4
        li t4, 0
        li t2, 1
        bnez t1, again`,
      ),
    );
    rig.map(16, DATA, READ_WRITE | PTE.U);
    rig.finish();
    expect([rig.hart.x(8), rig.hart.x(9)]).toEqual([13n, BigInt(16 * PAGE_SIZE + 8)]);
  });

  test('that lie in two pages walk to none of them again', async () => {
    const rounds = 20_000;
    const rig = await Rig.of(
      tier,
      supervisor(`
        li a0, ${17 * PAGE_SIZE - 8}
        li t2, ${rounds}
again:  ld a1, 0(a0)
        ld a2, 8(a0)
        sd a1, 8(a0)
        sd a2, 0(a0)
        addi t2, t2, -1
        bgtz t2, again`),
    );
    rig.map(16, DATA, READ_WRITE);
    rig.map(17, DATA + PAGE_SIZE, READ_WRITE);
    rig.finish();
    expect(rig.hart.get64('tlbMisses')).toBeLessThan(rounds / 100);
  });
});
