/** Code as discovery sees it, from assembly text: for tests of what is compiled. */

import { assert, defined } from '../../../base/assert.ts';
import { PAGE_SIZE } from '../../../base/numbers.ts';
import { assembleProgram } from '../../../isa/assemble-program.ts';
import { type Block, type CodeView, type Region, type Target, discover } from '../region.ts';

/** Where the page of offset 0 is: pages before it can be had. */
const BASE = 16 * PAGE_SIZE;

export interface CodeOptions {
  /** Offset of the first instruction. */
  readonly at?: number;
  /** Labels of code that has never been executed. */
  readonly cold?: readonly string[];
  /** Pages that can be seen; all that there are when absent. */
  readonly pages?: readonly number[];
}

export class Code implements CodeView {
  readonly #view: DataView;
  readonly #at: number;
  readonly #symbols: ReadonlyMap<string, bigint>;
  readonly #cold: ReadonlySet<number>;
  readonly #pages: readonly number[] | undefined;

  constructor(text: string, { at = 0, cold = [], pages }: CodeOptions = {}) {
    const { bytes, symbols } = assembleProgram(text, BigInt(BASE + at));
    this.#view = new DataView(bytes.buffer);
    this.#at = at;
    this.#symbols = symbols;
    this.#cold = new Set(cold.map((label) => this.offset(label)));
    this.#pages = pages;
  }

  offset(label: string): number {
    return Number(defined(this.#symbols.get(label), `the label ${label}`)) - BASE;
  }

  /** The label at `offset`. */
  label(offset: number): string {
    for (const [name, at] of this.#symbols) if (Number(at) - BASE === offset) return name;
    return `${offset}`;
  }

  half(offset: number): number | undefined {
    if (this.#pages?.includes(Math.floor(offset / PAGE_SIZE)) === false) return undefined;
    const at = offset - this.#at;
    return at >= 0 && at + 2 <= this.#view.byteLength ? this.#view.getUint16(at, true) : undefined;
  }

  isWarm(offset: number): boolean {
    return !this.#cold.has(offset);
  }

  /** The region that begins at `label`. */
  region(label = 'entry', maxOps?: number): Region {
    return defined(discover(this, this.offset(label), maxOps), 'a region');
  }

  /** The block of `region` that begins at `label`. */
  block(region: Region, label: string): Block {
    const found = region.blocks.filter(({ start }) => start === this.offset(label));
    assert(found.length <= 1, 'one block begins there');
    return defined(found[0], `a block at ${label}`);
  }

  /** A region as text, one line a block: its instructions, how it ends, and where it goes on by label; `!` leads out of the region. */
  show(region: Region): string[] {
    const labels = new Map([...this.#symbols.keys()].map((label) => [this.offset(label), label]));
    const name = (offset: number): string => labels.get(offset) ?? String(offset);
    const target = (to: Target): string => (to.kind === 'block' ? name(to.block.start) : `!${name(to.offset)}`);
    return region.blocks.map(({ start, ops, end }) => {
      const names = ops.map(({ decoded }) => decoded.instruction.name).join(' ');
      const line = `${name(start)}: ${names}`;
      switch (end.kind) {
        case 'next':
        case 'jump':
          return `${line} ${end.kind} ${target(end.to)}`;
        case 'branch':
          return `${line} branch ${target(end.taken)} ${target(end.otherwise)}`;
        case 'call':
          return `${line} call ${end.callee === undefined ? 'somewhere' : name(end.callee)} ${target(end.back)}`;
        case 'leave':
          return `${line} leave ${name(end.offset)}`;
        default:
          return `${line} ${end.kind}`;
      }
    });
  }
}
