/**
 * One region as one WebAssembly function (hart, pc, count, depth) -> (count, pc), or (-1, 0) when the way out has put everything into the
 * hart's state.
 *
 *     prologue   is there time left? registers that are live, loaded into locals
 *     block      instructions, each inline ─── bail ──> registers stored; out: the interpreter does this one and goes on
 *       │
 *       ├─ to another block: a branch within the function; back to a loop's start: is somebody waiting?
 *       ├─ call: registers stored, the callee called through the table as a WebAssembly function; when it comes back to the right place,
 *       │        registers loaded again; else everybody on the way returns (-1, 0) and the interpreter's loop goes on at hart.pc
 *       ├─ return: registers stored; gives (count, return address) to whoever called
 *       └─ elsewhere: registers stored, a tail call of what is compiled there, or of what leaves to the interpreter
 *
 * Every way out stores the registers that may be dirty. The ways out of one block share a chain: entered where as many registers as were
 * dirty at that point are stored, it runs through the rest and on into the chain of the block before.
 */

import { assert, defined } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { MSTATUS } from '../../isa/csrs.ts';
import type { Body, Label, Local } from '../../wasm/body.ts';
import { type I32, type I64, i32, select } from '../../wasm/expression.ts';
import type { FunctionRef, FunctionType } from '../../wasm/module.ts';
import { hartBase } from '../layout.ts';
import { shapeOf } from '../shape.ts';
import { get32, get64, put32, put64 } from '../state.ts';
import { type AccessGroup, groupAccesses } from './access-group.ts';
import { evenLoop } from './even-loop.ts';
import { HeldRegisters } from './held-registers.ts';
import { type Fetching, type JumpTarget, isCodeMapped, jumpTarget } from './jump-target.ts';
import { type Bounded, type QuickLoop, copiesOf, countRounds, hostsIn } from './quick-rounds.ts';
import { type FloatNeeds, floatNeeds, usesFloat } from './inline.ts';
import { type EmitterParts, type Knowledge, OpEmitter, nothingKnown } from './op-emitter.ts';
import type { Block, Op, Region, Target } from './region.ts';
import {
  type Flow,
  NONE,
  type RegisterSet,
  flowOf,
  freshlyDirty,
  has,
  isWrittenAgain,
  registersOf,
  sameRegister,
  union,
  usedIn,
  usesOf,
  without,
} from './registers.ts';
import { type Structure, structureOf } from './structure.ts';

/** Compiled calls within each other: bounded, because they are frames of the host's stack. Deeper ones leave. */
const MAX_DEPTH = 96;

/** Rounds of a loop before it is worth a look whether quick ones can follow, and from there to the next look. */
const ROUNDS_BEFORE_QUICK = 4;
const ROUNDS_BETWEEN_LOOKS = 8;

/** What all functions of a module share. */
export interface WriterParts extends EmitterParts {
  readonly regionType: FunctionType;
  /** See EngineHost. */
  readonly moreTime: FunctionRef<'i32'>;
}

/** Instructions that a hart among others executes at most before it looks whether somebody waits for it. */
const MOST_UNHEARD = 4096;

/** Where a region is. */
export interface RegionPlace {
  /** Offset of the entry in its page. */
  readonly entryOffset: number;
  /** Address of the heat page of the entry's page, or of a neighbour. */
  heatPage(page: number): number;
}

/** The state of writing at some point. */
interface Place {
  /** Instructions begun that `count` does not say yet. */
  readonly pending: number;
  readonly known: Knowledge;
  /** Stores all that may be dirty here, and returns. */
  readonly out: Label;
  /** Pages that are surely mapped where they were: nothing changes that while the function runs. */
  readonly pages: ReadonlySet<number>;
}

export function writeRegion(
  body: Body,
  parameters: readonly [Local<'i32'>, Local<'i64'>, Local<'i32'>, Local<'i32'>],
  parts: WriterParts,
  region: Region,
  place: RegionPlace,
): void {
  new RegionWriter(body, parameters, parts, region, place).write();
}

