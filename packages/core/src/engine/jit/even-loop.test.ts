import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { EXIT } from '../interpreter.ts';
import { TLB_WRITE } from '../layout.ts';
import { DATA, RAM, Rig } from '../testing/rig.ts';
import { TIERS } from '../testing/tiers.ts';
import { evenLoop } from './even-loop.ts';
import { structureOf } from './structure.ts';
import { Code } from './testing/code.ts';

/** What is even about the loops of `text`, by the label of their first blocks. */
function found(text: string): Record<string, string> {
  const code = new Code(text);
  const region = code.region();
  const result: Record<string, string> = {};
  structureOf(region, (path) => {
    const loop = evenLoop(path);
    const bases = loop?.bases.map(({ register, table, stride, low, span }) => {
      const step = 'bytes' in stride ? `${stride.bytes}` : `x${stride.register}`;
      return `${table === TLB_WRITE ? 'writes' : 'reads'} x${register} by ${step}: ${low}+${span}`;
    });
    result[path[0]?.start ?? -1] = bases
      ? [...bases, ...(loop?.isCalm === true ? ['calm'] : [])].join(', ')
      : 'nothing';
    return loop !== undefined;
  });
  return Object.fromEntries(Object.entries(result).map(([start, said]) => [code.label(Number(start)), said]));
}

describe('what is even about a loop', () => {
  test.each([
    [
      'a base that is moved behind its access',
      'loop: ld t0, 8(a0)\n addi a0, a0, 16\n bne a0, a1, loop',
      'reads x10 by 16: 8+8, calm',
    ],
    [
      'an access behind the step',
      'loop: addi a0, a0, -4\n lw t0, 0(a0)\n bne a0, a1, loop',
      'reads x10 by -4: -4+4, calm',
    ],
    [
      'both sides of a step',
      'loop: lbu t0, 0(a0)\n addi a0, a0, 1\n sb t0, 3(a0)\n bnez t0, loop',
      'writes x10 by 1: 4+1, reads x10 by 1: 0+1, calm',
    ],
    ['a base that does not move', 'loop: ld t0, 0(a0)\n addi t1, t1, -1\n bnez t1, loop', 'reads x10 by 0: 0+8, calm'],
    ['a step in a register', 'loop: sb x0, 0(a0)\n add a0, a0, a2\n bltu a0, a1, loop', 'writes x10 by x12: 0+1, calm'],
    [
      'a step in a register that the loop changes',
      'loop: sb x0, 0(a0)\n add a0, a0, a2\n addi a2, a2, 1\n bltu a0, a1, loop',
      'nothing',
    ],
    ['an access behind a step of unknown size', 'loop: add a0, a0, a2\n sb x0, 0(a0)\n bltu a0, a1, loop', 'nothing'],
    ['a base that is loaded', 'loop: ld a0, 0(a0)\n bnez a0, loop', 'nothing'],
    ['a base of two steps', 'loop: ld t0, 0(a0)\n addi a0, a0, 8\n addi a0, a0, 8\n bne a0, a1, loop', 'nothing'],
    ['accesses far from each other', 'loop: ld t0, 0(a0)\n ld t1, 1024(a0)\n bnez t0, loop', 'nothing'],
    [
      'one even base and one that is not',
      'loop: lbu t0, 0(a0)\n add t1, a2, t0\n lbu t2, 0(t1)\n addi a0, a0, 1\n bnez t2, loop',
      'reads x10 by 1: 0+1',
    ],
    [
      'a way out in the middle',
      'loop: lbu t0, 0(a0)\n beqz t0, out\n addi a0, a0, 1\n bne a0, a1, loop\nout: nop',
      'reads x10 by 1: 0+1, calm',
    ],
    [
      'a fork',
      'loop: lbu t0, 0(a0)\n beqz t0, skip\n addi a3, a3, 1\nskip: addi a0, a0, 1\n bne a0, a1, loop',
      undefined,
    ],
    ['an atomic access', 'loop: lbu t0, 0(a0)\n amoadd.w t1, t0, (a2)\n bnez t0, loop', 'nothing'],
    ['a CSR', 'loop: lbu t0, 0(a0)\n csrr t1, sscratch\n bnez t0, loop', 'nothing'],
    ['no accesses', 'loop: addi a0, a0, -1\n bnez a0, loop', 'nothing'],
  ])('%s', (_, text, expected) => {
    expect(found(`entry: nop\n${text}\n ret`)['loop']).toBe(expected);
  });

  test('an outer loop that begins with the same block is not in the way', () => {
    const text =
      'entry: ld t0, 0(a0)\n addi a0, a0, 8\n bne a0, a1, entry\nmore: addi a2, a2, -1\n bnez a2, entry\n ret';
    expect(found(text)).toEqual({ entry: 'reads x10 by 8: 0+8, calm' });
  });
});

