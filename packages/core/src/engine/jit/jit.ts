/**
 * Compiled code of one domain: what is hot is found by the interpreter's counting, compiled in batches, entered through the heat pages and
 * the table, and made void when its code is written.
 *
 *     interpreter: cell of a heat page reaches the threshold ──> hot ──> queue
 *                                                                  │ batch
 *                                                                  v
 *     cell = number of the function <── instance, table <── module: compileBatch, here or on another thread
 *                                                                  ^
 *     a page of it is written: cell empty again, epoch changed ────┘ (what is running leaves at its next slow step)
 */

import { defined } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { MemoryImport } from '../../wasm/module.ts';
import type { Domain, Translations } from '../domain.ts';
import { probeFusedMultiplyAdd } from '../float/probe.ts';
import { CONTROL, FETCH_TLB_ENTRIES, HART, HOT, TLB_ENTRY_BYTES, TLB_FETCH } from '../layout.ts';
import {
  type BatchAnswer,
  type BatchRequest,
  type CodePage,
  type CompiledRegion,
  type RegionCompiler,
  type RegionRequest,
  COVERED,
  compileBatch,
} from './batch.ts';
import { CompileQueue } from './compile-queue.ts';
import { ENGINE_MODULE } from './translate.ts';

export interface JitOptions {
  readonly memory: MemoryImport;
  /** Compiles at once whatever is come to, warm or not: for tests. */
  readonly isEager: boolean;
  /** One hart executes the code, number 0. */
  readonly isAlone: boolean;
  readonly compiler?: RegionCompiler | undefined;
  /** How many times the interpreter's threshold is reached before code is compiled. */
  readonly rounds: number;
  /** How many runs code waits for other code to be compiled with it, at most. */
  readonly wait: number;
  /** Whether functions have names, for profilers. */
  readonly names: boolean;
}

/** Regions of one module at most. */
const BATCH = 48;
/** Bytes of modules that are kept, some 7,000 regions; the oldest go when there are more, be they in use or not. */
const CODE_BYTES = 32 * 1024 ** 2;
/** How many times the threshold is reached before code is compiled: what compiling costs, code has to have cost the interpreter. */
export const ROUNDS = 8;
/** Runs (of about 100 us) in which code reaches that number, or else it is not so hot. */
const WINDOW = 250;
/** Code that is not so hot, but all the time, is compiled after so many times more rounds. */
const SLOW_FACTOR = 3;
/** And code that is still come to so many runs after it first was warm, after a part of the rounds: a server's way through its kernel. */
export const LONG_WARM = 10_000;
const LONG_WARM_PART = 0.5;
/**
 * Where the guest waits again and again, runs are short and say little about time. Code that is still come to so many waits after it first was
 * warm is on the way of every question to the guest and its answer: it is compiled after a smaller part of the rounds, and while the guest
 * waits there is a processor to do it.
 */
export const LONG_WARM_WAITS = 400;
const LONG_WARM_WAITS_PART = 0.25;
/** Cells that are remembered while they are not hot yet. */
const MOST_SEEN = 0x1_0000;
/** How much longer code waits that has been compiled as a part of something else. */
const COVERED_FACTOR = 2;
/** Runs (of about 100 us) that code waits for others to be compiled with it: a module of its own costs memory. */
export const LONGEST_WAIT = 60;
/** Where another thread compiles nobody waits for long: a few at a time. */
const BEHIND_BATCH = 16;
/** A page whose code was made void so often waits longer before it is compiled again, up to this many times the threshold. */
const LONGEST_DELAY = 64;
/** Pages that a region may use, relative to its entry's. */
const NEIGHBOURS = [0, -1, 1];

/** Byte ranges [from, to) of a region's code in a frame. */
type Ranges = [from: number, to: number][];

