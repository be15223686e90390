/**
 * Random programs of loops within loops, on every tier: what is stored in one loop and carried in another, ways out of quick rounds to all kinds
 * of places, functions that are copied into loops, pages that are mapped twice, not yet dirty, or not there.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { EXIT } from '../interpreter.ts';
import { DATA, PTE, RAM, Rig, TABLES } from '../testing/rig.ts';
import { TIERS } from '../testing/tiers.ts';

const BASES = ['a0', 'a1', 'a2'];
const TEMPS = ['t0', 't1', 't2', 'a5', 'a6', 'a7'];
const FLOATS = ['fa0', 'fa1', 'fa2', 'ft0'];
/** The form of loop that compilers make where a round leaves something to the next one. */
const ENTERED_LATER = 3;
/** Counters of loops, by depth; functions have their own. */
const COUNTERS = ['s0', 's1', 's2'];
const LEAF_COUNTERS = ['s3', 's4'];
const STEPS = ['s5', 's6', 's7'];
const LOADS = ['lb', 'lbu', 'lh', 'lhu', 'lw', 'lwu', 'ld'];
const STORES = ['sb', 'sh', 'sw', 'sd'];
const INTEGER = [
  'add',
  'addw',
  'sub',
  'subw',
  'xor',
  'and',
  'or',
  'mul',
  'mulw',
  'sltu',
  'slt',
  'sllw',
  'sraw',
  'srlw',
  'min',
];
const ARITHMETIC = ['fadd.d', 'fsub.d', 'fmul.d', 'fdiv.d', 'fadd.s', 'fmax.d'];
const FUSED = ['fmadd.d', 'fmsub.d', 'fnmadd.d', 'fnmsub.d'];
const MOVES = ['fmv.d.x', 'fcvt.d.l', 'fcvt.d.w', 'fcvt.s.l', 'fmv.w.x'];
/** The first of the mapped pages, and how many there are: as many physical pages, some of them mapped twice. */
const FIRST_PAGE = 16;
const PAGES = 6;
const AREA = PAGES * PAGE_SIZE;
/** Physical pages beside these that nobody has touched before, and where they are behind a program. */
const UNTOUCHED = 2;
const UNTOUCHED_AT = 2 * PAGE_SIZE;
/** Rounds of all loops around something, multiplied. */
const MOST_ROUNDS = 2000;
const MOST_LEAF_ROUNDS = 40;
/** Instructions until a program is not waited for. */
const MOST_INSTRUCTIONS = 1_500_000n;
/** Programs of each kind. */
const RUNS = 80;
/** Traps until a program is given up. */
const MOST_TRAPS = 200;
/** What doubles are made of: numbers that are exact, tiny, huge, or none. */
const BITS = [
  0n,
  1n << 63n,
  0x3ff0_0000_0000_0000n,
  0x4008_0000_0000_0001n,
  0x10_0000_0000_0000n,
  0x1n,
  0x20_0000_0000_0000n,
  0x7fe0_0000_0000_0000n,
  0x7ff0_0000_0000_0000n,
  0x7ff8_0000_0000_0000n,
  0x7ff0_0000_0000_0001n,
  0x1ff0_0000_0000_0000n,
  0xffff_ffff_3f80_0000n,
];

