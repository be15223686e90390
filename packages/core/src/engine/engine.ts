/** The engine of one memory domain: the interpreter and what is compiled, bound to the domain's memory and to the machine around it. */

import { assert } from '../base/assert.ts';
import { decode } from '../isa/decode.ts';
import type { Domain } from './domain.ts';
import { Hart } from './hart.ts';
import { type EngineHost, IMPORT_MODULE } from './imports.ts';
import type { MemoryImport } from '../wasm/module.ts';
import { type InterpreterExports, type InterpreterOptions, buildInterpreter } from './interpreter.ts';
import type { RegionCompiler } from './jit/batch.ts';
import { Jit, LONGEST_WAIT, ROUNDS } from './jit/jit.ts';
import { HART, HOT, MAX_HARTS } from './layout.ts';
import type { PcpuWords } from './pcpu-words.ts';
import { writeRecord } from './predecode.ts';

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

/** Times that code is come to before it is compiled. */
const THRESHOLD = 1000;

export class Engine {
  readonly domain: Domain;
  /** The interpreter, for other threads that execute harts of this domain. */
  readonly module: WebAssembly.Module;
  readonly #code: InterpreterExports;
  readonly #made: PagesMade;
  readonly #jit: Jit | undefined;
  readonly #hartCount: number;
  /** The hart that executed last. */
  #last: Hart | undefined;

  private constructor(
    domain: Domain,
    module: WebAssembly.Module,
    code: InterpreterExports,
    made: PagesMade,
    jit: Jit | undefined,
    hartCount: number,
  ) {
    this.domain = domain;
    this.module = module;
    this.#code = code;
    this.#made = made;
    this.#jit = jit;
    this.#hartCount = hartCount;
  }

  /** Generates and compiles the interpreter for `domain`. */
  static async create(domain: Domain, surroundings: EngineSurroundings, options: EngineOptions = {}): Promise<Engine> {
    const { kind = 'jit', harts = 1, compiler, names = false } = options;
    assert(harts >= 1 && harts <= MAX_HARTS, `${harts} harts do not fit a domain`);
    const isAlone = harts === 1;
    const { threshold = THRESHOLD, rounds = ROUNDS, wait = LONGEST_WAIT } = options.heat ?? {};
    const pages = domain.memoryPages;
    const memory = { module: 'env', name: 'memory', initialPages: pages, maximumPages: pages, shared: true };
    const isEager = kind === 'jit-eager';
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 2 * HOT.FIRST_FUNCTION });
    const jit =
      kind === 'interpreter'
        ? undefined
        : new Jit(domain, table, { memory, isEager, isAlone, compiler, rounds, wait, names });
    const compiled = jit && { threshold: isEager ? 0 : threshold };
    const interpreter = { isAlone, isThreaded: domain.words !== undefined, compiled };
    const module =
      options.module ?? (await WebAssembly.compile(interpreterFor(memory, interpreter, options.interpreters)));
    const made: PagesMade = { count: 0, hart: undefined };
    const host: EngineHost = {
      ...surroundings,
      frame: (index, forWrite) => domain.frame(index, forWrite !== 0) | 0,
      codePage: (index) => {
        // Making one is dear: a guest that runs through pages without end must not keep `run` much longer than its budget says.
        if (++made.count === CODE_PAGES_PER_RUN) made.hart?.requestAttention();
        return domain.codePage(index) | 0;
      },
      heatPage: (index) => (jit ? domain.heatPage(index) | 0 : domain.layout.heatBase),
      hot: (hart, cell) => jit?.hot(hart, cell >>> 0),
      codeWritten: (index, offset, length) => domain.codeWritten(index, offset, length),
      // What this thread made of code is coherent with its own writes; of those of others it is told.
      codeFence: () => domain.takeWritten(),
      decode: (record) => domain.decode(record >>> 0),
      moreTime: (hart, count) => {
        const at = (hart + HART.limit) >>> 2;
        const limit = Atomics.load(domain.i32, at);
        const more = limit === 0 ? 0 : (surroundings.moreTime?.(hart, count >>> 0) ?? 0);
        if (more <= 0) return limit;
        jit?.timePasses();
        // Whoever wants attention meanwhile has it.
        return Atomics.compareExchange(domain.i32, at, limit, count + more) === limit ? count + more : 0;
      },
      decodeScratch: (hart, word) => writeRecord(domain, hart + HART.scratchRecord, decode(word >>> 0)),
    };
    const instance = await WebAssembly.instantiate(module, {
      env: { memory: domain.memory, table },
      [IMPORT_MODULE]: host as unknown as Record<string, () => void>,
    });
    const code = instance.exports as unknown as InterpreterExports;
    domain.purge = (hart, of, entries, frame) => code.tlbPurge(hart, of, entries, frame);
    domain.forget = (hart, offset, address) => code.tlbForget(hart, offset, address);
    domain.translations = jit;
    jit?.connect(instance.exports);
    return new Engine(domain, module, code, made, jit, harts);
  }

  /** A hart of this domain, at power-on. */
  addHart(id: number): Hart {
    // What is generated for one hart alone takes for granted where it is.
    assert(id < this.#hartCount, `the engine was made for ${this.#hartCount} harts`);
    this.domain.addHart(id);
    return new Hart(id, this.domain, this.#code);
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
    hart.put32('limit', budget);
    const exit = this.#code.run(hart.base);
    this.#jit?.compileSoon();
    return exit;
  }

  /** Other threads make `limit` 0 when they want to be heard: whoever does so after it was set is, and this sees what they wanted before. */
  #runBesideOthers(hart: Hart, budget: number, words: PcpuWords): number {
    hart.setLimit(budget);
    words.enter(hart.base);
    this.domain.takeWritten();
    hart.takeFences();
    const exit = this.#code.run(hart.base);
    words.leave();
    this.#jit?.compileSoon();
    return exit;
  }

  /** What has been compiled, for reports. */
  get compiled(): Readonly<Record<string, number>> {
    const counts = Object.entries(this.#jit?.statistics ?? {});
    return Object.fromEntries(counts.map(([name, value]) => [`jit.${name}`, value]));
  }
}

/** The interpreter as bytes, from the cache if it is there. */
function interpreterFor(
  memory: MemoryImport,
  options: InterpreterOptions,
  cache: InterpreterCache | undefined,
): Uint8Array {
  const key = JSON.stringify([memory, options]);
  const known = cache?.load(key);
  if (known !== undefined) return known;
  const bytes = buildInterpreter(memory, options);
  cache?.keep(key, bytes);
  return bytes;
}
