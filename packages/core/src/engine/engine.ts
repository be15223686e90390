/** The engine of one memory domain: the compiled interpreter, bound to the domain's memory and to the machine around it. */

import { decode } from '../isa/decode.ts';
import type { Domain } from './domain.ts';
import { Hart } from './hart.ts';
import { type EngineHost, IMPORT_MODULE } from './imports.ts';
import { type InterpreterExports, buildInterpreter } from './interpreter.ts';
import { HART } from './layout.ts';
import { writeRecord } from './predecode.ts';

/** What the machine around the engine answers. `hart` is a hart's base address; see EngineHost for the rest. */
export type EngineSurroundings = Pick<EngineHost, 'mmioLoad' | 'mmioStore' | 'readTime' | 'timerChanged'>;

/** Code pages that one `run` may make before it comes back. */
const CODE_PAGES_PER_RUN = 200;

/** Those that the present run has made. */
interface PagesMade {
  count: number;
  hart: Hart | undefined;
}

export class Engine {
  readonly domain: Domain;
  readonly #code: InterpreterExports;
  readonly #made: PagesMade;

  private constructor(domain: Domain, code: InterpreterExports, made: PagesMade) {
    this.domain = domain;
    this.#code = code;
    this.#made = made;
  }

  /** Generates and compiles the interpreter for `domain`. */
  static async create(domain: Domain, surroundings: EngineSurroundings): Promise<Engine> {
    const pages = domain.memoryPages;
    const bytes = buildInterpreter({
      module: 'env',
      name: 'memory',
      initialPages: pages,
      maximumPages: pages,
      shared: true,
    });
    const module = await WebAssembly.compile(bytes);
    const made: PagesMade = { count: 0, hart: undefined };
    const host: EngineHost = {
      ...surroundings,
      frame: (index, forWrite) => domain.frame(index, forWrite !== 0) | 0,
      codePage: (index) => {
        // Making one is dear: a guest that runs through pages without end must not keep `run` much longer than its budget says.
        if (++made.count === CODE_PAGES_PER_RUN) made.hart?.requestAttention();
        return domain.codePage(index) | 0;
      },
      codeWritten: (index, offset, length) => domain.codeWritten(index, offset, length),
      // Code pages are coherent with memory: every write to one drops it.
      codeFence: () => {},
      decode: (record) => domain.decode(record >>> 0),
      decodeScratch: (hart, word) => writeRecord(domain, hart + HART.scratchRecord, decode(word >>> 0)),
    };
    const instance = await WebAssembly.instantiate(module, {
      env: { memory: domain.memory },
      [IMPORT_MODULE]: host as unknown as Record<string, () => void>,
    });
    return new Engine(domain, instance.exports as unknown as InterpreterExports, made);
  }

  /** A hart of this domain, at power-on. */
  addHart(id: number): Hart {
    this.domain.addHart(id);
    return new Hart(id, this.domain, this.#code);
  }

  /** Runs `hart` for about `budget` instructions; gives an EXIT. */
  run(hart: Hart, budget: number): number {
    this.#made.count = 0;
    this.#made.hart = hart;
    hart.put32('limit', budget);
    return this.#code.run(hart.base);
  }
}
