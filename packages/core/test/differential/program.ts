/** A random program: an image of RAM to start from, and what it is made of, so that parts can be taken out. */

import { type Item, SHORT_NOP } from './code-builder.ts';
import { CONTEXT, CONTEXT_CELLS, RAM_BASE, RUNTIME } from './places.ts';
import { runtime } from './runtime.ts';

export interface Segment {
  readonly address: number;
  readonly bytes: Uint8Array;
}

export interface Program {
  readonly kind: ProgramKind;
  readonly seed: number;
  readonly segments: readonly Segment[];
  /** Ranges of code that may become no-operations. */
  readonly items: readonly Item[];
  /** Where an address of the code lies in RAM, when that is elsewhere. */
  readonly physical?: (address: number) => number;
  /** Eight-byte cells that may become zero (scenes). */
  readonly cells: readonly number[];
  /** What the scene of a cell is, for people. */
  readonly describeCell?: (cell: number) => string;
  /** Random instructions that are executed, about; those of the runtime come on top. */
  readonly instructions: number;
  /** How often each entry stands in the code. */
  readonly used: ReadonlyMap<string, number>;
}

export type ProgramKind = 'machine' | 'scenes' | 'hot' | 'strict';

/** The context the handler finds. */
export class Context {
  readonly bytes = new Uint8Array(0x1000);
  readonly #view = new DataView(this.bytes.buffer);

  put(cell: keyof typeof CONTEXT_CELLS, value: bigint | number, index = 0): void {
    this.#view.setBigUint64(CONTEXT_CELLS[cell] + 8 * index, BigInt.asUintN(64, BigInt(value)), true);
  }

  get segment(): Segment {
    return { address: CONTEXT, bytes: this.bytes };
  }
}

export const runtimeSegment: Segment = { address: RUNTIME, bytes: runtime.bytes };

/** RAM with the program in it, from RAM_BASE on; items and cells whose index is in `without` are taken out. */
export function writeImage(program: Program, memory: Uint8Array, without: Without = NOTHING): void {
  for (const { address, bytes } of program.segments) memory.set(bytes, address - RAM_BASE);
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  for (const index of without.items) {
    for (const [from, to] of program.items[index]?.ranges ?? []) {
      for (let at = from; at < to; at += 2) view.setUint16((program.physical?.(at) ?? at) - RAM_BASE, SHORT_NOP, true);
    }
  }
  for (const index of without.cells) view.setBigUint64((program.cells[index] ?? 0) - RAM_BASE, 0n, true);
}

export interface Without {
  readonly items: ReadonlySet<number>;
  readonly cells: ReadonlySet<number>;
}

export const NOTHING: Without = { items: new Set(), cells: new Set() };
