/**
 * A whole hot program: functions that call each other, loops within loops, and one function at the top that runs until it has done enough.
 * Its parts turn hundreds to thousands of times, so a tier that counts heat compiles them.
 *
 *     code   page 0 to 3  functions across pages that come and go       main
 *            then         pages that windows show in turn               functions, each calling those before it
 */

import { defined } from '../../../src/base/assert.ts';
import { Random } from '../../../src/engine/float/testing/vectors.ts';
import { CodeBuilder, addressOf } from '../code-builder.ts';
import { PAGE } from '../page-tables.ts';
import {
  CODE,
  CODE_END,
  CONSTANTS,
  CONSTANT_COUNT,
  DUMP_WORD,
  LOG,
  RUNTIME,
  SCRATCH,
  SCRATCH_BYTES,
} from '../places.ts';
import type { Program, Segment } from '../program.ts';
import { interestingBytes, interestingValue } from '../values.ts';
import { addressSpaces } from './address-spaces.ts';
import { calls, giveBack, tailCall } from './calls.ts';
import { Cells } from './cells.ts';
import { codeChanges } from './code-changes.ts';
import { control } from './control.ts';
import {
  type Callable,
  DEPTH,
  HotFunction,
  LINK,
  type Level,
  type Limits,
  type Shape,
  type World,
} from './function.ts';
import {
  CELL_POINTER,
  CODE_RISKS,
  CODE_WINDOWS,
  CODE_WINDOW_VA,
  DATA_WINDOWS,
  FINISH_WORD,
  FOREIGN_DATA,
  INITIAL_F,
  INITIAL_X,
  RISK_VA,
  SHARED,
  SHARED_CELLS,
  STACK_END,
  WINDOW_DATA,
  WINDOW_DATA_PAGES,
  WINDOW_STRIDE,
} from './layout.ts';
import { memory } from './memory.ts';
import { numbers } from './numbers.ts';
import { privileged } from './privileged.ts';
import { hotRuntime } from './runtime.ts';
import { choosing } from './statement.ts';

const everything = [...numbers, ...control, ...memory, ...calls, ...codeChanges, ...privileged];
const anything = choosing(everything);
/** For code that runs at an address that is not its own. */
const unbound = choosing(everything.filter(({ isBound }) => isBound !== true));

/** Pages before the ordinary functions. */
const SPECIAL_PAGES = CODE_RISKS + 2 * CODE_WINDOWS;
/** A function in a page of a window, and one across two pages, begins here. */
const WINDOW_ENTRY = 0x100;
const RISK_ENTRY = 0xfb0;
/** Room that is left at the end of the code for the statement under construction. */
const MARGIN = 0x1_0000;

/** Functions from the bottom up: what one call of each may cost. */
const FUNCTIONS: readonly Limits[] = [
  ...Array.from({ length: 5 }, () => ({ weight: 20, cost: 300, traps: 0 })),
  ...Array.from({ length: 4 }, () => ({ weight: 200, cost: 4000, traps: 20 })),
  ...Array.from({ length: 4 }, () => ({ weight: 600, cost: 40_000, traps: 200 })),
];
const RECURSIVE: Limits = { weight: 10, cost: 150, traps: 0 };
const REMOTE: Limits = { weight: 10, cost: 200, traps: 1 };
/** A function at risk faults in both its pages at most, and again when its data took one away. */
const RISK_TRAPS = 4;
const DEEPEST_RECURSION = 300;
const DEEPEST_BRANCHING = 6;
const MOST_TRAPS = 8000;
/** No statement of main has more than its share of the instructions. */
const LEAST_STATEMENTS = 10;

const XLEN_STATUS = {
  FS: 0x6000n,
  MPIE: 0x80n,
  SIE: 2n,
  MPP: { machine: 0x1800n, supervisor: 0x800n, user: 0n },
} as const;
const MIE = { SSIE: 2, MTIE: 0x80 } as const;

export interface HotProgramSize {
  /** Instructions that main executes, with what it calls, about. */
  readonly instructions: number;
}