class RegionWriter {
  readonly #body: Body;
  readonly #parts: WriterParts;
  readonly #region: Region;
  readonly #place: RegionPlace;
  readonly #structure: Structure;
  readonly #flow: Flow;
  readonly #hart: I32;
  readonly #pc: I64;
  readonly #count: Local<'i32'>;
  readonly #depth: I32;
  /** Virtual address of the entry's page. */
  readonly #base: Local<'i64'>;
  readonly #context: Local<'i64'>;
  readonly #unaccrued: Local<'i32'>;
  /** Where `count` has to stop. Others may change it at any time, unless there are none (isAlone): then only what is called can. */
  readonly #limit: Local<'i32'>;
  readonly #floatNeeds: FloatNeeds;
  readonly #emitter: OpEmitter;
  /** Of the block that is being written. */
  #groups: ReadonlyMap<Op, AccessGroup> = new Map();
  readonly #held: HeldRegisters;
  readonly #loops = new Map<Block, Label>();
  readonly #merges = new Map<Block, Label>();
  readonly #evenLoops = new Map<Block, Bounded>();
  #quick: QuickLoop | undefined;
  #exit: Label | undefined;

  constructor(
    body: Body,
    [hart, pc, count, depth]: readonly [Local<'i32'>, Local<'i64'>, Local<'i32'>, Local<'i32'>],
    parts: WriterParts,
    region: Region,
    place: RegionPlace,
  ) {
    this.#body = body;
    this.#parts = parts;
    this.#region = region;
    this.#place = place;
    this.#structure = structureOf(region, (path) => {
      const loop = evenLoop(path);
      const [header] = path;
      if (loop && header) this.#evenLoops.set(header, { loop, bound: body.local('i32') });
      return loop !== undefined;
    });
    this.#flow = flowOf(this.#structure);
    // With one hart its state has one place.
    this.#hart = parts.isAlone ? i32(hartBase(0)) : hart.value;
    this.#pc = pc.value;
    this.#count = count;
    this.#depth = depth.value;
    this.#base = body.local('i64');
    this.#context = body.local('i64');
    this.#unaccrued = body.local('i32');
    this.#limit = body.local('i32');
    this.#floatNeeds = floatNeeds(region.blocks.flatMap(({ ops }) => ops.map(({ decoded }) => decoded)));
    this.#held = new HeldRegisters(body, this.#hart, usedIn(region));
    this.#emitter = new OpEmitter(body, this.#hart, parts, {
      registers: this.#held,
      base: this.#base.value,
      context: this.#context.value,
      unaccrued: this.#unaccrued,
      isAccrued: () => this.#quick?.isAccrued === true,
      groupOf: (op) => this.#groups.get(op),
      evenOf: (op) => {
        const even = this.#quick?.loop.accesses.get(op);
        const host = even && this.#quick?.hosts.get(even.base);
        return host && { host: host.host, offset: host.offset + even.offset };
      },
    });
  }

  write(): void {
    const body = this.#body;
    const { entry } = this.#region;
    body.set(this.#limit, get32(this.#hart, 'limit'));
    this.#unlessTimeIsOver(() => this.#decline());
    if (this.#floatNeeds !== 'none')
      body.if(
        this.#isFloatReady().eqz(),
        () => {
          put32(body, this.#hart, 'refused', 1);
          this.#decline();
        },
        undefined,
        false,
      );
    body.set(this.#base, this.#pc.sub(this.#place.entryOffset));
    this.#refresh();
    this.#held.load(this.#flow.liveIn(entry));
    body.block((exit) => {
      this.#exit = exit;
      this.#blockTree(entry, { pending: 0, known: nothingKnown(), out: exit, pages: new Set([0]) });
    });
    body.return(-1, 0n);
  }

  /** Back to the interpreter before anything was done. */
  #decline(): void {
    put64(this.#body, this.#hart, 'pc', this.#pc);
    put32(this.#body, this.#hart, 'count', this.#count.value);
    this.#body.return(-1, 0n);
  }

  /** Whether the float state is what the region needs. */
  #isFloatReady(): I32 {
    const state = get64(this.#hart, 'mstatus').and(MSTATUS.FS);
    if (this.#floatNeeds === 'on') return state.ne(0);
    return state.eq(MSTATUS.FS).and(get32(this.#hart, 'frm').eqz());
  }

  /** Loads what is kept of the hart's state, besides registers. */
  #refresh(): void {
    const body = this.#body;
    body.set(this.#context, get32(this.#hart, 'dataContext').toI64U());
    if (this.#floatNeeds === 'dirty') body.set(this.#unaccrued, body.getGlobal(this.#parts.floatFlags).and(1).sub(1));
  }

  /** The same, behind code that may have changed anything: translations, float state. Leaves to hart.pc if floats can't go on. */
  #refreshBehind(leave: () => void): void {
    this.#refresh();
    this.#body.set(this.#limit, get32(this.#hart, 'limit'));
    if (this.#floatNeeds !== 'none') this.#body.if(this.#isFloatReady().eqz(), leave, undefined, false);
  }

  /** The block with everything that it dominates. */
  #blockTree(block: Block, place: Place): void {
    const merges = this.#structure.mergesUnder(block);
    if (!this.#structure.isLoop(block)) {
      this.#within(block, merges, place);
      return;
    }
    const even = this.#evenLoops.get(block);
    if (even) this.#lookAfter(even, ROUNDS_BEFORE_QUICK);
    this.#body.loop((again) => {
      this.#loops.set(block, again);
      this.#within(block, merges, place);
    });
  }

  /** The block inside of the WebAssembly blocks behind which `merges` lie. */
  #within(block: Block, merges: readonly Block[], place: Place): void {
    const [last, ...rest] = merges;
    if (!last) {
      this.#blockItself(block, place);
      return;
    }
    this.#body.block((label) => {
      this.#merges.set(last, label);
      this.#within(block, rest, place);
    });
    // Several ways lead here: what is known on one of them is not known.
    this.#blockTree(last, {
      pending: 0,
      known: nothingKnown(),
      out: defined(this.#exit, 'the way out'),
      pages: new Set([0, last.page]),
    });
  }

  #blockItself(block: Block, place: Place): void {
    const body = this.#body;
    const { ops } = block;
    const exit = defined(this.#exit, 'the way out');
    const dirtyIn = this.#flow.dirtyIn(block);
    const hasOwnChain = this.#structure.isLoop(block) || this.#structure.isMerge(block);
    const known: Knowledge = hasOwnChain ? nothingKnown() : { narrow: new Set(place.known.narrow) };
    // The chain: its base stores what is dirty where the block begins, each further link one register more.
    const stored = without(this.#flow.stored(block), this.#quick?.late ?? NONE);
    const fresh = freshlyDirty(ops, dirtyIn, stored);
    const needsBase = hasOwnChain && (dirtyIn.x !== 0 || dirtyIn.f !== 0);
    const base = needsBase ? body.open() : hasOwnChain ? exit : place.out;
    const links = fresh.map(() => body.open());
    let linked = 0;
    let dirty = dirtyIn;
    const out = (): Label => (linked === 0 ? base : defined(links[linked - 1], 'a link'));

    // Ways back into a loop look at its own page at most.
    const pages = this.#structure.isLoop(block) ? new Set([0, block.page]) : place.pages;
    const mark = body.mark();
    let pending = hasOwnChain && !this.#quick?.copy ? 0 : place.pending;
    if (this.#structure.isLoop(block)) this.#beginRound(block, place, base);
    const isEven = (op: Op): boolean => this.#quick?.loop.accesses.has(op) === true;
    this.#groups = groupAccesses(body, ops, isEven);
    for (const [index, op] of ops.entries()) {
      pending++;
      const isLast = index === ops.length - 1;
      const { writes } = usesOf(op.decoded);
      if (!shapeOf(op.decoded.instruction).mayLeave || isEven(op)) {
        if (isLast) this.#plain(op, known);
        else this.#scoped(() => this.#plain(op, known));
      } else this.#scoped(() => this.#leaving(op, { pending, known, out: out(), pages }));
      const [register] = registersOf(writes);
      if (register === undefined) continue;
      if (has(stored, register)) {
        if (!isWrittenAgain(ops, index, register)) this.#held.storeOne(register);
        dirty = without(dirty, writes);
      } else if (!has(dirty, register)) {
        assert(sameRegister(fresh[linked], register), 'registers become dirty in the order of the chain');
        linked++;
        dirty = union(dirty, writes);
      }
    }
    this.#terminate(block, { pending, known, out: out(), pages }, dirty);
    body.release(mark);

    for (const register of fresh.toReversed()) {
      body.close();
      this.#held.storeOne(register);
    }
    if (needsBase) {
      if (fresh.length > 0) body.br(base);
      body.close();
      this.#held.store(dirtyIn);
      body.br(exit);
    } else if (fresh.length > 0) body.br(base);
  }

  #scoped(write: () => void): void {
    const mark = this.#body.mark();
    write();
    this.#body.release(mark);
  }

  /** An instruction that only computes. */
  #plain(op: Op, known: Knowledge): void {
    this.#emitter.begin(op, undefined, known);
    defined(op.decoded.instruction.meaning, op.decoded.instruction.name)(this.#emitter);
  }

  /** An instruction that may leave: inline, and where it bails out to the interpreter, which does this one and goes on. */
  #leaving(op: Op, { pending, known, out }: Place): void {
    const body = this.#body;
    body.block((done) => {
      body.block((bail) => {
        this.#emitter.begin(op, bail, known);
        defined(op.decoded.instruction.meaning, op.decoded.instruction.name)(this.#emitter);
        body.br(done);
      });
      // It must not come back here before it has done it.
      put32(body, this.#hart, 'refused', 1);
      this.#leave(op.offset, pending - 1, out);
    });
  }

  #terminate(block: Block, place: Place, dirty: RegisterSet): void {
    const body = this.#body;
    const { end } = block;
    const { pending } = place;
    switch (end.kind) {
      case 'next':
      case 'jump':
        this.#goto(block, end.to, place, dirty);
        return;
      case 'branch':
        body.if(
          defined(this.#emitter.condition, 'the condition of a branch'),
          () => this.#goto(block, end.taken, place, dirty),
          () => this.#goto(block, end.otherwise, place, dirty),
        );
        body.unreachable();
        return;
      case 'call':
        this.#call(block, end, place, dirty);
        return;
      case 'return':
        this.#held.store(dirty);
        body.return(this.#count.value.add(pending), defined(this.#emitter.target, 'where the return goes'));
        return;
      case 'indirect':
        this.#held.store(dirty);
        this.#tailCall(jumpTarget(this.#fetching, defined(this.#emitter.target, 'where the jump goes')), pending);
        return;
      case 'leave':
        this.#held.store(dirty);
        this.#leave(end.offset, pending, defined(this.#exit, 'the way out'));
        return;
    }
  }

  /** Out to the interpreter, at `offset`; `out` stores what has to be. */
  #leave(offset: number, pending: number, out: Label): void {
    put64(this.#body, this.#hart, 'pc', this.#base.value.add(offset));
    put32(this.#body, this.#hart, 'count', this.#count.value.add(pending));
    this.#body.br(out);
  }

  #goto(from: Block, target: Target, place: Place, dirty: RegisterSet): void {
    const body = this.#body;
    if (target.kind === 'outside') {
      this.#held.store(union(dirty, this.#quick?.late ?? NONE));
      this.#tailCall(this.#targetAt(target.offset, place), place.pending);
      return;
    }
    const { block } = target;
    const isSeen = place.pages.has(block.page);
    if (!isSeen) this.#guard(block, place);
    const isBack = this.#structure.position(block) <= this.#structure.position(from);
    const isLoop = this.#structure.isLoop(block);
    if (block === this.#quick?.header) {
      this.#endQuickRound(this.#quick, place, dirty);
      return;
    }
    // Elsewhere nobody reckons with these.
    if (this.#quick?.loop.path.includes(block) === false) {
      this.#held.store(this.#quick.late);
      this.#held.widen(this.#flow.liveIn(block));
    }
    if (!isBack && !this.#structure.isMerge(block) && !isLoop) {
      this.#blockTree(block, isSeen ? place : { ...place, pages: new Set([...place.pages, block.page]) });
      return;
    }
    this.#advance(place.pending);
    if (isLoop) this.#held.store(without(dirty, this.#flow.carried(block)));
    // Who comes back from around a loop with quick rounds begins it anew: its last look was for rounds that did not come.
    const even = this.#evenLoops.get(block);
    if (isBack && even?.loop.path.includes(from) === false) this.#lookAfter(even, ROUNDS_BEFORE_QUICK);
    if (isBack) body.br(defined(this.#loops.get(block), 'a loop'));
    else if (this.#structure.isMerge(block)) body.br(defined(this.#merges.get(block), 'a merge'));
    else this.#blockTree(block, { ...place, pending: 0, pages: new Set([...place.pages, block.page]) });
  }

  /** Where somebody may wait for the hart. */
  get #limitNow(): I32 {
    return this.#parts.isAlone ? this.#limit.value : get32(this.#hart, 'limit');
  }

  /** Where each round of a loop begins: is somebody waiting? `out` stores what is dirty here. */
  #beginRound(header: Block, place: Place, out: Label): void {
    const body = this.#body;
    // Rounds that were counted before.
    if (this.#quick) return;
    const leave = (): void => this.#leave(header.start, 0, out);
    const even = this.#evenLoops.get(header);
    if (!even) this.#unlessTimeIsOver(leave);
    else
      body.if(
        this.#count.value.geU(even.bound.value),
        () => {
          this.#unlessTimeIsOver(leave);
          this.#lookAfter(even, ROUNDS_BETWEEN_LOOKS);
          this.#quickRounds(header, place, even);
        },
        // Not called unlikely: the host's compiler would treat all that is inside as rare.
      );
  }

  /** Goes on if there is time left, or is given more; else `leave`. */
  #unlessTimeIsOver(leave: () => void): void {
    const body = this.#body;
    const count = this.#count.value;
    body.if(
      count.geU(this.#limitNow),
      () => {
        body.set(this.#limit, body.call(this.#parts.moreTime, this.#hart, count));
        body.if(count.geU(this.#limit.value), leave, undefined, false);
      },
      undefined,
      false,
    );
  }

  /** The loop runs `rounds` rounds before something is looked at, unless the hart's time ends before. */
  #lookAfter({ loop, bound }: Bounded, rounds: number): void {
    const body = this.#body;
    const limit = body.let(this.#limitNow);
    const soon = body.let(this.#count.value.add(rounds * loop.opCount));
    body.set(bound, select(soon.ltU(limit), soon, limit));
  }

  /** As many rounds as are sure, without looking at anything; then the loop's start again. With few of them nothing is done. */
  #quickRounds(header: Block, place: Place, { loop, bound }: Bounded): void {
    const body = this.#body;
    const mark = body.mark();
    body.block((few) => {
      const access = {
        body,
        hart: this.#hart,
        hartAt: this.#parts.isAlone ? hartBase(0) : undefined,
        context: this.#context.value,
        bail: few,
      };
      const count = this.#count.value;
      const limit = body.let(this.#limitNow);
      body.brIf(few, limit.leU(count), false);
      const left = body.let(limit.sub(count));
      // Others may want to be heard before the budget is used up.
      const unheard = this.#parts.isAlone ? left : select(left.ltU(MOST_UNHEARD), left, i32(MOST_UNHEARD));
      const most = unheard.divU(loop.opCount);
      const live = this.#flow.liveIn(header);
      const { rounds, addends } = countRounds(access, loop, most, live.x, this.#valueOf);
      body.set(bound, count.add(rounds.value.mul(loop.opCount)));
      const isAccrued =
        this.#floatNeeds === 'dirty' && loop.path.some(({ ops }) => ops.some((op) => usesFloat(op.decoded)));
      if (isAccrued) body.brIf(few, this.#unaccrued.value, false);
      const late = loop.isCalm ? this.#flow.stored(header) : NONE;
      this.#held.withLowHalves(loop.narrow, live, () =>
        body.loop((again) => this.#quickRound(place, { header, loop, again, late, addends, isAccrued, copy: 0 })),
      );
    });
    body.release(mark);
  }

  readonly #valueOf = (register: number): I64 => this.#held.x(register).value;

  #quickRound(place: Place, quick: Omit<QuickLoop, 'hosts'>): void {
    const before = this.#quick;
    this.#quick = { ...quick, hosts: hostsIn(this.#body, quick.addends, before?.hosts, this.#valueOf) };
    this.#blockItself(quick.header, place);
    this.#quick = before;
  }

  #endQuickRound(quick: QuickLoop, place: Place, dirty: RegisterSet): void {
    const body = this.#body;
    const { header, again, late, loop } = quick;
    this.#held.store(without(without(dirty, this.#flow.carried(header)), late));
    if (quick.copy + 1 < copiesOf(loop)) {
      this.#quickRound(place, { ...quick, copy: quick.copy + 1 });
      return;
    }
    this.#advance(place.pending);
    const { bound } = defined(this.#evenLoops.get(header), 'a loop with quick rounds');
    body.brIf(again, this.#count.value.ltU(bound.value), true);
    this.#held.store(late);
    this.#held.widen(this.#flow.liveIn(header));
    body.br(defined(this.#loops.get(header), 'a loop'));
  }

  #advance(pending: number): void {
    if (pending > 0) this.#body.set(this.#count, this.#count.value.add(pending));
  }

  /** Leaves unless the page of `block` is mapped where it was when the region was made: at its place before or behind the entry's. */
  #guard(block: Block, place: Place): void {
    const body = this.#body;
    const va = body.let(this.#base.value.add(block.page * PAGE_SIZE));
    const isMapped = isCodeMapped(this.#fetching, va, this.#place.heatPage(block.page));
    body.if(isMapped.eqz(), () => this.#leave(block.start, place.pending, place.out), undefined, false);
  }

  get #fetching(): Fetching {
    return { body: this.#body, hart: this.#hart, isAlone: this.#parts.isAlone };
  }

  #targetAt(offset: number, { pages }: Place): JumpTarget {
    const page = Math.floor(offset / PAGE_SIZE);
    const cell = pages.has(page) ? this.#place.heatPage(page) + (offset & (PAGE_SIZE - 1)) : undefined;
    return jumpTarget(this.#fetching, this.#base.value.add(offset), cell);
  }

  /** To `target`, for good. Registers are stored. */
  #tailCall({ va, index }: JumpTarget, pending: number): void {
    const count = this.#count.value.add(pending);
    this.#body.returnCallIndirect(this.#parts.regionType, index, this.#hart, va, count, this.#depth);
  }

  #call(block: Block, end: Extract<Block['end'], { kind: 'call' }>, place: Place, dirty: RegisterSet): void {
    const body = this.#body;
    const { callee, back } = end;
    this.#held.store(dirty);
    const target =
      callee === undefined
        ? jumpTarget(this.#fetching, defined(this.#emitter.target, 'where the call goes'))
        : this.#targetAt(callee, place);
    body.if(this.#depth.geU(MAX_DEPTH), () => this.#tailCall(target, place.pending), undefined, false);
    const at = body.local('i64');
    const counted = body.local('i32');
    body.callIndirect(
      this.#parts.regionType,
      target.index,
      [this.#hart, target.va, this.#count.value.add(place.pending), this.#depth.add(1)],
      [counted, at],
    );
    const backOffset = back.kind === 'block' ? back.block.start : back.offset;
    body.if(
      counted.value.ltS(0).or(at.value.ne(this.#base.value.add(backOffset))),
      () => {
        body.if(counted.value.geS(0), () => {
          put64(body, this.#hart, 'pc', at.value);
          put32(body, this.#hart, 'count', counted.value);
        });
        body.return(-1, 0n);
      },
      undefined,
      false,
    );
    body.set(this.#count, counted.value);
    const behind: Place = {
      pending: 0,
      known: nothingKnown(),
      out: defined(this.#exit, 'the way out'),
      pages: place.pages,
    };
    if (back.kind === 'block') {
      this.#refreshBehind(() => this.#leave(backOffset, 0, behind.out));
      this.#held.load(this.#flow.liveIn(back.block));
    }
    this.#goto(block, back, behind, NONE);
  }
}