type Statement =
  | { readonly kind: 'line'; readonly text: string }
  | {
      readonly kind: 'if';
      readonly condition: string;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | {
      readonly kind: 'leave';
      readonly condition: string;
      readonly to: 'end' | 'next' | 'again';
      readonly level: number;
    }
  | { readonly kind: 'call'; readonly leaf: number }
  | { readonly kind: 'loop'; readonly form: number; readonly times: number; readonly body: readonly Statement[] };

const pick = (names: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...names);
const offset = fc.oneof(fc.integer({ min: -16, max: 24 }), fc.constantFrom(0, 8, 16, 64, 248));
const line = (...texts: (string | fc.Arbitrary<string | number>)[]): fc.Arbitrary<Statement> =>
  fc
    .tuple(...texts.map((text) => (typeof text === 'string' ? fc.constant(text) : text)))
    .map((parts) => ({ kind: 'line', text: parts.join('') }));
const [base, temp, float] = [pick(BASES), pick(TEMPS), pick(FLOATS)];
const operand = fc.oneof(temp, temp, base);
const address = fc.integer({ min: 0, max: AREA - 1 }).map((at) => FIRST_PAGE * PAGE_SIZE + at);
const condition = fc.oneof(
  fc.tuple(pick(['beq', 'bne', 'blt', 'bltu']), temp, operand).map(([name, a, b]) => `${name} ${a}, ${b}`),
  fc.tuple(pick(['beq', 'bgeu', 'bltu']), base, temp).map(([name, a, b]) => `${name} ${a}, ${b}`),
);
const plain: readonly fc.WeightedArbitrary<Statement>[] = [
  { arbitrary: line(pick(LOADS), ' ', temp, ', ', offset, '(', base, ')'), weight: 6 },
  { arbitrary: line(pick(STORES), ' ', temp, ', ', offset, '(', base, ')'), weight: 6 },
  { arbitrary: line(pick(INTEGER), ' ', temp, ', ', operand, ', ', temp), weight: 6 },
  { arbitrary: line('addiw ', temp, ', ', temp, ', ', fc.integer({ min: -2048, max: 2047 })), weight: 1 },
  { arbitrary: line('li ', temp, ', ', fc.constantFrom(0, 1, -1, 0x7fff_ffff, -0x8000_0000)), weight: 1 },
  {
    arbitrary: base.chain((name) =>
      line('addi ', name, ', ', name, ', ', fc.constantFrom(1, 2, 4, 8, 8, 8, 16, 40, 512, -1, -8, -16, 0)),
    ),
    weight: 5,
  },
  { arbitrary: base.chain((name) => line('add ', name, ', ', name, ', ', pick(STEPS))), weight: 2 },
  { arbitrary: line('li ', base, ', ', address), weight: 1 },
  { arbitrary: line('mv ', base, ', ', base), weight: 0.5 },
  { arbitrary: line('ld ', base, ', ', fc.constantFrom(0, 8, 16, 24), '(', base, ')'), weight: 1 },
  { arbitrary: line('fld ', float, ', ', offset, '(', base, ')'), weight: 2 },
  { arbitrary: line('fsd ', float, ', ', offset, '(', base, ')'), weight: 2 },
  { arbitrary: line(pick(['flw ', 'fsw ']), float, ', ', offset, '(', base, ')'), weight: 1 },
  { arbitrary: line(pick(ARITHMETIC), ' ', float, ', ', float, ', ', float), weight: 3 },
  { arbitrary: line(pick(FUSED), ' ', float, ', ', float, ', ', float, ', ', float), weight: 2 },
  { arbitrary: line('fsqrt.d ', float, ', ', float), weight: 0.3 },
  { arbitrary: line(pick(MOVES), ' ', float, ', ', temp), weight: 1 },
  { arbitrary: line('fmv.x.d ', temp, ', ', float), weight: 1 },
  { arbitrary: line('csrrci ', temp, ', fflags, 1'), weight: 0.3 },
  { arbitrary: line('amoadd.d ', temp, ', ', temp, ', (', base, ')'), weight: 0.3 },
  { arbitrary: line('fence'), weight: 0.1 },
];
/** Loops that may have quick rounds: accesses, sums, one step, a way out at times. */
const even: fc.Arbitrary<Statement> = base.chain((moved) =>
  fc
    .tuple(
      fc.constantFrom(1, 4, 8, 8, 16, -8),
      fc.constantFrom(60, 200, 200, 600),
      fc.array(
        fc.oneof(
          line(pick(LOADS), ' ', temp, ', ', offset, `(${moved})`),
          line(pick(LOADS), ' ', temp, ', ', offset, `(${moved})`),
          line(pick(STORES), ' ', temp, ', ', offset, `(${moved})`),
          line(pick(INTEGER), ' ', temp, ', ', temp, ', ', temp),
          // What a round leaves to the next one, often the sign extension of a low half.
          line(pick(['mv ', 'sext.w ', 'not ']), temp, ', ', temp),
          line(pick(['slliw ', 'srli ', 'srai ', 'roriw ']), temp, ', ', temp, ', ', fc.constantFrom(1, 7, 31)),
          line(pick(['andn ', 'xnor ', 'maxu ']), temp, ', ', temp, ', ', temp),
          line('ld ', base, ', ', fc.constantFrom(0, 8, 16, 24), `(${moved})`),
          base.chain((other) =>
            line('lbu ', temp, `, 0(${other})\n ld ${other}, 0(${moved})\n lbu `, temp, `, 8(${other})`),
          ),
          line('fld ', float, ', ', offset, `(${moved})`),
          line(pick(ARITHMETIC), ' ', float, ', ', float, ', ', float),
          fc.record({
            kind: fc.constant('leave' as const),
            condition,
            to: fc.constantFrom('end' as const, 'next' as const),
            level: fc.integer({ min: 0, max: 1 }),
          }),
        ),
        { minLength: 1, maxLength: 5 },
      ),
      fc.integer({ min: 0, max: FIRST_PAGE }),
    )
    .map(([step, times, body, start]): Statement => {
      const at = (FIRST_PAGE + (start % PAGES)) * PAGE_SIZE + start * 8;
      const loop: Statement = {
        kind: 'loop',
        form: start % 2 === 0 ? 1 : ENTERED_LATER,
        times,
        body: [...body, { kind: 'line', text: `addi ${moved}, ${moved}, ${step}` }],
      };
      return { kind: 'loop', form: 1, times: 1, body: [{ kind: 'line', text: `li ${moved}, ${at}` }, loop] };
    }),
);
const { statements, leafStatements } = fc.letrec<{
  statements: Statement[];
  leafStatements: Statement[];
}>((tie) => {
  const nest = (within: fc.Arbitrary<Statement[]>): readonly fc.WeightedArbitrary<Statement>[] => [
    {
      arbitrary: fc.record({
        kind: fc.constant('loop' as const),
        form: fc.integer({ min: 0, max: 3 }),
        times: fc.constantFrom(1, 3, 7, 20, 60, 200, 600),
        body: within,
      }),
      weight: 8,
    },
    {
      arbitrary: fc.record({
        kind: fc.constant('if' as const),
        condition,
        body: within,
        otherwise: fc.oneof(fc.constant([]), within),
      }),
      weight: 1.5,
    },
    {
      arbitrary: fc.record({
        kind: fc.constant('leave' as const),
        condition,
        to: fc.constantFrom('end' as const, 'next' as const, 'again' as const),
        level: fc.integer({ min: 0, max: 1 }),
      }),
      weight: 3,
    },
  ];
  const some = (list: readonly fc.WeightedArbitrary<Statement>[]): fc.Arbitrary<Statement[]> =>
    fc.array(fc.oneof({ depthSize: 'medium', withCrossShrink: true, maxDepth: 8 }, ...list), {
      minLength: 1,
      maxLength: 8,
    });
  // fast-check wants whole weights.
  const whole = (list: readonly fc.WeightedArbitrary<Statement>[]): readonly fc.WeightedArbitrary<Statement>[] =>
    list.map(({ arbitrary, weight }) => ({ arbitrary, weight: Math.round(10 * weight) }));
  return {
    statements: some(
      whole([
        ...plain,
        ...nest(tie('statements')),
        { arbitrary: even, weight: 8 },
        {
          arbitrary: fc.record({ kind: fc.constant('call' as const), leaf: fc.integer({ min: 0, max: 1 }) }),
          weight: 3,
        },
      ]),
    ),
    leafStatements: some(whole([...plain, ...nest(tie('leafStatements'))])),
  };
});

/** Assembly text of statements, with labels of their own. */
class Writer {
  #labels = 0;
  readonly #counters: readonly string[];
  readonly #prefix: string;
  readonly #mostRounds: number;
  readonly #scopes: { readonly label: string; readonly counter: string }[] = [];
  #rounds = 1;

  constructor(prefix: string, counters: readonly string[], mostRounds: number) {
    this.#prefix = prefix;
    this.#mostRounds = mostRounds;
    this.#counters = counters;
  }

  all(list: readonly Statement[]): string {
    return list.map((statement) => this.#one(statement)).join('\n');
  }

  #one(statement: Statement): string {
    const label = `${this.#prefix}${this.#labels++}`;
    switch (statement.kind) {
      case 'line':
        return statement.text;
      case 'call':
        return `jal ra, leaf${statement.leaf}`;
      case 'if':
        return `${statement.condition}, ${label}
        ${this.all(statement.body)}
        j ${label}_end
${label}: ${this.all(statement.otherwise)}
${label}_end:`;
      case 'leave': {
        const scope = this.#scopes.at(-1 - statement.level);
        if (!scope) return 'nop';
        if (statement.to === 'end') return `${statement.condition}, ${scope.label}_end`;
        if (statement.to === 'next') return `${statement.condition}, ${scope.label}_next`;
        // The loop's start has a second way back to it.
        return `${statement.condition}, ${label}
        addi ${scope.counter}, ${scope.counter}, -1
        bgtz ${scope.counter}, ${scope.label}
${label}:`;
      }
      case 'loop': {
        const counter = this.#counters[this.#scopes.length];
        if (counter === undefined) return this.all(statement.body);
        const times = Math.max(Math.min(statement.times, Math.floor(this.#mostRounds / this.#rounds)), 1);
        this.#rounds *= times;
        this.#scopes.push({ label, counter });
        const body = this.all(statement.body);
        this.#scopes.pop();
        this.#rounds /= times;
        const [begin, end] = [`li ${counter}, ${times}`, `${label}_next: addi ${counter}, ${counter}, -1`];
        if (statement.form === 0)
          return `${begin}
${label}: blez ${counter}, ${label}_end
        ${body}
${end}
        j ${label}
${label}_end:`;
        // The first round begins behind what later ones begin with.
        if (statement.form === ENTERED_LATER)
          return `${begin}
        j ${label}_first
${label}: mv t0, t1
        mv t1, t2
        sext.w t2, a5
${label}_first: ${body}
${end}
        bgtz ${counter}, ${label}
${label}_end:`;
        return `${begin}
${label}: ${body}
${end}
        bgtz ${counter}, ${label}
${label}_end:`;
      }
    }
  }
}

/** What memory holds at first: addresses, floats, numbers. */
function valueAt(index: number): bigint {
  if (index % 3 === 0 || index < AREA / 16) return BigInt(FIRST_PAGE * PAGE_SIZE + ((index * 56) % AREA));
  return index % 7 === 0 ? (BITS[index % BITS.length] ?? 0n) : BigInt(index * 0x9e37_79b9);
}

interface Program {
  readonly body: readonly Statement[];
  readonly leaves: readonly (readonly Statement[])[];
  readonly starts: readonly number[];
  readonly steps: readonly number[];
  readonly values: readonly bigint[];
  readonly inexact: boolean;
  /** Whether A and D are set by hardware (Svadu). */
  readonly updates: boolean;
  /** Of each page: which physical one, and the flags of its entry. */
  readonly pages: readonly (readonly [number, number])[];
  readonly slice: number;
  readonly more: number;
}
const { V, R, W, A, D, G } = PTE;
const programs: fc.Arbitrary<Program> = fc.record({
  body: fc
    .tuple(
      statements,
      fc.array(
        fc.record({
          kind: fc.constant('loop' as const),
          form: fc.integer({ min: 0, max: 3 }),
          times: fc.constantFrom(60, 200, 600),
          body: statements,
        }),
        { minLength: 1, maxLength: 3 },
      ),
    )
    .map(([first, loops]): Statement[] => [...first, ...loops]),
  leaves: fc.tuple(leafStatements, leafStatements),
  starts: fc.tuple(address, address, address),
  steps: fc.tuple(...STEPS.map(() => fc.constantFrom(0, 1, 4, 8, 8, 24, 300, 2048, 5000, -8))),
  values: fc.tuple(...[...TEMPS, ...FLOATS].map(() => fc.constantFrom(...BITS))),
  inexact: fc.boolean(),
  updates: fc.boolean(),
  pages: fc.tuple(
    ...Array.from({ length: PAGES }, () =>
      fc.tuple(
        fc.integer({ min: 0, max: PAGES - 1 + UNTOUCHED }),
        fc.constantFrom(
          V | R | W | A | D,
          V | R | W | A | D,
          V | R | W | A | D | G,
          V | R | W,
          V | R | W | A,
          V | R | W | A,
          V | R | A,
          0,
        ),
      ),
    ),
  ),
  slice: fc.constantFrom(50, 333, 5000),
  more: fc.constantFrom(0, 700, 20_000),
});

function textOf({ body, leaves, starts, steps, values, inexact, updates }: Program): string {
  return `
        la t0, trapped
        csrw mtvec, t0
        li t0, ${(8n << 60n) | (1n << 44n) | BigInt(TABLES / PAGE_SIZE)}
        csrw satp, t0
        li t0, -1
        csrw pmpaddr0, t0
        li t0, 0x1f
        csrw pmpcfg0, t0
        li t0, 0x1800
        csrc mstatus, t0
        li t0, 0x6800
        csrs mstatus, t0
        li t0, ${updates ? 1n << 61n : 0n}
        csrw menvcfg, t0
        csrwi fflags, ${inexact ? 1 : 0}
        la t0, start
        csrw mepc, t0
        ${BASES.map((name, index) => `li ${name}, ${starts[index]}\n li ${STEPS[index]}, ${steps[index]}`).join('\n')}
        ${FLOATS.map((name, index) => `li t1, ${values[TEMPS.length + index]}\n fmv.d.x ${name}, t1`).join('\n')}
        ${TEMPS.map((name, index) => `li ${name}, ${values[index]}`).join('\n')}
        li s11, 0
        mret
start:  ${new Writer('l', COUNTERS, MOST_ROUNDS).all(body)}
        ecall
leaf0:  ${new Writer('f', LEAF_COUNTERS, MOST_LEAF_ROUNDS).all(leaves[0] ?? [])}
        ret
leaf1:  ${new Writer('g', LEAF_COUNTERS, MOST_LEAF_ROUNDS).all(leaves[1] ?? [])}
        ret
        .align 2
trapped: csrr s8, mcause
        csrr s9, mtval
        addi s11, s11, 1
        li s10, ${MOST_TRAPS}
        bgeu s11, s10, over
        addi s8, s8, -9
        beqz s8, over
        csrr s9, mepc
        addi s9, s9, 4
        csrw mepc, s9
        mret
over:   wfi
        j over`;
}

const KINDS = TIERS.filter((tier) => tier !== 'interpreter').flatMap((tier) =>
  [1, 2].map((harts) => ({ tier, harts })),
);

describe.each(KINDS)('loops within loops on the $tier for $harts hart(s)', ({ tier, harts }) => {
  test('leave what they leave when they are interpreted: registers, flags, memory, page tables and counts', async () => {
    let more = 0;
    const subjectOptions = { harts, moreTime: () => more };
    let [subject, reference] = [await Rig.of(tier, '', subjectOptions), await Rig.of('interpreter', '')];
    let at = 0;
    let [compiled, retired] = [0n, 0n];
    const words = (rig: Rig, from: number, bytes: number): string =>
      Array.from({ length: bytes / 8 }, (_, index) => rig.load(from + 8 * index)).join();
    const everything = (rig: Rig): unknown => [
      Array.from({ length: 32 }, (_, number) => rig.hart.x(number)),
      Array.from({ length: 32 }, (_, number) => rig.hart.f(number)),
      rig.hart.get32('fflags'),
      rig.hart.get64('retired'),
      Array.from({ length: PAGES }, (_, page) => rig.load(TABLES + 2 * PAGE_SIZE + 8 * (FIRST_PAGE + page))),
      words(rig, DATA, AREA),
      words(rig, at + UNTOUCHED_AT, UNTOUCHED * PAGE_SIZE),
    ];
    /** Whether the program came to its end. */
    const run = (rig: Rig, program: Program, most: bigint): boolean => {
      rig.place(at, textOf(program));
      for (const [page, [physical, flags]] of program.pages.entries())
        rig.map(
          FIRST_PAGE + page,
          physical < PAGES ? DATA + physical * PAGE_SIZE : at + UNTOUCHED_AT + (physical - PAGES) * PAGE_SIZE,
          flags,
        );
      for (let index = 0; index < AREA / 8; index++) rig.store(DATA + 8 * index, valueAt(index));
      rig.hart.reset(BigInt(at));
      while (rig.hart.get64('retired') < most) if (rig.engine.run(rig.hart, program.slice) === EXIT.WAIT) return true;
      return false;
    };
    await fc.assert(
      fc.asyncProperty(programs, async (program) => {
        // Nothing may be put where something ran.
        at += 4 * PAGE_SIZE;
        if (at < RAM + 0x4_0000 || at > RAM + 0x3f_0000) {
          [subject, reference] = [await Rig.of(tier, '', subjectOptions), await Rig.of('interpreter', '')];
          at = RAM + 0x4_0000;
        }
        ({ more } = program);
        if (!run(subject, program, MOST_INSTRUCTIONS)) return;
        compiled += subject.hart.get64('compiled');
        retired += subject.hart.get64('retired');
        expect(run(reference, program, 2n * MOST_INSTRUCTIONS)).toBe(true);
        expect(everything(subject)).toEqual(everything(reference));
        expect(subject.engine.compiled['jit.failed']).toBe(0);
      }),
      { numRuns: RUNS },
    );
    // A share, since how long the programs are is left to chance: a tenth as a rule, and a little less at times.
    expect(compiled).toBeGreaterThan(retired / 20n);
  });
});