export function hotProgram(seed: number, isStrict: boolean, size: HotProgramSize): Program {
  const random = new Random(seed);
  const level = random.pick<Level>(['machine', 'supervisor', 'user']);
  const hasInterrupts = random.below(isStrict ? 2 : 4) > 0;
  const code = new CodeBuilder(CODE);
  const cells = new Cells();
  const zero = (): bigint => 0n;
  const catcher = { stack: cells.add(zero), address: cells.add(zero) };
  const spaces: { satp: readonly [bigint, bigint] } = { satp: [0n, 0n] };
  const otherSpace = cells.add(() => spaces.satp[0] ^ spaces.satp[1]);
  const used = new Map<string, number>();
  const world: World = {
    random,
    code,
    used,
    cells,
    level,
    isStrict,
    hasInterrupts,
    callees: [],
    remote: [],
    changeable: [],
    catcher,
    otherSpace,
  };

  if (level !== 'machine') placeRemote(world);
  code.moveTo(CODE + PAGE * SPECIAL_PAGES);
  for (const limits of FUNCTIONS) placeFunction(world, limits);
  const main = placeMain(world, size.instructions);

  const bytes = code.bytes();
  const pages = pageOrder(random, level, Math.ceil(bytes.length / PAGE));
  const physical = (address: number): number =>
    defined(pages[Math.floor((address - CODE) / PAGE)], 'a page of code') + (address % PAGE);
  const windows = Array.from({ length: CODE_WINDOWS }, (_, n) => {
    const page = (number: number): number => defined(pages[number], 'a page of code');
    return [page(CODE_RISKS + 2 * n), page(CODE_RISKS + 2 * n + 1)] as const;
  });
  const space = addressSpaces(random, level === 'machine' ? 'supervisor' : level, { physical: pages, windows });
  spaces.satp = space.satp;

  const shared = new Shared();
  shared.put('logPointer', LOG);
  shared.put('chance', random.bits64());
  shared.put('medeleg', level === 'machine' ? 0 : random.bits32() & 0xb3ff);
  shared.put('mie', hasInterrupts ? MIE.MTIE | MIE.SSIE : 0);
  shared.put('satp', space.satp[0]);
  shared.put('otherSpace', space.satp[0] ^ space.satp[1]);
  shared.put('status', XLEN_STATUS.FS | XLEN_STATUS.MPIE | XLEN_STATUS.SIE | XLEN_STATUS.MPP[level]);
  shared.put('entry', main.entry);
  if (level !== 'machine') {
    for (const [n, { entry, other }] of space.windows.entries()) {
      shared.put('windows', entry, 2 * n);
      shared.put('windows', other, 2 * n + 1);
    }
    for (const [n, { entries, repaired, broken }] of space.risks.entries())
      for (const [cell, value] of [...entries, repaired, broken].entries()) shared.put('risks', value, 4 * n + cell);
  }

  return {
    kind: isStrict ? 'strict' : 'hot',
    seed,
    segments: [
      { address: RUNTIME, bytes: hotRuntime.bytes },
      shared.segment,
      { address: INITIAL_X, bytes: initialX(random) },
      { address: INITIAL_F, bytes: interestingBytes(random, 32) },
      { address: CONSTANTS, bytes: interestingBytes(random, CONSTANT_COUNT) },
      { address: SCRATCH, bytes: interestingBytes(random, SCRATCH_BYTES / 8) },
      cells.segment,
      { address: WINDOW_DATA, bytes: interestingBytes(random, (WINDOW_DATA_PAGES * PAGE) / 8) },
      { address: FOREIGN_DATA, bytes: interestingBytes(random, PAGE / 8) },
      ...pages.map((page, number) => ({ address: page, bytes: bytes.subarray(PAGE * number, PAGE * (number + 1)) })),
      space.segment,
    ],
    items: code.items,
    physical,
    cells: [],
    instructions: main.executed,
    used,
  };
}

/** Physical pages of the code: in M-mode as they are, elsewhere shuffled. */
function pageOrder(random: Random, level: Level, count: number): number[] {
  const pages = Array.from({ length: count }, (_, number) => CODE + PAGE * number);
  if (level === 'machine') return pages;
  for (let n = count - 1; n > 0; n--) {
    const other = random.below(n + 1);
    [pages[n], pages[other]] = [pages[other] as number, pages[n] as number];
  }
  return pages;
}

/** Functions that run elsewhere than where they lie: across pages at risk, and two of each in the pages of a window. */
function placeRemote(world: World): void {
  const { code, random } = world;
  const place = (): HotFunction => {
    const f = new HotFunction(world, REMOTE, unbound, shapeOf(random.below(2) === 0, false));
    f.prologue();
    f.statements(3 + random.below(5));
    f.epilogue();
    giveBack(f, 'plain');
    return f;
  };
  for (let n = 0; n < CODE_RISKS - 1; n++) {
    const start = PAGE * n + RISK_ENTRY + 2 * random.below(16);
    code.moveTo(CODE + start);
    const { executed, traps } = place();
    world.remote.push({ address: RISK_VA + BigInt(start), cost: executed, traps: traps + RISK_TRAPS });
  }
  for (let n = 0; n < CODE_WINDOWS; n++) {
    const pair = [0, 1].map((page) => {
      code.moveTo(CODE + PAGE * (CODE_RISKS + 2 * n + page) + WINDOW_ENTRY);
      return place();
    });
    world.remote.push({
      window: DATA_WINDOWS + n,
      address: CODE_WINDOW_VA + WINDOW_STRIDE * BigInt(n) + BigInt(WINDOW_ENTRY),
      cost: Math.max(...pair.map(({ executed }) => executed)),
      traps: Math.max(...pair.map(({ traps }) => traps)),
    });
  }
}