const BASES = ['a0', 'a1', 'a2'];
const TEMPS = ['t0', 't1', 't2', 'a7'];
const LOADS = ['lb', 'lbu', 'lh', 'lhu', 'lw', 'lwu', 'ld'];
const STORES = ['sb', 'sh', 'sw', 'sd'];
const AREA = 8 * PAGE_SIZE;
/** The end of the rig's RAM: accesses behind it trap. */
const RAM_END = RAM + 4 * 1024 * 1024;

const pick = (names: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...names);
/** Holds what was loaded from the area, which is full of addresses in it. */
const POINTER = 'a4';
const offset = fc.oneof(fc.integer({ min: -16, max: 16 }), fc.constantFrom(0, 8, 24, 64));
const step = fc.oneof(
  fc.record({ op: fc.constant('load'), kind: pick(LOADS), to: pick(TEMPS), base: pick(BASES), offset }),
  fc.record({ op: fc.constant('store'), kind: pick(STORES), to: pick([...TEMPS, 's2']), base: pick(BASES), offset }),
  fc.record({
    op: fc.constant('sum'),
    kind: pick(['add', 'xor', 'addw', 'sub']),
    to: pick(TEMPS),
    base: pick(BASES),
    offset,
  }),
  fc.record({ op: fc.constant('table'), kind: pick(LOADS), to: pick(TEMPS), base: pick(BASES), offset }),
  fc.record({ op: fc.constant('float'), kind: pick(['fadd.d', 'fmul.d']), to: pick(TEMPS), base: pick(BASES), offset }),
  fc.record({
    op: fc.constant('pointer'),
    kind: pick(['ld']),
    to: pick([POINTER]),
    base: pick([...BASES, POINTER]),
    offset,
  }),
  fc.record({ op: fc.constant('load'), kind: pick(LOADS), to: pick(TEMPS), base: pick([POINTER]), offset }),
  fc.record({ op: fc.constant('store'), kind: pick(['sb', 'sh']), to: pick(TEMPS), base: pick([POINTER]), offset }),
  fc.record({ op: fc.constant('out'), kind: pick(['beq', 'bltu']), to: pick(TEMPS), base: pick(BASES), offset }),
);
const walk = fc.record({
  stride: fc.constantFrom(0, 1, 2, 4, 8, 8, 16, 24, 56, 64, 200, 512, -1, -4, -8, -24),
  inRegister: fc.boolean(),
  /** Where the step is, as a part of the body. */
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  start: fc.oneof(
    fc.integer({ min: 0, max: AREA - 1 }).map((at) => DATA + at),
    fc.constantFrom(-8, 0, 1, 4).map((at) => DATA + 3 * PAGE_SIZE + at),
    fc.integer({ min: 1, max: 2000 }).map((back) => RAM_END - back),
  ),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Walk = typeof walk extends fc.Arbitrary<infer T> ? T : never;

function written({ op, kind, to, base, offset: at }: Step): string {
  switch (op) {
    case 'load':
    case 'store':
      return `${kind} ${to}, ${at}(${base})`;
    case 'pointer':
      return `${kind} ${to}, ${at & -8}(${base})`;
    case 'sum':
      return `${kind} s2, s2, ${to}`;
    case 'table':
      return `andi t3, ${to}, 0x7f8\n add t3, t3, s3\n ${kind} ${to}, 0(t3)`;
    case 'float':
      return `fld fa0, ${at}(${base})\n ${kind} fa1, fa1, fa0`;
    default:
      return `${kind} ${to}, s4, out`;
  }
}

/** A loop of `body`, each base moved once in it, `rounds` times or until something traps. */
function program(body: readonly Step[], walks: readonly Walk[], rounds: number, wanted: number): string {
  const lines = body.map(written);
  const steps = walks.map(({ stride, inRegister, at }, index) => ({
    at: Math.round(at * lines.length),
    text: inRegister
      ? `add ${BASES[index]}, ${BASES[index]}, s${5 + index}`
      : stride === 0
        ? ''
        : `addi ${BASES[index]}, ${BASES[index]}, ${stride}`,
  }));
  for (const { at, text } of steps.toSorted((a, b) => b.at - a.at)) lines.splice(at, 0, text);
  return `
        la t0, trapped
        csrw mtvec, t0
        li t0, 0x6000
        csrs mstatus, t0
        csrsi fflags, 1
        li s2, 0
        li s3, ${DATA + 5 * PAGE_SIZE - 0x400}
        li s4, ${wanted}
        li ${POINTER}, ${DATA + 64}
        ${walks.map(({ stride, start }, index) => `li s${5 + index}, ${stride}\n li ${BASES[index]}, ${start}`).join('\n')}
        ${TEMPS.map((name, index) => `li ${name}, ${index}`).join('\n')}
        li s1, ${rounds}
loop:   ${lines.join('\n')}
        addi s1, s1, -1
        bnez s1, loop
out:    li s8, 1
        wfi
        .align 2
trapped: csrr s8, mcause
        csrr s9, mepc
        csrr s10, mtval
1:      wfi
        j 1b`;
}

describe.each(TIERS.filter((tier) => tier !== 'interpreter'))('loops in even steps on the %s', (tier) => {
  test('leave what they leave when they are interpreted: registers, memory, traps and counts', async () => {
    const [subject, reference] = [await Rig.of(tier, ''), await Rig.of('interpreter', '')];
    let at = RAM + 0x4_0000;
    let [compiled, retired] = [0n, 0n];
    const everything = (rig: Rig): unknown => [
      Array.from({ length: 32 }, (_, number) => rig.hart.x(number)),
      rig.hart.get64('retired'),
      Array.from({ length: AREA / 8 + 512 }, (_, index) => rig.load(DATA - 2048 + 8 * index)).join(),
    ];
    const run = (rig: Rig, text: string, slice: number): void => {
      rig.place(at, text);
      rig.hart.reset(BigInt(at));
      for (let index = 0; index < AREA / 8; index++) rig.store(DATA + 8 * index, BigInt(DATA + ((index * 40) % AREA)));
      for (let turn = 0; turn < 20_000; turn++) if (rig.engine.run(rig.hart, slice) === EXIT.WAIT) return;
      throw new Error('The program reaches its wfi');
    };
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 10 }),
        fc.tuple(walk, walk, walk),
        fc.integer({ min: 1, max: 900 }),
        fc.constantFrom(0, 5, DATA + 40 * 300),
        fc.constantFrom(50, 333, 10_000),
        (body, walks, rounds, wanted, slice) => {
          // All stays in the area, or ends at the end of RAM.
          const most = Math.max(...walks.map(({ stride }) => Math.abs(stride)), 1);
          const text = program(body, walks, Math.min(rounds, Math.ceil((AREA * 0.4) / most)), wanted);
          run(subject, text, slice);
          compiled += subject.hart.get64('compiled');
          retired += subject.hart.get64('retired');
          run(reference, text, slice);
          // Nothing may be put where something ran.
          at += 2 * PAGE_SIZE;
          expect(everything(subject)).toEqual(everything(reference));
        },
      ),
      { numRuns: 200 },
    );
    // A share, since how long the programs are is left to chance.
    expect(compiled).toBeGreaterThan(retired / 4n);
  });

  test('see code that they write themselves into the page they come to', async () => {
    // 200 words of `addi a0, a0, 1`, then of `addi a0, a0, 2`, over what was just executed and lies across two pages.
    const code = RAM + 0x10_0000 + PAGE_SIZE - 400;
    const rig = await Rig.of(
      tier,
      `
        li s0, 40
again:  li a0, 0
        andi t1, s0, 1
        addi t1, t1, 1
        slli t1, t1, 20
        li t0, 0x50513
        or t1, t1, t0
        li t2, ${code}
        addi t3, t2, 800
loop:   sw t1, 0(t2)
        addi t2, t2, 4
        bne t2, t3, loop
        li t1, 0x8067
        sw t1, 0(t2)
        fence.i
        li t2, ${code}
        jalr t2
        add a1, a1, a0
        addi s0, s0, -1
        bnez s0, again
1:      wfi
        j 1b`,
    );
    rig.finish();
    expect(rig.hart.x(11)).toBe(BigInt(20 * 200 + 20 * 400));
  });
});
