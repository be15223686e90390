/**
 * A function of a hot program: a frame, and random statements between. Control flow is structured by construction (loops have counters of
 * their own, calls go down or recurse with a depth of their own), so every program ends, and how often each instruction is executed at most
 * is known while it is placed.
 *
 *     x1   link; saved in the frame        x8, x15  pointers into scratch memory with room on both sides
 *     x2   stack                           x24      pointer to a risk
 *     x3   middle of scratch memory        x27      depth of the recursion
 *     x4   cells                           x9, x18 to x23  counters of loops, saved by whoever uses them
 *
 * The other integer registers and all float registers hold anything, across calls too.
 */

import { assert } from '../../../src/base/assert.ts';
import type { Random } from '../../../src/engine/float/testing/vectors.ts';
import type { Instruction } from '../../../src/isa/instruction.ts';
import { type CodeBuilder, type Label, addressOf } from '../code-builder.ts';
import { randomWord } from '../operands.ts';
import { Sequence, named, range } from '../sequence.ts';
import type { Cells } from './cells.ts';

export const LINK = 1;
export const STACK_POINTER = 2;
export const SCRATCH_REGISTER = 3;
export const CELL_REGISTER = 4;
export const OTHER_LINK = 5;
export const POINTERS: readonly number[] = [8, 15];
export const RISK_POINTER = 24;
export const DEPTH = 27;
const COUNTERS: readonly number[] = [9, 18, 19, 20, 21, 22, 23];
const RESERVED = new Set([0, 2, 3, 4, 8, 15, 24, 27, ...COUNTERS]);

/** Bytes at the bottom of a frame that statements use as they like. */
export const LOCALS_BYTES = 64;
const FRAME_BYTES = 240;

/** How a function is called, and what it needs of its caller. */
export type Callable =
  /** By x1. */
  | 'plain'
  /** By x1; returns to the instruction behind the next one at times, which has four bytes. */
  | 'skipping'
  /** By x5, without a frame. */
  | 'millicode'
  /** By x1; counts x27 down. */
  | 'recursive';

interface Cost {
  /** Instructions of one call, at most. */
  readonly cost: number;
  /** Traps of one call, at most. */
  readonly traps: number;
}

export interface Callee extends Cost {
  readonly label: Label;
  readonly callable: Callable;
  /** It, or what it calls, writes x27. */
  readonly usesDepth: boolean;
  /** How deep a recursive one may be told to go. */
  readonly depth?: number;
}

/** A function that needs nothing nearby, at a virtual address: in a page at risk or a window. */
export interface Remote extends Cost {
  readonly address: bigint;
  /** Number of the window that shows it. */
  readonly window?: number;
}

/** An instruction that is one of two, `difference` apart. */
export interface Changeable {
  readonly label: Label;
  readonly difference: number;
}

export type Level = 'machine' | 'supervisor' | 'user';

/** What all functions of a program share. */
export interface World {
  readonly random: Random;
  readonly code: CodeBuilder;
  readonly used: Map<string, number>;
  readonly cells: Cells;
  readonly level: Level;
  /**
   * Only our own tiers are compared: a store to code is seen at once, by its own next instruction, and instret is exact. Otherwise fence.i
   * comes between, and nothing counts.
   */
  readonly isStrict: boolean;
  /** Timer interrupts come at any moment. */
  readonly hasInterrupts: boolean;
  readonly callees: Callee[];
  readonly remote: Remote[];
  readonly changeable: Changeable[];
  /** Offsets of the cells that hold where a throw goes: stack pointer and address. */
  readonly catcher: { readonly stack: number; readonly address: number };
  /** Offset of the cell with what to XOR into satp. */
  readonly otherSpace: number;
}

/** A loop that is being placed, or something that no jump may leave. */
interface Scope {
  readonly end: Label;
  readonly next: Label;
}

/** Chooses and places a statement. */
export type Placer = (f: HotFunction) => void;

export interface Limits {
  /** No instruction is executed more often. */
  readonly weight: number;
  /** Instructions of one call. */
  readonly cost: number;
  readonly traps: number;
}

export interface Shape {
  readonly isFramed: boolean;
  readonly isCatcher: boolean;
  readonly isRecursing: boolean;
}

export class HotFunction extends Sequence {
  readonly world: World;
  readonly limits: Limits;
  /** Traps of one call so far, at most. */
  traps = 0;
  /** Has a frame, so x1 may be written and calls are possible. */
  readonly isFramed: boolean;
  /** May catch what is thrown: all counters are saved. */
  readonly isCatcher: boolean;
  /** Counts its own depth: calls nobody who does so too. */
  readonly isRecursing: boolean;
  readonly #counters: readonly number[];
  readonly #busy: number[] = [];
  readonly #scopes: (Scope | undefined)[] = [];
  readonly #statement: Placer;
  /** Between prologue and epilogue: the links are saved, or nobody's. */
  #hasFrame = false;
  #slots = 0;
  #allowed: number;
  /** Registers that a statement holds on to. */
  readonly #held: number[] = [];
  #depth = 0;

  constructor(world: World, limits: Limits, statement: Placer, shape: Shape) {
    super(world.random, world.code, world.used);
    this.world = world;
    this.limits = limits;
    this.#allowed = limits.cost;
    this.isFramed = shape.isFramed;
    this.isCatcher = shape.isCatcher;
    this.isRecursing = shape.isRecursing;
    this.#statement = statement;
    const count = shape.isCatcher ? COUNTERS.length : shape.isFramed ? 1 + this.random.below(4) : 0;
    this.#counters = COUNTERS.slice(0, count);
  }

