/**
 * Machine code under construction: instructions at addresses, labels, and *items*: what the minimiser can take out alone. An item that is taken
 * out becomes no-operations of the same size, so nothing else moves.
 */

import { assert } from '../../src/base/assert.ts';

export interface Label {
  address: number | undefined;
}

/** The instruction word once all addresses are known; undefined when its target is out of reach: it becomes a no-operation then. */
export type Word = number | ((address: number) => number | undefined);

/** Byte ranges [from, to) that make up one item; a loop's beginning and end are one item. */
export interface Item {
  readonly ranges: (readonly [number, number])[];
}

interface Placed {
  readonly address: number;
  readonly size: 2 | 4;
  readonly word: Word;
}

export const NOP = 0x0000_0013;
export const SHORT_NOP = 0x0001;

export class CodeBuilder {
  readonly items: Item[] = [];
  readonly #placed: Placed[] = [];
  readonly #start: number;
  #address: number;

  constructor(start: number) {
    this.#start = start;
    this.#address = start;
  }

  get address(): number {
    return this.#address;
  }

  /** Begins an item; further ranges of it may be added later. */
  item(): Item {
    const item: Item = { ranges: [] };
    this.items.push(item);
    return item;
  }

  /** Places words, which belong to `item` if there is one. */
  add(item: Item | undefined, ...words: { word: Word; size: 2 | 4 }[]): void {
    const from = this.#address;
    for (const { word, size } of words) {
      this.#placed.push({ address: this.#address, size, word });
      this.#address += size;
    }
    item?.ranges.push([from, this.#address]);
  }

  moveTo(address: number): void {
    assert(address >= this.#address, 'code only grows upward');
    this.#address = address;
  }

  label(): Label {
    return { address: undefined };
  }

  place(label: Label): void {
    label.address = this.#address;
  }

  /** The bytes from the start on. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.#address - this.#start);
    const view = new DataView(bytes.buffer);
    for (const { address, size, word } of this.#placed) {
      const value = (typeof word === 'number' ? word : word(address)) ?? (size === 4 ? NOP : SHORT_NOP);
      if (size === 4) view.setUint32(address - this.#start, value, true);
      else view.setUint16(address - this.#start, value, true);
    }
    return bytes;
  }
}

export function addressOf(label: Label): number {
  assert(label.address !== undefined, 'every label that is used is placed');
  return label.address;
}
