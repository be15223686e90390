/**
 * Compiled code of one domain: what is hot is found by the interpreter's counting, compiled in batches, entered through the heat pages and
 * the table, and made void when its code is written.
 *
 *     interpreter: cell of a heat page reaches the threshold ──> hot: the region is found, its pages are watched
 *                                                                  │ batch
 *                                                                  v
 *     cell = number of the function <── instance, table <── module <── translate
 *                                                                  ^
 *     a page of it is written: cell empty again, epoch changed ────┘ (what is running leaves at its next store)
 */

import { defined } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { MemoryImport } from '../../wasm/module.ts';
import type { Domain, Translations } from '../domain.ts';
import { probeFusedMultiplyAdd } from '../float/probe.ts';
import { CONTROL, FETCH_TLB_ENTRIES, HART, HOT, TLB_ENTRY_BYTES, TLB_FETCH } from '../layout.ts';
import { type CodeView, type Region, discover } from './region.ts';
import { ENGINE_MODULE, type Translation, translate } from './translate.ts';

export interface JitOptions {
  readonly memory: MemoryImport;
  /** Compiles at once whatever is come to, warm or not: for tests. */
  readonly isEager: boolean;
}

/** Regions of one module at most. */
const BATCH = 48;
/** Bytes of modules that are kept; the oldest go when there are more. */
const CODE_BYTES = 24 * 1024 ** 2;
/** How many times the threshold is reached before code is compiled: what compiling costs, code has to have cost the interpreter. */
const ROUNDS = Number((globalThis as any).process?.env.RF_R ?? 2);
/** Runs that code waits for others to be compiled with it. */
const LONGEST_WAIT = 12;
/** A page whose code was made void so often waits longer before it is compiled again, up to this many times the threshold. */
const LONGEST_DELAY = 64;

/** A region that has been found, and maybe compiled. */
interface Compiled {
  readonly cell: number;
  /** Byte ranges of its code, by guest page. */
  readonly pages: ReadonlyMap<number, readonly (readonly [number, number])[]>;
  readonly translation: Translation;
  batch: Batch | undefined;
  number: number;
  isVoid: boolean;
}

interface Batch {
  readonly first: number;
  readonly members: readonly Compiled[];
  readonly bytes: number;
  live: number;
}

/** The interpreter's exports, as far as compiled code imports them. */
type EngineExports = WebAssembly.Exports;

export class Jit implements Translations {
  readonly #domain: Domain;
  readonly #table: WebAssembly.Table;
  readonly #options: JitOptions;
  readonly #fusedMultiplyAdd = probeFusedMultiplyAdd();
  readonly #byPage = new Map<number, Set<Compiled>>();
  /** How often code of a page was made void, as a factor of patience; and how much of it is left, by cell. */
  readonly #delays = new Map<number, number>();
  readonly #patience = new Map<number, number>();
  #queue: Compiled[] = [];
  #waited = 0;
  #batches: Batch[] = [];
  #codeBytes = 0;
  #nextNumber: number = HOT.FIRST_FUNCTION;
  #exports: EngineExports | undefined;
  readonly statistics = { regions: 0, modules: 0, instructions: 0, codeBytes: 0, voided: 0, evicted: 0 };

  constructor(domain: Domain, table: WebAssembly.Table, options: JitOptions) {
    this.#domain = domain;
    this.#table = table;
    this.#options = options;
  }

  /** The interpreter that compiled code works with. */
  connect(exports: EngineExports): void {
    this.#exports = exports;
  }

