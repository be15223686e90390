import { describe, expect, test } from 'vitest';
import { type RegisterSet, flowOf, registersOf, usesOf } from './registers.ts';
import { structureOf } from './structure.ts';
import { Code } from './testing/code.ts';

/** Registers by their numbers, as in `x10 f1`. */
const shown = (set: RegisterSet): string =>
  registersOf(set)
    .map(({ file, number }) => `${file}${number}`)
    .join(' ');

function flow(text: string) {
  const code = new Code(text);
  const region = code.region();
  const found = flowOf(structureOf(region));
  return {
    dirty: (label: string) => shown(found.dirtyIn(code.block(region, label))),
    live: (label: string) => shown(found.liveIn(code.block(region, label))),
    stored: (label: string) => shown(found.stored(code.block(region, label))),
    carried: (label: string) => shown(found.carried(code.block(region, label))),
  };
}

/** What the first instruction of `text` reads and writes. */
function uses(text: string): [string, string] {
  const [op] = new Code(`entry: ${text}\n ret`).region().entry.ops;
  if (!op) throw new Error('An instruction is a block');
  const { reads, writes } = usesOf(op.decoded);
  return [shown(reads), shown(writes)];
}

describe('what an instruction uses', () => {
  test.each([
    ['add a0, a1, a2', 'x11 x12', 'x10'],
    ['addi a0, x0, 1', '', 'x10'],
    ['add x0, a1, a1', 'x11', ''],
    ['sd a0, 0(a1)', 'x10 x11', ''],
    ['fmadd.d fa0, fa1, fa2, fa3', 'f11 f12 f13', 'f10'],
    ['fcvt.d.l fa0, a0', 'x10', 'f10'],
    ['feq.d a0, fa0, fa1', 'f10 f11', 'x10'],
    ['fsd fs0, 8(sp)', 'x2 f8', ''],
    ['csrrw a0, sscratch, a1', 'x11', 'x10'],
    ['csrrwi a0, sscratch, 9', '', 'x10'],
    ['c.addi a0, 1', 'x10', 'x10'],
  ])('%s reads %j and writes %j', (text, reads, writes) => {
    expect(uses(text)).toEqual([reads, writes]);
  });
});

describe('registers of a region', () => {
  test('what one side of a diamond writes may be dirty where they meet, and is live for it to be stored', () => {
    const diamond = flow(`
entry:  beqz a0, left
right:  li a1, 1
        j join
left:   li a2, 2
join:   ret`);
    expect(diamond.dirty('join')).toBe('x11 x12');
    expect([diamond.dirty('left'), diamond.dirty('right')]).toEqual(['', '']);
    // ra is where it returns; each side stores what the other would have written.
    expect(diamond.live('join')).toBe('x1 x11 x12');
    expect([diamond.live('left'), diamond.live('right')]).toEqual(['x1 x11', 'x1 x12']);
    expect(diamond.live('entry')).toBe('x1 x10 x11 x12');
  });

  test('what both sides write need not be loaded', () => {
    const diamond = flow(`
entry:  beqz a0, left
right:  li a1, 1
        j join
left:   li a1, 2
join:   jr a2`);
    expect(diamond.live('entry')).toBe('x10 x12');
  });

  test('what a loop writes and reads in its next round is dirty and live where it begins', () => {
    const loop = flow(`
entry:  li a1, 0
head:   add a1, a1, a0
        addi a0, a0, -1
        mv a3, a0
        bnez a0, head
after:  jr a4`);
    expect([loop.carried('head'), loop.dirty('head')]).toEqual(['x10 x11', 'x10 x11']);
    // a3 is not read again: it is stored where it is written.
    expect(loop.stored('head')).toBe('x13');
    expect(loop.live('head')).toBe('x10 x11 x14');
    expect(loop.live('entry')).toBe('x10 x14');
  });

  test('what is written before a loop, and only read in it, is stored before the loop', () => {
    const loop = flow('entry: li a1, 1\nhead: addi a0, a0, -1\n bne a0, a1, head\nafter: jr a2');
    expect([loop.dirty('head'), loop.carried('head')]).toEqual(['x10', 'x10']);
  });

  test('what an inner loop carries and the outer one does not is dirty behind the inner one, and what only the outer one writes is not', () => {
    const nest = flow(`
entry:  nop
outer:  li a1, 8
inner:  addi a1, a1, -1
        bnez a1, inner
tail:   addi a0, a0, -1
        bnez a0, outer
after:  jr a2`);
    expect([nest.carried('outer'), nest.carried('inner')]).toEqual(['x10', 'x11']);
    expect([nest.dirty('outer'), nest.dirty('inner'), nest.dirty('tail')]).toEqual(['x10', 'x11', 'x11']);
    expect([nest.stored('outer'), nest.stored('inner')]).toEqual(['x11', '']);
  });

  test('nothing is dirty behind a call, and what is live there is not live before it', () => {
    const call = flow(`
entry:  li a0, 1
        jal ra, function
back:   add a0, a0, a1
        jr a2
function: ret`);
    expect(call.dirty('back')).toBe('');
    expect(call.live('back')).toBe('x10 x11 x12');
    expect(call.live('entry')).toBe('');
  });

  test('what is dirty is live before an instruction that may leave', () => {
    const plain = flow('entry: beqz a0, join\nset: li a1, 1\njoin: li a1, 2\nafter: jr a2');
    const leaving = flow('entry: beqz a0, join\nset: li a1, 1\njoin: ld x0, 0(a0)\n li a1, 2\nafter: jr a2');
    expect(plain.live('join')).toBe('x12');
    expect(leaving.live('join')).toBe('x10 x11 x12');
  });

  test('float registers are kept apart from the others of their number', () => {
    const loop = flow('entry: nop\nloop: fadd.d fa0, fa0, fa1\n bnez a0, loop\nafter: jr a2');
    expect([loop.dirty('loop'), loop.live('loop')]).toEqual(['f10', 'x10 x12 f10 f11']);
  });
});
