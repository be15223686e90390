import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { inlineCalls } from './inline-calls.ts';
import { structureOf } from './structure.ts';
import { Code, type CodeOptions } from './testing/code.ts';

/** The blocks of the region at `entry` after its calls were looked at. */
function inlined(text: string, options?: CodeOptions) {
  const code = new Code(text, options);
  const region = inlineCalls(code, code.region());
  return { code, region, blocks: code.show(region) };
}

const CALLER = `
entry:  nop
        jal ra, leaf
back:   jr a5`;

describe('a call of a leaf function', () => {
  test('becomes a jump to a copy, which jumps to behind the call', () => {
    const { blocks, region } = inlined(`${CALLER}\nleaf: addi a0, a0, 1\n ret`);
    expect(blocks).toEqual(['entry: addi jal jump leaf', 'back: jalr indirect', 'leaf: addi jalr jump back']);
    expect(region.opCount).toBe(5);
  });

  test('twice is two copies, each with its own way back', () => {
    const { blocks, region } = inlined(`
entry:  jal ra, leaf
middle: jal ra, leaf
last:   jr a5
leaf:   addi a0, a0, 1
        ret`);
    expect(blocks).toEqual([
      'entry: jal jump leaf',
      'middle: jal jump leaf',
      'last: jalr indirect',
      'leaf: addi jalr jump middle',
      'leaf: addi jalr jump last',
    ]);
    expect(region.blocks.map(({ number }) => number)).toEqual([0, 1, 2, 3, 4]);
    expect(structureOf(region).order).toHaveLength(5);
  });

  test('brings the branches and loops of the function along', () => {
    const { blocks } = inlined(`
entry:  jal ra, leaf
back:   jr a5
leaf:   addi a0, a0, -1
        bnez a0, leaf
done:   ret`);
    expect(blocks.slice(2)).toEqual(['leaf: addi bne branch leaf done', 'done: jalr jump back']);
  });

  test('counts what it reads among the bytes of the region', () => {
    const { code, region } = inlined(`${CALLER}\n .word 0\nleaf: addi a0, a0, 1\n ret`);
    const leaf = code.offset('leaf');
    expect(region.ranges).toContainEqual([leaf, leaf + 8]);
  });

  test('reaches a page that is not a neighbour, and the copy says which page it needs', () => {
    const far = `${CALLER}\n .word 0\n${'nop\n'.repeat((4 * PAGE_SIZE) / 4)}leaf: addi a0, a0, 1\n ret`;
    const { code, region } = inlined(far);
    expect(code.block(region, 'leaf').page).toBe(4);
    expect(code.block(region, 'leaf').ops.map(({ offset }) => offset)).toEqual([
      code.offset('leaf'),
      code.offset('leaf') + 4,
    ]);
    const unseen = inlined(far, { pages: [0] });
    expect(unseen.blocks[0]).toBe('entry: addi jal call leaf back');
  });

  test.each([
    ['calls itself', 'leaf: jal ra, other\n ret\nother: ret', {}],
    ['jumps to where a register says', 'leaf: jr a0', {}],
    ['writes ra', 'leaf: ld ra, 0(sp)\n ret', {}],
    ['returns by another register', 'leaf: jr t0', {}],
    ['returns to behind where ra says', 'leaf: jalr x0, 4(ra)', {}],
    ['never returns', 'leaf: j leaf', {}],
    ['was never executed', 'leaf: ret', { cold: ['leaf'] }],
    ['is too big', `leaf: ${'nop\n'.repeat(32)}ret`, {}],
  ] as const)('stays a call where the function %s', (_, leaf, options) => {
    const { blocks, region, code } = inlined(`${CALLER}\n${leaf}`, options);
    expect(blocks[0]).toBe('entry: addi jal call leaf back');
    expect(region.opCount).toBe(code.region().opCount);
  });

  test('stays a call where the return address goes into another register, or a register says what is called', () => {
    expect(inlined('entry: jal t0, leaf\nback: ecall\nleaf: ret').blocks[0]).toBe('entry: jal call leaf !back');
    expect(inlined('entry: jalr a0\nback: ecall').blocks[0]).toBe('entry: jalr call somewhere !back');
  });

  test('of the largest size still is copied, until there are too many instructions', () => {
    const calls = Array.from({ length: 6 }, () => 'jal ra, leaf').join('\n');
    const { blocks } = inlined(`entry: ${calls}\nlast: jr a5\nleaf: ${'nop\n'.repeat(31)}ret`);
    const ends = blocks
      .filter((line) => / jal |: jal /.test(line))
      .map((line) => (line.includes('jump leaf') ? 'copy' : 'call'));
    // 160 instructions are five times 32.
    expect(ends).toEqual(['copy', 'copy', 'copy', 'copy', 'copy', 'call']);
  });
});
