import { describe, expect, test } from 'vitest';
import { withOwnEntry } from './own-entry.ts';
import { structureOf } from './structure.ts';
import { Code } from './testing/code.ts';

/** What the structure says of the region at `entry`, with labels for blocks. */
function structured(text: string) {
  const code = new Code(text);
  const region = code.region();
  const structure = structureOf(region);
  const labels = new Map([...text.matchAll(/(\w+):/g)].map(([, label = '']) => [code.offset(label), label]));
  const name = ({ start }: { readonly start: number }): string => labels.get(start) ?? String(start);
  return {
    order: structure.order.map(name),
    loops: structure.order.filter(structure.isLoop).map(name),
    merges: structure.order.filter(structure.isMerge).map(name),
    under: (label: string) => structure.mergesUnder(code.block(region, label)).map(name),
    before: (label: string) => structure.predecessors(code.block(region, label)).map(name),
    loopOf: (label: string) => {
      const loop = structure.loopOf(code.block(region, label));
      return loop && name(loop);
    },
    shown: () => code.show(region),
  };
}

describe('the structure of a region', () => {
  test('a diamond has one merge, under the block that dominates both sides', () => {
    const diamond = structured(`
entry:  beqz a0, left
right:  addi a1, a1, 1
        j join
left:   addi a2, a2, 1
join:   ret`);
    expect(diamond.loops).toEqual([]);
    expect(diamond.merges).toEqual(['join']);
    expect(diamond.under('entry')).toEqual(['join']);
    expect(diamond.before('join').toSorted()).toEqual(['left', 'right']);
    expect(diamond.order.at(-1)).toBe('join');
  });

  test('merges under one block come the last first', () => {
    const two = structured(`
entry:  beqz a0, first
        beqz a1, second
        beqz a2, first
        j second
first:  addi a3, a3, 1
second: ret`);
    expect(two.merges).toEqual(['first', 'second']);
    expect(two.under('entry')).toEqual(['second', 'first']);
  });

  test('loops are the blocks that control comes back to, and blocks know their innermost', () => {
    const nested = structured(`
entry:  li a1, 3
outer:  li a2, 3
inner:  addi a2, a2, -1
        bnez a2, inner
tail:   addi a1, a1, -1
        bnez a1, outer
after:  ret`);
    expect(nested.loops).toEqual(['outer', 'inner']);
    expect(['entry', 'outer', 'inner', 'tail', 'after'].map(nested.loopOf)).toEqual([
      undefined,
      'outer',
      'inner',
      'outer',
      undefined,
    ]);
  });

  test('the entry may begin a loop, which is no merge', () => {
    const loop = structured('entry: addi a0, a0, -1\n bnez a0, entry\nafter: ret');
    expect([loop.loops, loop.merges]).toEqual([['entry'], []]);
  });

  test('a loop with two ways back is one loop', () => {
    const loop = structured(`
entry:  nop
head:   addi a0, a0, -1
        beqz a1, head
other:  bnez a0, head
after:  ret`);
    expect([loop.loops, loop.merges]).toEqual([['head'], []]);
    expect(loop.before('head').toSorted()).toEqual(['entry', 'head', 'other']);
  });

  test('an edge into the middle of a loop becomes a way out, and what is left has a structure', () => {
    const irreducible = structured(`
entry:  beqz a0, second
first:  addi a1, a1, 1
second: addi a2, a2, 1
        bnez a2, first
after:  ret`);
    // Both blocks are entered from outside of the loop that they are: no loop is left, and the way back leads out.
    expect(irreducible.loops).toEqual([]);
    const ways = irreducible
      .shown()
      .join('\n')
      .match(/!(first|second)/g);
    expect(ways).toHaveLength(1);
  });

  test('a loop that is entered behind what its rounds begin with has its own path, whatever is around it', () => {
    const code = new Code(`
outer:  li a2, 3
        j head
entry:  mv a3, a4
head:   addi a2, a2, -1
        bnez a2, entry
tail:   addi a1, a1, -1
        bnez a1, outer
after:  ret`);
    const paths: string[] = [];
    structureOf(withOwnEntry(code.region()), (path) => {
      paths.push(path.map(({ start }) => code.label(start)).join(' '));
      return false;
    });
    expect(paths).toEqual(['head entry']);
  });
});
