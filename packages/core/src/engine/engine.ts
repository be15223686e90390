/**
 * The engine of one memory domain: the interpreter and what is compiled, bound to the domain's memory and to the machines around its guests. The
 * first guest is there from the start; `addGuest` brings others, whose harts take turns with its harts where harts are executed (residents.ts).
 */

import { assert } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { Domain } from './domain.ts';
import type { Guest, Region } from './guest.ts';
import { probeFusedMultiplyAdd } from './float/probe.ts';
import { Hart } from './hart.ts';
import { type EngineHost, IMPORT_MODULE } from './imports.ts';
import type { MemoryImport } from '../wasm/module.ts';
import { EXIT, type InterpreterExports, type InterpreterOptions, buildInterpreter } from './interpreter.ts';
import type { RegionCompiler } from './jit/batch.ts';
import { Jit, LONGEST_WAIT, ROUNDS } from './jit/jit.ts';
import { HART, HOT, MAX_HARTS, hartBase } from './layout.ts';
import type { PcpuWords } from './pcpu-words.ts';
import { writeWord } from './predecode.ts';
import { type Occupant, RESTING_BYTES, Residents } from './residents.ts';

/** What the machine around the engine answers. `hart` is a hart's base address; see EngineHost for the rest. */
export interface EngineSurroundings extends Pick<EngineHost, 'mmioLoad' | 'mmioStore' | 'readTime' | 'timerChanged'> {
  /**
   * A run has executed `count` instructions, which is its budget, in compiled code: how many more it may execute before it has to come back.
   * Absent: none. Coming back costs more than it seems: the interpreter goes on until it comes to where compiled code begins.
   */
  moreTime?(hart: number, count: number): number;
}

/** Code pages that one `run` may make before it comes back. */
const CODE_PAGES_PER_RUN = 200;

/** Those that the present run has made. */
interface PagesMade {
  count: number;
  hart: Hart | undefined;
}

/**
 * How guest code is executed: by the interpreter alone; hot code compiled; everything compiled at first sight (slow, for tests: what the
 * compiler gets wrong shows at once).
 */
export type EngineKind = 'interpreter' | 'jit' | 'jit-eager';

/** Interpreters that were generated before, by what they were made for; those of other versions are not among them. */
export interface InterpreterCache {
  load(key: string): Uint8Array | undefined;
  keep(key: string, bytes: Uint8Array): void;
  /** One that is being compiled already. */
  begun?(key: string): Promise<WebAssembly.Module> | undefined;
}

export interface EngineOptions {
  readonly kind?: EngineKind | undefined;
  /** How many harts there will be, 1 to MAX_HARTS; 1 when absent. One that is alone is executed faster. */
  readonly harts?: number | undefined;
  /** Compiles beside the machine; without it the machine compiles between its slices. */
  readonly compiler?: RegionCompiler | undefined;
  /** When code is hot: come to `threshold` times (below HOT.PENDING), `rounds` times over; and how many runs it waits for other code at most. */
  readonly heat?: { readonly threshold: number; readonly rounds: number; readonly wait?: number } | undefined;
  /** Whether compiled functions have names, for profilers. */
  readonly names?: boolean;
  /** The interpreter of this domain, when another thread has it already (`Engine.module`): made with the same options. */
  readonly module?: WebAssembly.Module | undefined;
  readonly interpreters?: InterpreterCache | undefined;
}

/** Of a place where harts rest that has no guest's page map beside it. */
const ONE_PAGE: Region = { base: 0, sizeBytes: PAGE_SIZE, writable: true };

/** Times that code is come to before it is compiled. */
const THRESHOLD = 500;

export class Engine {
  readonly domain: Domain;
  /** The interpreter, for other threads that execute harts of this domain. */
  readonly module: WebAssembly.Module;
  readonly #code: InterpreterExports;
  readonly #made: PagesMade;
  readonly #jit: Jit | undefined;
  readonly #hartCount: number;
  readonly #residents: Residents;
  readonly #first: Occupant;
  readonly #others = new Map<Guest, Occupant>();
  /** The hart that executed last. */
  #last: Hart | undefined;

  private constructor(
    domain: Domain,
    module: WebAssembly.Module,
    code: InterpreterExports,
    made: PagesMade,
    jit: Jit | undefined,
    hartCount: number,
    residents: Residents,
  ) {
    this.domain = domain;
    this.module = module;
    this.#code = code;
    this.#made = made;
    this.#jit = jit;
    this.#hartCount = hartCount;
    this.#residents = residents;
    this.#first = residents.resident;
  }