  get writable(): number[] {
    return range(1, 32).filter(
      (register) =>
        !RESERVED.has(register) &&
        !this.#held.includes(register) &&
        (this.#hasFrame || (register !== LINK && register !== OTHER_LINK)),
    );
  }

  /** Statements nested in statements. */
  get nesting(): number {
    return this.#depth;
  }

  get freeCounter(): number | undefined {
    const free = this.#counters.filter((register) => !this.#busy.includes(register));
    return free.length === 0 ? undefined : this.random.pick(free);
  }

  /** Counters of the loops around what is placed now. */
  get busyCounters(): readonly number[] {
    return this.#busy;
  }

  prologue(): void {
    if (!this.isFramed) return;
    this.emit('addi', { rd: STACK_POINTER, rs1: STACK_POINTER, imm: -FRAME_BYTES });
    for (const [register, offset] of this.#saved()) this.#save(register, offset);
    this.#hasFrame = true;
  }

  /** Takes the frame down; what follows is a return or a jump to another function. */
  epilogue(): void {
    if (!this.isFramed) return;
    this.#hasFrame = false;
    for (const [register, offset] of this.#saved()) this.#restore(register, offset);
    this.emit('addi', { rd: STACK_POINTER, rs1: STACK_POINTER, imm: FRAME_BYTES });
  }

  /** An offset in the frame for this function's statement alone. */
  slot(): number {
    const offset = LOCALS_BYTES + 8 * this.#slots++;
    assert(offset < FRAME_BYTES - 80, 'a frame has room for the slots of its statements');
    return offset;
  }

  /** Room for so many more slots. */
  hasSlots(count: number): boolean {
    return LOCALS_BYTES + 8 * (this.#slots + count) <= FRAME_BYTES - 80;
  }

  /** A random statement, or several. */
  statements(count: number): void {
    for (let n = 0; n < count; n++) this.#statement(this);
  }

  /** What `work` places is nested: of its own items, executed `times` as often. */
  nested(times: number, work: () => void): void {
    this.within(undefined, () => {
      this.#depth++;
      this.weight *= times;
      work();
      this.weight /= times;
      this.#depth--;
    });
  }

  /** A loop around what `work` places, with `counter` for its own. */
  looping(counter: number, times: number, scope: Scope, work: () => void): void {
    this.#busy.push(counter);
    this.#scopes.push(scope);
    this.nested(times, work);
    this.#scopes.pop();
    this.#busy.pop();
  }

  /** No jump leaves what `work` places. */
  enclosed(work: () => void): void {
    this.#scopes.push(undefined);
    this.nested(1, work);
    this.#scopes.pop();
  }

  /** Loops that may be left or continued from here, the innermost last. */
  get scopes(): readonly Scope[] {
    const barrier = this.#scopes.lastIndexOf(undefined);
    return this.#scopes.slice(barrier + 1).filter((scope) => scope !== undefined);
  }

  /** A register for `work`, which nothing in it writes otherwise. */
  holding(work: (register: number) => void): void {
    const register = this.someWritable();
    this.#held.push(register);
    work(register);
    this.#held.pop();
  }

  /** Instructions that may be executed from now on, until this says something else. */
  allow(cost: number): void {
    this.#allowed = Math.min(this.executed + cost, this.limits.cost);
  }

  /** Whether so many more instructions for each execution of what is placed now are within the limits. */
  affords(cost: number, traps = 0): boolean {
    return this.executed + cost * this.weight <= this.#allowed && this.traps + traps * this.weight <= this.limits.traps;
  }

  /** Counts what a call executes elsewhere. */
  charge(cost: number, traps: number): void {
    this.executed += cost * this.weight;
    this.traps += traps * this.weight;
  }

  /** A random word of `entry` is placed; nothing when there is none with these registers. */
  placeRandom(entry: Instruction, fixed: Readonly<Record<string, number>> = {}, ...untouched: number[]): boolean {
    const writable = this.writable.filter((register) => !untouched.includes(register));
    const word = randomWord({ random: this.random, writable }, entry, fixed);
    if (word === undefined) return false;
    this.placeEntry(entry, word);
    return true;
  }

  loadCell(register: number, offset: number): void {
    this.emit('ld', { rd: register, rs1: CELL_REGISTER, imm: offset });
  }

  storeCell(register: number, offset: number): void {
    this.emit('sd', { rs1: CELL_REGISTER, rs2: register, imm: offset });
  }

  jump(target: Label, link = 0): void {
    this.emit('jal', (address) => ({ rd: link, imm: addressOf(target) - address }));
  }

  /** A branch over operands as they come. */
  branch(target: Label, names: readonly string[] = BRANCHES): void {
    const entry = named(this.random.pick(names));
    const word = randomWord({ random: this.random, writable: this.writable }, entry, { imm: 4 });
    assert(word !== undefined, 'a branch has operands');
    this.placeToward(entry, word, target);
  }

  #saved(): (readonly [number, number])[] {
    return [LINK, ...this.#counters, ...(this.isCatcher ? [DEPTH] : [])].map(
      (register, index) => [register, FRAME_BYTES - 8 - 8 * index] as const,
    );
  }

  #save(register: number, offset: number): void {
    if (this.random.below(2) === 0) this.emit('c.sdsp', { rs2: register, uimm: offset });
    else this.emit('sd', { rs1: STACK_POINTER, rs2: register, imm: offset });
  }

  #restore(register: number, offset: number): void {
    if (this.random.below(2) === 0) this.emit('c.ldsp', { rd: register, uimm: offset });
    else this.emit('ld', { rd: register, rs1: STACK_POINTER, imm: offset });
  }
}

export const BRANCHES: readonly string[] = ['beq', 'bne', 'blt', 'bge', 'bltu', 'bgeu', 'c.beqz', 'c.bnez'];
