/**
 * A memory domain for several machines that are started one by one (Machine.create with `domain`): they are executed by one engine, share what is made
 * of code in frames that they share, and take turns on one thread. The domain's first guest is nobody's: one page, and harts that never run.
 *
 * INVARIANT: all its machines have the domain's trust label. Those of different labels are in different domains, and have no frame in common.
 */

import { assert } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { Domain, codePagesOf } from '../engine/domain.ts';
import { Engine, type EngineOptions, type EngineSurroundings } from '../engine/engine.ts';
import { frameOf, hasFrame } from '../engine/frames.ts';
import type { Machine } from './machine.ts';
import { MAXIMUM_DOMAIN_BYTES, MAXIMUM_HARTS } from './options.ts';

export interface MachineDomainOptions {
  /** Who trusts whom: machines of one label may learn by timing which pages they have in common. */
  readonly label: string;
  /** Size of it, up to MAXIMUM_DOMAIN_BYTES, which it is when absent. What is not used costs addresses alone. */
  readonly domainBytes?: number;
  /** Harts of each of its machines; 1 when absent. */
  readonly harts?: number;
  readonly engine?: EngineOptions['kind'];
  readonly compiler?: EngineOptions['compiler'];
  readonly heat?: EngineOptions['heat'];
  readonly interpreters?: EngineOptions['interpreters'];
}

/** Memory of a domain's machines, in bytes. */
export interface DomainMemory {
  /** Frames that pages of its machines have, each counted once, and as if each page had one of its own. */
  readonly frameBytes: number;
  readonly pageBytes: number;
  /** What there is of it in all, and what nobody has. */
  readonly domainBytes: number;
  readonly freeBytes: number;
}

/** Nothing ever asks it. */
const NOBODY: EngineSurroundings = {
  mmioLoad: () => 0,
  mmioStore: () => 0,
  readTime: () => {},
  timerChanged: () => {},
};

export class MachineDomain {
  readonly label: string;
  readonly engine: Engine;
  readonly harts: number;
  /** Those that have not been closed. */
  readonly machines: ReadonlySet<Machine>;
  readonly #machines: Set<Machine>;

  private constructor(label: string, engine: Engine, harts: number) {
    this.label = label;
    this.engine = engine;
    this.harts = harts;
    this.machines = this.#machines = new Set();
  }

  static async create(options: MachineDomainOptions): Promise<MachineDomain> {
    const {
      label,
      domainBytes = MAXIMUM_DOMAIN_BYTES,
      harts = 1,
      engine: kind,
      compiler,
      heat,
      interpreters,
    } = options;
    assert(Number.isInteger(harts) && harts >= 1 && harts <= MAXIMUM_HARTS, `${harts} is no number of harts`);
    const nobody = [{ base: 0, sizeBytes: PAGE_SIZE, writable: true }];
    const domain = new Domain(nobody, {
      codePages: kind === 'interpreter' ? undefined : codePagesOf(1, domainBytes),
      totalBytes: domainBytes,
    });
    const engine = await Engine.create(domain, NOBODY, { kind, harts, compiler, heat, interpreters });
    for (let id = 0; id < harts; id++) engine.addHart(id).reset(0n);
    return new MachineDomain(label, engine, harts);
  }

  /** A machine is executed here from now on. */
  add(machine: Machine): void {
    this.#machines.add(machine);
  }

  remove(machine: Machine): void {
    this.#machines.delete(machine);
  }

  /** Looks at every page: some tens of microseconds for a machine. */
  get memory(): DomainMemory {
    const { u32, frames, layout } = this.engine.domain;
    const seen = new Uint8Array(layout.totalBytes / PAGE_SIZE);
    let [frameBytes, pageBytes] = [0, 0];
    for (const { guest } of this.#machines) {
      const start = guest.pageMap >>> 2;
      for (let slot = start; slot < start + guest.pages; slot++) {
        const entry = u32[slot] ?? 0;
        const frame = frameOf(entry);
        if (!hasFrame(entry) || frame === frames.zero) continue;
        pageBytes += PAGE_SIZE;
        if (seen[frame / PAGE_SIZE] === 0) frameBytes += PAGE_SIZE;
        seen[frame / PAGE_SIZE] = 1;
      }
    }
    return {
      frameBytes,
      pageBytes,
      domainBytes: layout.frameCount * PAGE_SIZE,
      freeBytes: frames.available * PAGE_SIZE,
    };
  }
}