  /** Generates and compiles the interpreter for `domain`. */
  static async create(domain: Domain, surroundings: EngineSurroundings, options: EngineOptions = {}): Promise<Engine> {
    const first: Occupant = { guest: domain.guest, surroundings, harts: [], restsAt: 0 };
    const { kind = 'jit', harts = 1, compiler, names = false } = options;
    assert(harts >= 1 && harts <= MAX_HARTS, `${harts} harts do not fit a domain`);
    const isAlone = harts === 1;
    const { threshold = THRESHOLD, rounds = ROUNDS, wait = LONGEST_WAIT } = options.heat ?? {};
    const memory = memoryImport(domain.memoryPages);
    const isEager = kind === 'jit-eager';
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 2 * HOT.FIRST_FUNCTION });
    const jit =
      kind === 'interpreter'
        ? undefined
        : new Jit(domain, table, { memory, isEager, isAlone, compiler, rounds, wait, names });
    const interpreter = interpreterOptions({ kind, isAlone, isThreaded: domain.words !== undefined, threshold });
    const module = options.module ?? (await compiledInterpreter(memory, interpreter, options.interpreters));
    const made: PagesMade = { count: 0, hart: undefined };
    const late: { residents?: Residents } = {};
    const resident = (): Occupant => late.residents?.resident ?? first;
    const around = (): EngineSurroundings => resident().surroundings;
    const host: EngineHost = {
      mmioLoad: (hart, low, high, bytes) => around().mmioLoad(hart, low, high, bytes),
      mmioStore: (hart, low, high, bytes) => around().mmioStore(hart, low, high, bytes),
      readTime: (hart) => around().readTime(hart),
      timerChanged: (hart) => around().timerChanged(hart),
      frame: (index, forWrite) => {
        const entry = resident().guest.frame(index, forWrite !== 0) | 0;
        if (domain.frames.usedBytes > domain.softLimitBytes) made.hart?.requestAttention();
        return entry;
      },
      codePage: (frame) => {
        // Making one is dear: a guest that runs through pages without end must not keep `run` much longer than its budget says.
        if (++made.count === CODE_PAGES_PER_RUN) made.hart?.requestAttention();
        return domain.codePage(frame) | 0;
      },
      heatPage: (frame) => (jit ? domain.heatPage(frame) | 0 : domain.layout.heatBase),
      hot: (hart, cell) => jit?.hot(hart, cell >>> 0),
      codeWritten: (frame, offset, length) => domain.codeWritten(frame, offset, length),
      // What this thread made of code is coherent with its own writes; of those of others it is told.
      codeFence: () => domain.takeWritten(),
      decode: (record) => domain.decode(record >>> 0),
      moreTime: (hart, count) => {
        const at = (hart + HART.limit) >>> 2;
        const limit = Atomics.load(domain.i32, at);
        const more = limit === 0 ? 0 : (around().moreTime?.(hart, count >>> 0) ?? 0);
        if (more <= 0) return limit;
        jit?.timePasses();
        // Whoever wants attention meanwhile has it.
        return Atomics.compareExchange(domain.i32, at, limit, count + more) === limit ? count + more : 0;
      },
      decodeScratch: (hart, word) => writeWord(domain, hart + HART.scratchRecord, word),
    };
    const instance = await WebAssembly.instantiate(module, {
      env: { memory: domain.memory, table },
      [IMPORT_MODULE]: host as unknown as Record<string, () => void>,
    });
    const code = instance.exports as unknown as InterpreterExports;
    domain.purge = (hart, of, entries, frame) => code.tlbPurge(hart, of, entries, frame);
    domain.clear = (hart) => code.tlbClear(hart);
    domain.forget = (hart, offset, address) => code.tlbForget(hart, offset, address);
    domain.blocks = code;
    domain.translations = jit;
    jit?.connect(instance.exports);
    const residents = new Residents(domain, code, first);
    late.residents = residents;
    return new Engine(domain, module, code, made, jit, harts, residents);
  }

  /** A hart of the domain's first guest, at power-on. */
  addHart(id: number): Hart {
    // What is generated for one hart alone takes for granted where it is.
    assert(id < this.#hartCount, `the engine was made for ${this.#hartCount} harts`);
    this.domain.addHart(id);
    return this.#addHart(this.#first, id, hartBase(id));
  }

  #addHart(occupant: Occupant, id: number, base: number): Hart {
    const { guest, harts } = occupant;
    this.domain.linkHart(id, base, guest);
    const hart = new Hart(id, guest, base, this.#code, () => this.#residents.enter(occupant));
    harts.push(hart);
    return hart;
  }

  /**
   * Another guest of the domain, with as many harts as the engine was made for, and the machine around it; throws a DomainFullError when there is
   * no room for it. All that is known of its memory is what it is given (Guest.shareWith), and its harts are to be reset or restored.
   */
  addGuest(
    regions: readonly Region[],
    surroundings: EngineSurroundings,
  ): { readonly guest: Guest; readonly harts: readonly Hart[] } {
    const bytes = this.#hartCount * RESTING_BYTES;
    // Where the first guest's harts rest while others are executed.
    if (this.#first.restsAt === 0) this.#first.restsAt = this.domain.addGuest([ONE_PAGE], bytes).at;
    const { guest, at } = this.domain.addGuest(regions, bytes);
    const occupant: Occupant = { guest, surroundings, harts: [], restsAt: at };
    for (let id = 0; id < this.#hartCount; id++) this.#addHart(occupant, id, at + id * RESTING_BYTES);
    this.#others.set(guest, occupant);
    return { guest, harts: occupant.harts };
  }

  /** A guest is executed no more: all that it had is given back. */
  removeGuest(guest: Guest): void {
    const occupant = this.#others.get(guest);
    if (guest !== this.#first.guest) {
      assert(occupant !== undefined, 'a guest of the domain');
      if (this.#residents.resident === occupant) this.#residents.enter(this.#first);
      this.#others.delete(guest);
      this.domain.removeGuest(guest, this.#hartCount * RESTING_BYTES);
    } else guest.release();
  }

  /** How many guests there are beside the first. */
  get guests(): number {
    return this.#others.size;
  }

  /** The guest's page map was changed from outside: all that TLBs know of it is void. */
  flush(guest: Guest): void {
    this.#residents.flush(guest);
  }

  /** A hart that another thread executed is executed here from now on. */
  adopt(hart: Hart): void {
    this.domain.adoptHart(hart.id);
    if (this.#last === hart) this.#last = undefined;
  }

  /** The same of whichever guest's harts are where harts are executed: page maps of several were changed. Between slices. */
  flushResident(): void {
    assert(!this.#residents.isRunning, 'page maps are changed between slices');
    this.#residents.flushResident();
  }

  /** Runs `hart` for about `budget` instructions; gives an EXIT. */
  run(hart: Hart, budget: number): number {
    assert(budget < 2 ** 31, 'a budget is a positive 32-bit integer');
    this.#made.count = 0;
    this.#made.hart = hart;
    // Any store of another hart may have been to the reserved cell, and an SC must fail then (Unprivileged ISA, "LR/SC").
    if (this.#last !== hart) hart.put32('reservation', 0);
    this.#last = hart;
    const { words } = this.domain;
    if (words) return this.#runBesideOthers(hart, budget, words);
    if (this.#residents.resident.guest !== hart.guest) this.#enter(hart.guest);
    hart.put32('limit', budget);
    this.#residents.isRunning = true;
    let exit: number;
    try {
      exit = this.#code.run(hart.base);
    } finally {
      this.#residents.isRunning = false;
    }
    this.#jit?.compileSoon(exit === EXIT.WAIT);
    return exit;
  }

  #enter(guest: Guest): void {
    const occupant = guest === this.#first.guest ? this.#first : this.#others.get(guest);
    assert(occupant !== undefined, 'a guest that is executed is one of the domain');
    this.#residents.enter(occupant);
  }

  /** Other threads make `limit` 0 when they want to be heard: whoever does so after it was set is, and this sees what they wanted before. */
  #runBesideOthers(hart: Hart, budget: number, words: PcpuWords): number {
    hart.setLimit(budget);
    words.enter(hart.base);
    this.domain.takeWritten();
    hart.takeFences();
    const exit = this.#code.run(hart.base);
    words.leave();
    this.#jit?.compileSoon(exit === EXIT.WAIT);
    return exit;
  }

  /** What has been compiled, for reports. */
  get compiled(): Readonly<Record<string, number>> {
    const counts = Object.entries(this.#jit?.statistics ?? {});
    return Object.fromEntries(counts.map(([name, value]) => [`jit.${name}`, value]));
  }
}

function memoryImport(pages: number): MemoryImport {
  return { module: 'env', name: 'memory', initialPages: pages, maximumPages: pages, shared: true };
}

function interpreterOptions(of: {
  readonly kind: EngineKind;
  readonly isAlone: boolean;
  readonly isThreaded: boolean;
  readonly threshold: number;
}): InterpreterOptions {
  const { kind, isAlone, isThreaded, threshold } = of;
  const compiled = kind === 'interpreter' ? undefined : { threshold: kind === 'jit-eager' ? 0 : threshold };
  return { isAlone, isThreaded, compiled, fusedMultiplyAdd: probeFusedMultiplyAdd() };
}

/**
 * The interpreter that machines with one hart, in a memory of `memoryPages` WebAssembly pages and otherwise made with no options of their own, are
 * executed by, and what it is called in a cache: for who has it compiled before there is such a machine.
 */
export function ordinaryInterpreter(memoryPages: number): { readonly key: string; readonly make: () => Uint8Array } {
  const memory = memoryImport(memoryPages);
  const options = interpreterOptions({ kind: 'jit', isAlone: true, isThreaded: false, threshold: THRESHOLD });
  return { key: keyOf(memory, options), make: () => buildInterpreter(memory, options) };
}

function keyOf(memory: MemoryImport, options: InterpreterOptions): string {
  return JSON.stringify([memory, options]);
}

/** The interpreter, from the cache if it is there. */
async function compiledInterpreter(
  memory: MemoryImport,
  options: InterpreterOptions,
  cache: InterpreterCache | undefined,
): Promise<WebAssembly.Module> {
  const key = keyOf(memory, options);
  const begun = cache?.begun?.(key);
  if (begun !== undefined) return begun;
  const known = cache?.load(key);
  if (known !== undefined) return WebAssembly.compile(known);
  const bytes = buildInterpreter(memory, options);
  cache?.keep(key, bytes);
  return WebAssembly.compile(bytes);
}
