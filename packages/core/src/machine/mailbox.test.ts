import { describe, expect, test } from 'vitest';
import { HART, hartBase } from '../engine/layout.ts';
import { PcpuWords } from '../engine/pcpu-words.ts';
import { type MailHandlers, Mailbox } from './mailbox.ts';

const NOTICE = 0x1000_1050;
const OTHER = 0x1000_1070;
const MEMORY_BYTES = 4 * 1024 ** 2;

/** Both ends in one thread: the machine's serves as soon as it is rung, unless it is busy. */
class Ends {
  readonly heard: string[] = [];
  isBusy = false;
  readonly #i32 = new Int32Array(new SharedArrayBuffer(MEMORY_BYTES));
  readonly #machine: Mailbox;
  readonly #pcpu: Mailbox;
  readonly #handlers: MailHandlers = {
    load: () => 1,
    store: (hart, low, _high, bytes) => {
      this.heard.push(`store ${bytes} at ${low.toString(16)}: ${this.#i32[(hart + HART.value) >>> 2]}`);
      return low === 0 ? 0 : 1;
    },
    isNotice: (address) => address === NOTICE,
    notice: (address, bytes, low) => this.heard.push(`notice ${bytes} at ${address.toString(16)}: ${low}`),
    write: () => {},
    read: () => undefined,
    ended: () => {},
    keep: () => {},
  };

  constructor() {
    const clock = { monotonicNs: () => 0, wallNs: () => 0n };
    const words = new PcpuWords(this.#i32, 1, 0);
    words.ring = () => {
      if (!this.isBusy) this.serve();
    };
    this.#machine = new Mailbox(this.#i32, new PcpuWords(this.#i32, 1, -1), clock);
    this.#pcpu = new Mailbox(this.#i32, words, clock);
  }

  serve(): boolean {
    return this.#machine.serve(this.#handlers);
  }

  store(address: number, value: number): number {
    this.#i32[(hartBase(0) + HART.value) >>> 2] = value;
    return this.#pcpu.store(hartBase(0), address, 0, 4);
  }
}

describe('a store that only has a device look for work', () => {
  test('is waited for the first time, and done later from then on', () => {
    const ends = new Ends();
    expect(ends.store(NOTICE, 1)).toBe(1);
    ends.isBusy = true;
    expect(ends.store(NOTICE, 2)).toBe(1);
    expect(ends.heard).toEqual(['store 4 at 10001050: 1']);
    expect(ends.serve()).toBe(true);
    expect(ends.heard).toEqual(['store 4 at 10001050: 1', 'notice 4 at 10001050: 2']);
    expect(ends.serve()).toBe(false);
  });

  test('adds nothing to one that nobody has seen yet', () => {
    const ends = new Ends();
    ends.store(NOTICE, 0);
    ends.isBusy = true;
    for (let time = 0; time < 5; time++) ends.store(NOTICE, 0);
    ends.serve();
    expect(ends.heard).toEqual(['store 4 at 10001050: 0', 'notice 4 at 10001050: 0']);
    ends.store(NOTICE, 0);
    ends.serve();
    expect(ends.heard).toHaveLength(3);
  });

  test('is the only kind that is not waited for, and a store to nobody is told', () => {
    const ends = new Ends();
    for (let time = 0; time < 3; time++) expect(ends.store(OTHER, time)).toBe(1);
    expect(ends.store(0, 7)).toBe(0);
    expect(ends.heard).toEqual([0, 1, 2].map((time) => `store 4 at 10001070: ${time}`).concat('store 4 at 0: 7'));
  });
});