  /** Code at `cell` of a heat page is hot; the hart at `hart` is about to execute it at hart.pc. */
  hot(hart: number, cell: number): void {
    const { u16, u64 } = this.#domain;
    const index = this.#domain.pageOfHeat(cell);
    if (index < 0) return;
    if (this.#mustWait(index, cell)) {
      u16[cell >>> 1] = 0;
      return;
    }
    const va = defined(u64[(hart + HART.pc) >>> 3], 'pc') & ~0xfffn;
    const found = this.#find(hart, index, cell, va);
    if (!found) {
      u16[cell >>> 1] = HOT.COLD;
      return;
    }
    u16[cell >>> 1] = HOT.PENDING;
    this.#queue.push(found);
    if (this.#options.isEager) this.compile();
  }

  /** After a run: compiles what is waiting, if it is worth a module or has waited long enough. */
  compileSoon(): void {
    if (this.#queue.length === 0) return;
    this.#waited++;
    if (this.#queue.length < BATCH / 2 && this.#waited < LONGEST_WAIT) return;
    this.#waited = 0;
    this.compile();
  }

  /** Compiles what is waiting. */
  compile(): void {
    while (this.#queue.length > 0) {
      const members = this.#queue.splice(0, BATCH).filter((each) => !each.isVoid);
      if (members.length > 0) this.#install(members);
    }
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
    for (let cell = (heat + from) >>> 1; cell < (heat + to + 1) >>> 1; cell++) if (u16[cell] === HOT.COLD) u16[cell] = 0;
  }

  #mustWait(index: number, cell: number): boolean {
    if (this.#options.isEager) return false;
    const delay = (this.#delays.get(index) ?? 1) * ROUNDS;
    const left = (this.#patience.get(cell) ?? delay) - 1;
    if (left > 0) this.#patience.set(cell, left);
    else this.#patience.delete(cell);
    return left > 0;
  }

  #find(hart: number, index: number, cell: number, va: bigint): Compiled | undefined {
    const domain = this.#domain;
    const indices = new Map<number, number>([[0, index]]);
    const heat = new Map<number, number>([[0, cell & ~0xfff]]);
    const indexOf = (page: number): number => {
      const known = indices.get(page);
      if (known !== undefined) return known;
      const address = this.#heatPageAt(hart, va + BigInt(page * PAGE_SIZE));
      const found = address === 0 ? -1 : domain.pageOfHeat(address);
      indices.set(page, found);
      heat.set(page, address);
      return found;
    };
    const view: CodeView = {
      half: (offset) => {
        const page = indexOf(Math.floor(offset / PAGE_SIZE));
        if (page < 0) return undefined;
        return domain.u16[(domain.host(page, false) + (offset & (PAGE_SIZE - 1))) >>> 1];
      },
      isWarm: (offset) => {
        if (this.#options.isEager) return true;
        const page = indexOf(Math.floor(offset / PAGE_SIZE));
        return page >= 0 && domain.isDecoded(page, offset & (PAGE_SIZE - 1));
      },
    };
    const entryOffset = cell & 0xfff;
    const region = discover(view, entryOffset);
    if (!region) return undefined;
    const pages = new Map<number, [number, number][]>();
    for (const [first, end] of region.ranges) {
      for (let page = Math.floor(first / PAGE_SIZE); page * PAGE_SIZE < end; page++) {
        const start = page * PAGE_SIZE;
        const range: [number, number] = [Math.max(first - start, 0), Math.min(end - start, PAGE_SIZE)];
        const of = defined(indices.get(page), 'a page of the region');
        pages.set(of, [...(pages.get(of) ?? []), range]);
      }
    }
    const place = { entryOffset, heatPage: (page: number) => defined(heat.get(page), 'a heat page') };
    const found: Compiled = { cell, pages, translation: { region, place }, batch: undefined, number: 0, isVoid: false };
    for (const page of pages.keys()) {
      const members = this.#byPage.get(page) ?? new Set<Compiled>();
      members.add(found);
      this.#byPage.set(page, members);
      domain.watch(page);
    }
    return found;
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

  #install(members: readonly Compiled[]): void {
    const first = this.#numbers(members.length);
    const bytes = translate(
      members.map((each) => each.translation),
      first,
      { memory: this.#options.memory, isAlone: true, fusedMultiplyAdd: this.#fusedMultiplyAdd },
    );
    const module = new WebAssembly.Module(bytes);
    const memory = this.#domain.memory;
    new WebAssembly.Instance(module, {
      env: { memory, table: this.#table },
      [ENGINE_MODULE]: defined(this.#exports, 'the interpreter') as unknown as Record<string, () => void>,
    });
    const batch: Batch = { first, members, bytes: bytes.length, live: members.length };
    this.#batches.push(batch);
    this.#codeBytes += bytes.length;
    for (const [index, each] of members.entries()) {
      each.batch = batch;
      each.number = first + index;
      this.#domain.u16[each.cell >>> 1] = each.number;
      this.statistics.regions++;
      this.statistics.instructions += each.translation.region.opCount;
    }
    this.statistics.modules++;
    while (this.#codeBytes > CODE_BYTES) this.#evictOldest();
    this.statistics.codeBytes = this.#codeBytes;
  }

  /** Numbers for `count` functions in a row; whoever had them is gone. */
  #numbers(count: number): number {
    if (this.#nextNumber + count > HOT.LAST_FUNCTION) this.#nextNumber = HOT.FIRST_FUNCTION;
    const first = this.#nextNumber;
    this.#nextNumber += count;
    const overlaps = (batch: Batch): boolean => batch.first < first + count && batch.first + batch.members.length > first;
    while (this.#batches.some(overlaps)) this.#evictOldest();
    if (this.#nextNumber > this.#table.length) this.#table.grow(Math.max(this.#table.length, count));
    return first;
  }

  #evictOldest(): void {
    const batch = this.#batches[0];
    if (!batch) return;
    for (const each of batch.members) if (!each.isVoid) this.#void(each);
    this.statistics.evicted += batch.members.length;
    this.#forget(batch);
  }

  #forget(batch: Batch): void {
    const at = this.#batches.indexOf(batch);
    if (at < 0) return;
    this.#batches.splice(at, 1);
    this.#codeBytes -= batch.bytes;
    const leave = defined(this.#exports?.['leaveCompiled'], 'the function that leaves');
    for (let number = batch.first; number < batch.first + batch.members.length; number++) this.#table.set(number, leave);
  }

  /** Nobody enters the region any more; who is inside leaves at the next look at the epoch. */
  #void(each: Compiled): void {
    if (each.isVoid) return;
    each.isVoid = true;
    const { u16, u32 } = this.#domain;
    const heat = defined(u16[each.cell >>> 1], 'a cell');
    if (each.batch ? heat === each.number : heat === HOT.PENDING) u16[each.cell >>> 1] = 0;
    const epoch = CONTROL.codeEpoch >>> 2;
    u32[epoch] = (defined(u32[epoch], 'the epoch') + 1) >>> 0;
    for (const page of each.pages.keys()) {
      this.#byPage.get(page)?.delete(each);
      if (!this.has(page)) this.#byPage.delete(page);
      this.#domain.unwatch(page);
    }
    this.statistics.voided++;
    const { batch } = each;
    if (batch && --batch.live === 0) this.#forget(batch);
  }
}