/** A region that has been asked for, and maybe compiled. */
interface Compiled {
  readonly cell: number;
  /** The number of the frame that the cell belongs to. */
  readonly index: number;
  /** Where its code is, by number of the frame: empty until it is compiled. */
  pages: ReadonlyMap<number, Ranges>;
  readonly request: RegionRequest;
  batch: Batch | undefined;
  number: number;
  isVoid: boolean;
}

interface Batch {
  readonly first: number;
  readonly members: readonly Compiled[];
  bytes: number;
  live: number;
}

export class Jit implements Translations {
  readonly #domain: Domain;
  readonly #table: WebAssembly.Table;
  readonly #options: JitOptions;
  readonly #fusedMultiplyAdd = probeFusedMultiplyAdd();
  readonly #byPage = new Map<number, Set<Compiled>>();
  /** How often code of a page was made void, as a factor of patience. */
  readonly #delays = new Map<number, number>();
  /** How often cells have reached the threshold, in all and lately. */
  readonly #seen = new Map<
    number,
    { rounds: number; readonly first: number; readonly firstWait: number; since: number; lately: number }
  >();
  /** Runs so far: what time is measured by here. */
  #runs = 0;
  /** Runs that ended because the guest had nothing to do. */
  #waits = 0;
  readonly #queue = new CompileQueue<Compiled>();
  #waited = 0;
  #isCompiling = false;
  readonly #batches: Batch[] = [];
  #codeBytes = 0;
  #nextNumber: number = HOT.FIRST_FUNCTION;
  #exports: WebAssembly.Exports | undefined;
  readonly statistics = { regions: 0, modules: 0, translated: 0, codeBytes: 0, voided: 0, evicted: 0, failed: 0 };

  constructor(domain: Domain, table: WebAssembly.Table, options: JitOptions) {
    this.#domain = domain;
    this.#table = table;
    this.#options = options;
  }

  /** The interpreter that compiled code works with. */
  connect(exports: WebAssembly.Exports): void {
    this.#exports = exports;
  }