const shapeOf = (isFramed: boolean, isCatcher: boolean, isRecursing = false): Shape => ({
  isFramed,
  isCatcher,
  isRecursing,
});

function placeFunction(world: World, limits: Limits): void {
  const { code, random } = world;
  // Some begin before a page's end, so that loops and instructions of all kinds cross it.
  if (random.below(3) === 0) code.moveTo(Math.ceil(code.address / PAGE) * PAGE + PAGE - 2 * (1 + random.below(40)));
  const isLeaf = world.callees.length < 2;
  const callable = random.pick<Callable>(
    isLeaf ? ['plain', 'millicode'] : ['plain', 'plain', 'plain', 'skipping', 'recursive', 'millicode'],
  );
  const label = code.label();
  code.place(label);
  if (callable === 'recursive') {
    placeRecursive(world, label);
    return;
  }
  const isFramed = callable !== 'millicode' && (!isLeaf || random.below(2) === 0);
  const f = new HotFunction(world, limits, anything, shapeOf(isFramed, isFramed && random.below(3) === 0));
  f.prologue();
  do f.statements(1 + random.below(3));
  while (f.executed < limits.cost / 3 && random.below(12) > 0);
  if (callable !== 'plain' || !isFramed || random.below(4) > 0 || !tailCall(f)) {
    f.epilogue();
    giveBack(f, callable);
  }
  world.callees.push({
    label,
    callable,
    cost: f.executed,
    traps: f.traps,
    usesDepth: world.callees.some(({ usesDepth }) => usesDepth),
  });
}

/** Calls itself once or twice, one level less deep. */
function placeRecursive(world: World, label: ReturnType<CodeBuilder['label']>): void {
  const { code, random } = world;
  const f = new HotFunction(world, RECURSIVE, anything, shapeOf(true, false, true));
  const isBranching = random.below(3) === 0;
  const out = code.label();
  f.prologue();
  f.statements(2);
  f.grouped(() => {
    f.emit('bne', { rs1: DEPTH, rs2: 0, imm: 8 });
    f.jump(out);
    f.emit('addi', { rd: DEPTH, rs1: DEPTH, imm: -1 });
    for (let n = isBranching ? 2 : 1; n > 0; n--) {
      f.jump(label, LINK);
      f.nested(1, () => f.statements(1));
    }
    f.emit('addi', { rd: DEPTH, rs1: DEPTH, imm: 1 });
    code.place(out);
  });
  f.statements(1);
  f.epilogue();
  giveBack(f, 'recursive');
  const depth = isBranching ? DEEPEST_BRANCHING : DEEPEST_RECURSION;
  const times = isBranching ? 2 ** (depth + 1) - 1 : depth + 1;
  world.callees.push({
    label,
    callable: 'recursive',
    cost: f.executed * times,
    traps: f.traps * times,
    usesDepth: true,
    depth,
  });
}

function placeMain(world: World, instructions: number): { readonly entry: number; readonly executed: number } {
  const { code } = world;
  const label = code.label();
  code.place(label);
  const f = new HotFunction(
    world,
    { weight: 4000, cost: 2 * instructions, traps: MOST_TRAPS },
    anything,
    shapeOf(true, true),
  );
  f.prologue();
  while (f.executed < instructions && code.address < CODE_END - MARGIN) {
    f.allow(instructions / LEAST_STATEMENTS);
    f.statements(1);
    code.add(undefined, { word: DUMP_WORD, size: 4 });
  }
  code.add(undefined, { word: FINISH_WORD, size: 4 });
  return { entry: addressOf(label), executed: f.executed };
}

function initialX(random: Random): Uint8Array {
  const values = BigUint64Array.from({ length: 32 }, () => interestingValue(random));
  const middle = BigInt(SCRATCH + SCRATCH_BYTES / 2);
  values[2] = BigInt(STACK_END - 1024);
  values[3] = middle;
  values[4] = BigInt(CELL_POINTER);
  values[8] = middle - 0x1000n;
  values[15] = middle + 0x800n;
  values[24] = RISK_VA + BigInt(CODE_RISKS * PAGE);
  values[27] = 0n;
  return new Uint8Array(values.buffer);
}

/** What the runtime is told. */
class Shared {
  readonly #bytes = new Uint8Array(INITIAL_X - SHARED);
  readonly #view = new DataView(this.#bytes.buffer);

  put(cell: keyof typeof SHARED_CELLS, value: bigint | number, index = 0): void {
    this.#view.setBigUint64(SHARED_CELLS[cell] + 8 * index, BigInt.asUintN(64, BigInt(value)), true);
  }

  get segment(): Segment {
    return { address: SHARED, bytes: this.#bytes };
  }
}
