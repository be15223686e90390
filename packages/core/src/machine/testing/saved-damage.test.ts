import { expect, test } from 'vitest';
import { SavedReader, SavedStateError } from '../../base/saved.ts';
import type { Saved } from '../../base/saved.ts';
import type { Device } from '../device.ts';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import { damagedStates, isPlainData } from './saved-damage.ts';

/** The smallest device with every type of saved value; shows what the suite asks of real ones. */
class Latch implements Device {
  readonly name = 'latch@0';
  level = false;
  count = 0;
  deadline = 0n;
  bytes = new Uint8Array(2);
  words: number[] = [0, 0];

  reset(): void {
    this.level = false;
    this.count = 0;
    this.deadline = 0n;
    this.bytes = new Uint8Array(2);
    this.words = [0, 0];
  }

  save(): Saved {
    return {
      level: this.level,
      count: this.count,
      deadline: this.deadline,
      bytes: this.bytes.slice(),
      words: [...this.words],
    };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.name);
    const level = reader.field('level').boolean();
    const count = reader.field('count').u32();
    const deadline = reader.field('deadline').u64();
    const bytes = reader.field('bytes').bytes(2).slice();
    const words = reader
      .field('words')
      .list(2)
      .map((word) => word.integer(0, 7));
    Object.assign(this, { level, count, deadline, bytes, words });
  }
}

deviceLifecycle('a latch', {
  make: () => new Latch(),
  disturb(latch) {
    latch.level = true;
    latch.count = 7;
    latch.deadline = 1n << 63n;
    latch.bytes[1] = 9;
    latch.words[0] = 3;
  },
  observe: (latch) => latch.level,
  contradictions: { 'one word too many': (saved) => ({ ...(saved as { [key: string]: Saved }), words: [1, 2, 3] }) },
});

test('every value is damaged in turn, in a copy, and the path says which', () => {
  const saved: Saved = { a: 1, list: [{ b: true }, { b: false }, { b: true }] };
  const copy = structuredClone(saved);
  const damaged = damagedStates(saved);
  expect(saved).toEqual(copy);
  const paths = new Set(damaged.map(({ what }) => what.split(' ')[0]));
  expect(paths).toEqual(new Set(['.a', '.list', '.list[0]', '.list[0].b', '.list[2]', '.list[2].b', 'the']));
  expect(damaged.map(({ what }) => what)).toContain('.a is missing');
  expect(damaged.find(({ what }) => what === '.list[2].b is the text "true"')?.state).toEqual({
    a: 1,
    list: [{ b: true }, { b: false }, { b: 'true' }],
  });
});

test('an unbounded path keeps its type checks only', () => {
  const what = (paths: string[]): string[] => damagedStates({ list: [5] }, paths).map((state) => state.what);
  expect(what([])).toContain('.list[0] is -1');
  expect(what(['.list[]'])).not.toContain('.list[0] is -1');
  expect(what(['.list[]'])).toContain('.list[0] is the text "0"');
});

test('plain data is what Saved promises', () => {
  expect(isPlainData({ a: [1n, 'x', null, new Uint8Array(1)] })).toBe(true);
  for (const value of [undefined, () => 0, new Date(), Number.NaN, { a: undefined }, new Uint16Array(1)])
    expect(isPlainData(value)).toBe(false);
});

test('a device that keeps a reference to what it was restored from is found out by its own reader', () => {
  expect(() => new Latch().restore({ level: true })).toThrow(SavedStateError);
});
