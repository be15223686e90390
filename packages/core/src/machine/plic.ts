/**
 * The platform-level interrupt controller (RISC-V PLIC Specification 1.0): level-triggered sources from devices, and for every hart an M
 * and an S context that sees them through its own enables and threshold.
 *
 *     line --> gateway --> pending --(enable, priority > threshold)--> MEIP/SEIP --> claim --> handler --> complete --> gateway
 *
 * INVARIANT: a source is never pending and in service at once. The gateway forwards one request and then waits for its completion
 * (chapter 1.4); a request once forwarded stays, even when the line falls before somebody claims it.
 */

import { assert } from '../base/assert.ts';
import { SavedReader } from '../base/saved.ts';
import type { Saved } from '../base/saved.ts';
import type { AccessSize, InterruptLine, MmioDevice, Placement, TreeNode } from './device.ts';
import { PLIC, hartInterruptController, regCells } from './fdt/tree-values.ts';
import type { HartPort } from './hart-port.ts';
import { MIP } from './hart-port.ts';
import { MEMORY_MAP, PLIC_SOURCES } from './memory-map.ts';

/** The register table (chapter 3, memory map). Blocks repeat every so many bytes per source or context. */
const REGISTERS = {
  priority: { base: 0, step: 4 },
  pending: { base: 0x1000 },
  enable: { base: 0x2000, step: 0x80 },
  context: { base: 0x20_0000, step: 0x1000 },
} as const;
const THRESHOLD = 0;
const CLAIM_COMPLETE = 4;

/** Priorities go from 1 to this; 0 never interrupts. As on QEMU's machine. */
export const MAXIMUM_PRIORITY = 7;

/** Words of 32 sources each; bit 0 of the first is the source that does not exist. */
const WORDS = (PLIC_SOURCES >>> 5) + 1;
const CONTEXTS_PER_HART = 2;

/** One target of interrupts: the machine or the supervisor level of one hart. */
interface Context {
  readonly hart: HartPort;
  readonly mipBit: number;
  readonly enable: Uint32Array;
  threshold: number;
  /** The level that the hart was last given. */
  notified: boolean;
}

export class Plic implements MmioDevice {
  readonly name = `plic@${MEMORY_MAP.plic.base.toString(16)}`;
  readonly accessSizes = 4;
  readonly #contexts: readonly Context[];
  readonly #priority = new Uint8Array(PLIC_SOURCES + 1);
  /** What the wires say now. */
  readonly #level = new Uint32Array(WORDS);
  readonly #pending = new Uint32Array(WORDS);
  /** Claimed and not completed. */
  readonly #inService = new Uint32Array(WORDS);

