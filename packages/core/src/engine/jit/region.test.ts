import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { MAX_REGION_OPS, discover } from './region.ts';
import { Code, type CodeOptions } from './testing/code.ts';

/** The region at `entry` as text. */
function shown(text: string, options?: CodeOptions): string[] {
  const code = new Code(text, options);
  return code.show(code.region());
}

describe('a region', () => {
  test('holds both sides of a branch, and a loop that goes back to its start', () => {
    expect(
      shown(`
entry:  beqz a0, even
odd:    addi a1, a1, 1
even:   addi a0, a0, -1
        bnez a0, entry
after:  ret`),
    ).toEqual([
      'entry: beq branch even odd',
      'even: addi bne branch entry after',
      'odd: addi next even',
      'after: jalr return',
    ]);
  });

  test('a branch into the middle of a block cuts the block in two', () => {
    expect(
      shown(`
entry:  addi a1, a1, 1
middle: addi a0, a0, -1
        bnez a0, middle
after:  jr a2`),
    ).toEqual(['entry: addi next middle', 'middle: addi bne branch middle after', 'after: jalr indirect']);
  });

  test('goes on behind a call, and does not hold what is called', () => {
    expect(
      shown(`
entry:  call function
back:   jalr a2
later:  j entry
function: ret`),
    ).toEqual(['entry: auipc jalr call somewhere back', 'back: jalr call somewhere later', 'later: jal jump entry']);
  });

  test('knows where a jal calls, by either link register', () => {
    expect(
      shown(`
entry:  jal ra, function
back:   jal t0, function
later:  jr t0
function: ret`),
    ).toEqual(['entry: jal call function back', 'back: jal call function later', 'later: jalr return']);
  });

  test('follows a jump that leaves no return address', () => {
    expect(shown('entry: j far\n nop\nfar: ret')).toEqual(['entry: jal jump far', 'far: jalr return']);
  });

  test.each(['ecall', 'mret', 'wfi', 'sfence.vma', 'fence.i', 'csrr a0, mstatus', 'cbo.clean 0(a0)'])(
    'has a way out before %s, and goes no further',
    (instruction) => {
      expect(shown(`entry: nop\nspecial: ${instruction}\nbehind: ret`)).toEqual(['entry: addi leave special']);
    },
  );

  test('ends before an instruction that is illegal', () => {
    expect(shown('entry: nop\nbad: .word 0')).toEqual(['entry: addi next !bad']);
  });

  test('does not go on in code that was never executed', () => {
    expect(shown('entry: beqz a0, rare\nusual: ret\nrare: nop\n ret', { cold: ['rare'] })).toEqual([
      'entry: beq branch !rare usual',
      'usual: jalr return',
    ]);
  });

  test('is not there where the first instruction is for the interpreter, or is illegal', () => {
    for (const text of ['entry: ecall', 'entry: .word 0', 'entry: .half 3']) {
      expect(discover(new Code(text), 0), text).toBeUndefined();
    }
  });

  test('holds so many instructions at most, and says where it goes on', () => {
    const code = new Code(`entry: ${'nop\n'.repeat(MAX_REGION_OPS)}rest: nop\n ret`);
    expect(code.region().opCount).toBe(MAX_REGION_OPS);
    expect(code.block(code.region(), 'entry').end).toEqual({
      kind: 'next',
      to: { kind: 'outside', offset: code.offset('rest') },
    });
    const small = code.region('entry', 3);
    expect([small.opCount, small.ranges]).toEqual([3, [[0, 12]]]);
  });

  test('says which bytes its instructions are, compressed ones included', () => {
    const code = new Code('entry: c.addi a0, 1\n addi a0, a0, 1\n beqz a0, far\nnear: c.jr ra\n .word 0, 0\nfar: ret');
    const ranges = [...code.region().ranges].toSorted(([a], [b]) => a - b);
    expect(ranges).toEqual([
      [0, 10],
      [10, 12],
      [code.offset('far'), code.offset('far') + 4],
    ]);
  });
});

describe('a region at the edge of a page', () => {
  const LAST = PAGE_SIZE - 4;

  test('goes on in the next page as a block of its own', () => {
    const code = new Code('entry: nop\nnext: nop\n ret', { at: LAST });
    const region = code.region();
    expect(code.show(region)).toEqual(['entry: addi next next', 'next: addi jalr return']);
    expect([code.block(region, 'entry').page, code.block(region, 'next').page]).toEqual([0, 1]);
  });

  test('ends there when the next page cannot be seen', () => {
    expect(shown('entry: nop\nnext: nop\n ret', { at: LAST, pages: [0] })).toEqual(['entry: addi next !next']);
  });

  test('holds an instruction that straddles two pages alone in a block, which needs the second page', () => {
    const code = new Code('entry: c.nop\nstraddling: addi a0, a0, 1\nbehind: ret', { at: LAST });
    const region = code.region();
    expect(code.show(region)).toEqual([
      'entry: addi next straddling',
      'straddling: addi next behind',
      'behind: jalr return',
    ]);
    expect(code.block(region, 'straddling').page).toBe(1);
  });

  test('does not hold an instruction whose second half cannot be seen', () => {
    expect(shown('entry: c.nop\nstraddling: addi a0, a0, 1\n ret', { at: LAST, pages: [0] })).toEqual([
      'entry: addi next !straddling',
    ]);
  });

  test('does not begin with an instruction that straddles two pages', () => {
    const code = new Code('entry: addi a0, a0, 1\n ret', { at: PAGE_SIZE - 2 });
    expect(discover(code, code.offset('entry'))).toBeUndefined();
  });

  test('does not hold an instruction that straddles from the page before, which nobody looks at on the way back to it', () => {
    const code = new Code('straddling: addi a0, a0, 1\nentry: bnez a1, straddling\nafter: ret', { at: -2 });
    expect(code.show(code.region()).toSorted()).toEqual(['after: jalr return', 'entry: bne branch !straddling after']);
  });

  test('reaches into the page before, and no further', () => {
    const before = new Code(`loop: addi a0, a0, -1\n ${'nop\n'.repeat(3)}entry: bnez a0, loop\nafter: ret`, {
      at: -16,
    });
    const region = before.region();
    expect(before.show(region).toSorted()).toEqual([
      'after: jalr return',
      'entry: bne branch loop after',
      'loop: addi addi addi addi next entry',
    ]);
    expect(before.block(region, 'loop').page).toBe(-1);

    const far = new Code(`loop: ${'nop\n'.repeat(PAGE_SIZE / 2)}entry: j loop`, { at: -2 * PAGE_SIZE });
    expect(far.show(far.region())).toEqual(['entry: jal jump !loop']);
  });
});