  /** Code at `cell` of a heat page is hot; the hart at `hart` is about to execute it at hart.pc. */
  hot(hart: number, cell: number): void {
    const { u16, u64 } = this.#domain;
    const index = this.#domain.frameOfHeat(cell);
    if (index < 0) return;
    // It is counted on until it is compiled.
    u16[cell >>> 1] = 0;
    if (this.#queue.again(cell, index, this.#runs) || this.#mustWait(index, cell)) return;
    const va = defined(u64[(hart + HART.pc) >>> 3], 'pc') & ~0xfffn;
    this.#queue.add(this.#ask(hart, index, cell, va), this.#runs);
    if (this.#options.isEager) this.#compileHere();
  }

  /** After a run, which ended in a wait for an interrupt or did not: compiles what is waiting, if it is worth a module or has waited long enough. */
  compileSoon(isWaiting = false): void {
    this.#runs++;
    if (isWaiting) this.#waits++;
    if (this.#queue.length === 0 || this.#isCompiling) return;
    this.#waited++;
    const { compiler } = this.#options;
    const isEnough = this.#queue.length >= (compiler ? BEHIND_BATCH : BATCH) / 2 || this.#queue.isUrgent;
    if (!isEnough && this.#waited < this.#options.wait) return;
    this.#waited = 0;
    if (compiler) void this.#compileBeside(compiler);
    else this.#compileHere();
  }

  /** As long as a run went by, and goes on: what another thread is to compile it is given now. */
  timePasses(): void {
    if (this.#options.compiler) this.compileSoon();
    else this.#runs++;
  }

  has(index: number): boolean {
    return (this.#byPage.get(index)?.size ?? 0) > 0;
  }

  written(index: number, from: number, to: number): void {
    this.#warmAgain(index, from, to);
    const regions = this.#byPage.get(index);
    if (!regions) return;
    let hit = false;
    for (const each of regions) {
      if (!each.pages.get(index)?.some(([first, end]) => from < end && to > first)) continue;
      this.#void(each);
      hit = true;
    }
    if (hit) this.#delays.set(index, Math.min(LONGEST_DELAY, 2 * (this.#delays.get(index) ?? 1)));
  }

  dropped(index: number): void {
    for (const each of this.#byPage.get(index) ?? []) this.#void(each);
  }

  /** What could not be compiled before may be other code now. */
  #warmAgain(index: number, from: number, to: number): void {
    const { u16, u32, layout } = this.#domain;
    const heat = defined(u32[(layout.heatMap >>> 2) + index], 'a heat map entry');
    if (heat === 0) return;
    for (let cell = (heat + from) >>> 1; cell < (heat + to + 1) >>> 1; cell++)
      if (u16[cell] === HOT.COLD) u16[cell] = 0;
  }

  #mustWait(index: number, cell: number): boolean {
    if (this.#options.isEager) return false;
    // What is part of another region already has less need of one that begins there.
    const offset = cell & (PAGE_SIZE - 1);
    const isCovered = [...(this.#byPage.get(index) ?? [])].some(
      (each) => each.batch && each.pages.get(index)?.some(([from, to]) => offset >= from && offset < to) === true,
    );
    const delay = (this.#delays.get(index) ?? 1) * this.#options.rounds * (isCovered ? COVERED_FACTOR : 1);
    const [runs, waits] = [this.#runs, this.#waits];
    const seen = this.#seen.get(cell) ?? { rounds: 0, first: runs, firstWait: waits, since: runs, lately: 0 };
    if (this.#runs - seen.since > WINDOW) {
      seen.since = this.#runs;
      seen.lately = 0;
    }
    seen.rounds++;
    seen.lately++;
    const isLongWarm =
      (runs - seen.first >= LONG_WARM && seen.rounds >= LONG_WARM_PART * delay) ||
      (waits - seen.firstWait >= LONG_WARM_WAITS && seen.rounds >= LONG_WARM_WAITS_PART * delay);
    const isHot = seen.lately >= delay || isLongWarm || seen.rounds >= SLOW_FACTOR * delay;
    if (this.#seen.size > MOST_SEEN) this.#seen.clear();
    if (isHot) this.#seen.delete(cell);
    else this.#seen.set(cell, seen);
    return !isHot;
  }

  /** Nobody has come to it for long. It has been hot enough: when it is come to again it is asked for again. */
  #abandon({ cell }: Compiled): void {
    const [since, firstWait] = [this.#runs, this.#waits];
    this.#seen.set(cell, { rounds: Infinity, first: since, firstWait, since, lately: 0 });
  }

  /** The region that begins at `cell`, to be compiled. */
  #ask(hart: number, index: number, cell: number, va: bigint): Compiled {
    const { layout, u32 } = this.#domain;
    const codePages = NEIGHBOURS.flatMap((page): CodePage[] => {
      const heat = page === 0 ? cell & ~0xfff : this.#heatPageAt(hart, va + BigInt(page * PAGE_SIZE));
      const number = page === 0 ? index : heat === 0 ? -1 : this.#domain.frameOfHeat(heat);
      if (number < 0) return [];
      const records = defined(u32[(layout.codeMap >>> 2) + number], 'a code map entry');
      return [{ page, frame: number * PAGE_SIZE, records, heat, number }];
    });
    return {
      cell,
      index,
      pages: new Map<number, Ranges>(),
      request: {
        entryOffset: cell & (PAGE_SIZE - 1),
        pages: codePages,
        pageNumber: Number(BigInt.asUintN(64, va) / BigInt(PAGE_SIZE)),
        context: defined(u32[(hart + HART.fetchContext) >>> 2], 'a context'),
        fetchTlb: hart + TLB_FETCH,
      },
      batch: undefined,
      number: 0,
      isVoid: false,
    };
  }

  #watch(page: number, each: Compiled, ranges: Ranges): void {
    const members = this.#byPage.get(page) ?? new Set<Compiled>();
    members.add(each);
    this.#byPage.set(page, members);
    this.#domain.watch(page, ranges);
  }

  #unwatch(page: number, each: Compiled): void {
    this.#byPage.get(page)?.delete(each);
    if (this.has(page)) return;
    this.#byPage.delete(page);
    this.#domain.unwatch(page);
  }

  /** The heat page of the code at `va`, if the hart fetched from there lately; else 0. */
  #heatPageAt(hart: number, va: bigint): number {
    const { u32, u64 } = this.#domain;
    const slot = Number((BigInt.asUintN(64, va) >> 12n) & BigInt(FETCH_TLB_ENTRIES - 1));
    const entry = hart + TLB_FETCH + slot * TLB_ENTRY_BYTES;
    const context = BigInt(defined(u32[(hart + HART.fetchContext) >>> 2], 'a context'));
    if (u64[entry >>> 3] !== (BigInt.asUintN(64, va) | context)) return 0;
    return defined(u32[(entry + 12) >>> 2], 'an entry');
  }

  #compileHere(): void {
    for (let batch = this.#next(BATCH); batch; batch = this.#next(BATCH))
      this.#install(batch, compileBatch(this.#requestOf(batch), this.#domain));
  }

  async #compileBeside(compiler: RegionCompiler): Promise<void> {
    this.#isCompiling = true;
    try {
      for (let batch = this.#next(BEHIND_BATCH); batch; batch = this.#next(BEHIND_BATCH)) {
        try {
          this.#install(batch, await compiler.compile(this.#requestOf(batch), this.#domain.memory));
        } catch {
          // Nobody compiles any more: the code stays interpreted.
          for (const each of batch.members) this.#leaveOut(each, HOT.COLD);
        }
      }
    } finally {
      this.#isCompiling = false;
    }
  }

  /** The next regions of the queue, as a batch with numbers of its own. */
  #next(size: number): Batch | undefined {
    const members = this.#queue
      .take(size, this.#runs, (each) => this.#abandon(each))
      // The heat page may be another frame's by now.
      .filter((each) => this.#domain.frameOfHeat(each.cell) === each.index);
    if (members.length === 0) return undefined;
    for (const { cell } of members) this.#domain.u16[cell >>> 1] = HOT.PENDING;
    const batch: Batch = { first: this.#numbers(members.length), members, bytes: 0, live: members.length };
    for (const [index, each] of members.entries()) {
      each.batch = batch;
      each.number = batch.first + index;
    }
    this.#batches.push(batch);
    return batch;
  }

  #requestOf({ first, members }: Batch): BatchRequest {
    return {
      requests: members.map(({ request }) => request),
      first,
      memory: this.#options.memory,
      includesCold: this.#options.isEager,
      isAlone: this.#options.isAlone,
      names: this.#options.names,
      fusedMultiplyAdd: this.#fusedMultiplyAdd,
    };
  }

  #install(batch: Batch, { module, regions, bytes, failed }: BatchAnswer): void {
    this.statistics.failed += failed;
    // All of it may have become void meanwhile, and its numbers may be others'.
    if (!this.#batches.includes(batch)) return;
    if (module) {
      this.#instantiate(module);
      batch.bytes = bytes;
      this.#codeBytes += bytes;
      this.statistics.modules++;
    }
    for (const [index, each] of batch.members.entries()) {
      const region = regions[index];
      if (each.isVoid) continue;
      // The heat page may be another frame's by now.
      const isWaiting =
        this.#domain.frameOfHeat(each.cell) === each.index && this.#domain.u16[each.cell >>> 1] === HOT.PENDING;
      if (!region || region === COVERED || !isWaiting) {
        this.#leaveOut(each, region === COVERED ? 0 : HOT.COLD);
        continue;
      }
      const pages = new Map<number, Ranges>();
      for (const { number, from, to } of region.ranges) pages.set(number, [...(pages.get(number) ?? []), [from, to]]);
      each.pages = pages;
      for (const [page, ranges] of pages) this.#watch(page, each, ranges);
      // From here on writes are noticed; those before show in the code.
      if (!this.#isStill(region)) {
        this.#void(each);
        continue;
      }
      this.#domain.u16[each.cell >>> 1] = each.number;
      this.statistics.regions++;
      this.statistics.translated += region.opCount;
    }
    while (this.#codeBytes > CODE_BYTES && this.#batches[0] !== batch) this.#evictOldest();
    this.statistics.codeBytes = this.#codeBytes;
  }

  /** Its functions are in the table from here on. */
  #instantiate(module: WebAssembly.Module): WebAssembly.Instance {
    return new WebAssembly.Instance(module, {
      env: { memory: this.#domain.memory, table: this.#table },
      [ENGINE_MODULE]: defined(this.#exports, 'the interpreter') as unknown as Record<string, () => void>,
    });
  }

  /** Whether the heat pages still belong to the pages that the code knows by them, and guest memory still holds `code`. */
  #isStill({ ranges, code }: CompiledRegion): boolean {
    const { u16, u32, layout } = this.#domain;
    if (ranges.some(({ number, heat }) => u32[(layout.heatMap >>> 2) + number] !== heat)) return false;
    for (let at = 0; at < code.length; at += 2) {
      const [number, half] = [defined(code[at], 'a frame'), defined(code[at + 1], 'a halfword')];
      if (u16[(number * PAGE_SIZE + (half >>> 16)) >>> 1] !== (half & 0xffff)) return false;
    }
    return true;
  }

  /** Numbers for `count` functions in a row; whoever had them is gone. */
  #numbers(count: number): number {
    if (this.#nextNumber + count > HOT.LAST_FUNCTION) this.#nextNumber = HOT.FIRST_FUNCTION;
    const first = this.#nextNumber;
    this.#nextNumber += count;
    const overlaps = (batch: Batch): boolean =>
      batch.first < first + count && batch.first + batch.members.length > first;
    while (this.#batches.some(overlaps)) this.#evictOldest();
    if (this.#nextNumber > this.#table.length) this.#table.grow(Math.max(this.#table.length, count));
    return first;
  }

  #evictOldest(): void {
    const batch = this.#batches[0];
    if (!batch) return;
    for (const each of batch.members) this.#void(each);
    this.statistics.evicted += batch.members.length;
    this.#forget(batch);
  }

  #forget(batch: Batch): void {
    const at = this.#batches.indexOf(batch);
    if (at < 0) return;
    this.#batches.splice(at, 1);
    this.#codeBytes -= batch.bytes;
    const leave = defined(this.#exports?.['leaveCompiled'], 'the function that leaves');
    for (let number = batch.first; number < batch.first + batch.members.length; number++)
      this.#table.set(number, leave);
  }

  /** Nobody enters the region any more; who is inside leaves at the next look at the epoch. */
  #void(each: Compiled): void {
    if (each.isVoid) return;
    const { u32 } = this.#domain;
    const epoch = CONTROL.codeEpoch >>> 2;
    u32[epoch] = (defined(u32[epoch], 'the epoch') + 1) >>> 0;
    for (const page of each.pages.keys()) this.#unwatch(page, each);
    this.statistics.voided++;
    this.#leaveOut(each);
  }

  /** Whoever comes to it is interpreted from here on. Its cell becomes `heat`. */
  #leaveOut(each: Compiled, heat = 0): void {
    if (each.isVoid) return;
    each.isVoid = true;
    const { u16 } = this.#domain;
    const present = defined(u16[each.cell >>> 1], 'a cell');
    if (present === HOT.PENDING || (each.batch && present === each.number)) u16[each.cell >>> 1] = heat;
    const { batch } = each;
    if (batch && --batch.live === 0) this.#forget(batch);
  }
}