  /** Contexts are numbered as on QEMU's machine: hart n has 2n for M and 2n + 1 for S. */
  constructor(harts: readonly HartPort[]) {
    this.#contexts = harts.flatMap((hart) =>
      [MIP.MEIP, MIP.SEIP].map((mipBit) => ({
        hart,
        mipBit,
        enable: new Uint32Array(WORDS),
        threshold: 0,
        notified: false,
      })),
    );
  }

  /** The wire of source `source`, 1 to PLIC_SOURCES. */
  line(source: number): InterruptLine {
    assert(Number.isInteger(source) && source >= 1 && source <= PLIC_SOURCES, `the PLIC has no source ${source}`);
    return { set: (level) => this.#setLevel(source, level) };
  }

  /** Back to power-on. The machine resets all devices together, and no device asks for an interrupt at power-on: all wires are low. */
  reset(): void {
    for (const words of [this.#level, this.#pending, this.#inService]) words.fill(0);
    this.#priority.fill(0);
    for (const context of this.#contexts) {
      context.enable.fill(0);
      context.threshold = 0;
    }
    this.#notify();
  }

  read(offset: number, _size: AccessSize): number {
    if (offset >= REGISTERS.context.base) {
      const context = this.#contexts[Math.floor((offset - REGISTERS.context.base) / REGISTERS.context.step)];
      if (context === undefined) return 0;
      const register = offset % REGISTERS.context.step;
      if (register === THRESHOLD) return context.threshold;
      return register === CLAIM_COMPLETE ? this.#claim(context) : 0;
    }
    if (offset >= REGISTERS.enable.base) {
      const enable = this.#enableWord(offset);
      return enable?.words[enable.index] ?? 0;
    }
    if (offset >= REGISTERS.pending.base) return this.#pending[(offset - REGISTERS.pending.base) >>> 2] ?? 0;
    return this.#priority[offset >>> 2] ?? 0;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    if (offset >= REGISTERS.context.base) {
      const context = this.#contexts[Math.floor((offset - REGISTERS.context.base) / REGISTERS.context.step)];
      if (context === undefined) return;
      const register = offset % REGISTERS.context.step;
      if (register === THRESHOLD) context.threshold = value & MAXIMUM_PRIORITY;
      else if (register === CLAIM_COMPLETE) this.#complete(context, value);
    } else if (offset >= REGISTERS.enable.base) {
      const enable = this.#enableWord(offset);
      if (enable !== undefined) enable.words[enable.index] = value & sourcesOfWord(enable.index);
    } else if (offset < REGISTERS.pending.base) {
      const source = offset >>> 2;
      if (source >= 1 && source <= PLIC_SOURCES) this.#priority[source] = value & MAXIMUM_PRIORITY;
    }
    this.#notify();
  }

  save(): Saved {
    return {
      priority: this.#priority.slice(),
      level: [...this.#level],
      pending: [...this.#pending],
      inService: [...this.#inService],
      contexts: this.#contexts.map(({ enable, threshold }) => ({ enable: [...enable], threshold })),
    };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.name);
    const priority = reader.field('priority').bytes(PLIC_SOURCES + 1);
    if (priority[0] !== 0 || priority.some((value) => value > MAXIMUM_PRIORITY))
      reader.field('priority').refuse(`has a priority above ${MAXIMUM_PRIORITY}`);
    const level = sourceWords(reader.field('level'));
    const pending = sourceWords(reader.field('pending'));
    const inService = sourceWords(reader.field('inService'));
    if (pending.some((word, index) => (word & (inService[index] ?? 0)) !== 0))
      reader.field('pending').refuse('names a source that is in service');
    const contexts = reader
      .field('contexts')
      .list(this.#contexts.length)
      .map((context) => ({
        enable: sourceWords(context.field('enable')),
        threshold: context.field('threshold').integer(0, MAXIMUM_PRIORITY),
      }));

    this.#priority.set(priority);
    this.#level.set(level);
    this.#pending.set(pending);
    this.#inService.set(inService);
    for (const [index, context] of this.#contexts.entries()) {
      context.enable.set(contexts[index]?.enable ?? []);
      context.threshold = contexts[index]?.threshold ?? 0;
    }
    this.#notify(true);
  }

  #setLevel(source: number, level: boolean): void {
    const word = source >>> 5;
    const bit = 1 << (source & 31);
    const before = (this.#level[word]! & bit) !== 0;
    if (before === level) return;
    if (level) this.#level[word]! |= bit;
    else this.#level[word]! &= ~bit;
    this.#forward(word, bit);
    this.#notify();
  }

  /** The gateway: a raised wire becomes a request unless one is already on its way. */
  #forward(word: number, bit: number): void {
    this.#pending[word]! |= this.#level[word]! & ~this.#inService[word]! & bit;
  }

  /** Chapter 9: takes the best pending source that is enabled here, whatever the threshold; 0 when there is none. */
  #claim(context: Context): number {
    const source = this.#best(context);
    if (source === 0) return 0;
    const bit = 1 << (source & 31);
    this.#pending[source >>> 5]! &= ~bit;
    this.#inService[source >>> 5]! |= bit;
    this.#notify();
    return source;
  }

  /** Chapter 10: a completion of a source that is not enabled here is ignored; which context claimed it does not matter. */
  #complete(context: Context, source: number): void {
    const word = source >>> 5;
    const bit = 1 << (source & 31);
    if (source > PLIC_SOURCES || ((context.enable[word] ?? 0) & bit) === 0) return;
    this.#inService[word]! &= ~bit;
    this.#forward(word, bit);
  }

  /** The pending, enabled source of the highest priority, the lowest number among equals; 0 when there is none. */
  #best(context: Context): number {
    let best = 0;
    let bestPriority = 0;
    for (let word = 0; word < WORDS; word++) {
      let waiting = this.#pending[word]! & context.enable[word]!;
      while (waiting !== 0) {
        const bit = waiting & -waiting;
        waiting ^= bit;
        const source = (word << 5) + 31 - Math.clz32(bit);
        const priority = this.#priority[source]!;
        if (priority > bestPriority) {
          best = source;
          bestPriority = priority;
        }
      }
    }
    return best;
  }

  /** Tells every hart whose external interrupt changed; all of them when `always`. */
  #notify(always = false): void {
    for (const context of this.#contexts) {
      const level = this.#priority[this.#best(context)]! > context.threshold;
      if (level === context.notified && !always) continue;
      context.notified = level;
      context.hart.setPending(context.mipBit, level);
    }
  }

  #enableWord(offset: number): { readonly words: Uint32Array; readonly index: number } | undefined {
    const within = offset - REGISTERS.enable.base;
    const context = this.#contexts[Math.floor(within / REGISTERS.enable.step)];
    const index = (within % REGISTERS.enable.step) >>> 2;
    return context === undefined || index >= WORDS ? undefined : { words: context.enable, index };
  }
}

/** Sources that exist among the 32 of word `word`, as a mask. */
function sourcesOfWord(word: number): number {
  let mask = word === 0 ? ~1 : ~0;
  const beyond = PLIC_SOURCES - word * 32;
  if (beyond < 31) mask &= (2 << beyond) - 1;
  return mask >>> 0;
}

function sourceWords(reader: SavedReader): number[] {
  return reader.list(WORDS).map((item, word) => {
    const value = item.u32();
    return (value & ~sourcesOfWord(word)) === 0 ? value : item.refuse('names a source that does not exist');
  });
}

/** The node of the device tree (binding: interrupt-controller/sifive,plic-1.0.0). */
export function plicNode(placement: Placement, harts: number): TreeNode {
  return {
    name: `plic@${placement.base.toString(16)}`,
    label: PLIC.phandleOf,
    properties: {
      compatible: ['sifive,plic-1.0.0', 'riscv,plic0'],
      reg: regCells(placement),
      'interrupt-controller': true,
      '#interrupt-cells': 1,
      '#address-cells': 0,
      'interrupts-extended': Array.from({ length: harts * CONTEXTS_PER_HART }, (_, context) => [
        hartInterruptController(context >> 1),
        (context & 1) === 0 ? 11 : 9, // machine and supervisor external interrupt, as in mcause
      ]).flat(),
      'riscv,ndev': PLIC_SOURCES,
    },
  };
}
