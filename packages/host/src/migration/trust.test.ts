/** Which daemons are trusted, and with which labels: what is kept of it, and what is refused. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Trust } from './trust.ts';

const [ONE, OTHER] = ['1'.repeat(64), '2'.repeat(64)];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-trust-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('machines of a daemon that is trusted', () => {
  test('keep no label, but those that it is trusted with', () => {
    const trust = new Trust(folder);
    trust.add(ONE);
    expect(trust.mayKeep(ONE, 'shop')).toBe(false);
    trust.add(ONE, ['shop', 'bank']);
    trust.add(OTHER);
    expect([trust.mayKeep(ONE, 'shop'), trust.mayKeep(ONE, 'shops'), trust.mayKeep(OTHER, 'shop')]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('keep what was said, one label after the other, also when it is read again', () => {
    const trust = new Trust(folder);
    trust.add(ONE, ['shop']);
    trust.add(ONE, ['bank', 'shop']);
    // Whoever says that it is trusted says nothing of labels.
    trust.add(ONE);
    expect([trust.labels, new Trust(folder).labels]).toEqual([
      { [ONE]: ['shop', 'bank'] },
      { [ONE]: ['shop', 'bank'] },
    ]);
    trust.remove(ONE, ['shop']);
    expect([new Trust(folder).all, new Trust(folder).labels]).toEqual([[ONE], { [ONE]: ['bank'] }]);
  });

  test('keep none when it is not trusted any more, or again', () => {
    const trust = new Trust(folder);
    trust.add(ONE, ['shop']);
    trust.remove(ONE);
    expect([trust.mayKeep(ONE, 'shop'), trust.labels]).toEqual([false, {}]);
    trust.add(ONE);
    expect(trust.mayKeep(ONE, 'shop')).toBe(false);
  });

  test('are no others than those that are named', () => {
    const trust = new Trust(folder);
    trust.add(ONE, ['shop']);
    expect(() => trust.remove(ONE, ['bank'])).toThrow('may not keep the label "bank"');
    expect(() => trust.remove(OTHER, ['shop'])).toThrow(`no daemon with the fingerprint ${OTHER} is trusted`);
    const many = Array.from({ length: 256 }, (_, index) => `l${index}`);
    expect(() => trust.add(ONE, many)).toThrow('may keep 257 labels then; 256 are the most');
    expect(() => trust.add(OTHER, [...many, 'last'])).toThrow('256 are the most');
    expect([trust.all, trust.labels]).toEqual([[ONE], { [ONE]: ['shop'] }]);
  });
});

test('what cannot be written down is as it was', () => {
  const trust = new Trust(folder);
  trust.add(ONE, ['shop']);
  mkdirSync(join(folder, 'trusted.json.new'));
  for (const change of [
    () => trust.add(ONE, ['bank']),
    () => trust.add(OTHER),
    () => trust.remove(ONE, ['shop']),
    () => trust.remove(ONE),
  ])
    expect(change).toThrow('trusted.json cannot be used');
  expect([trust.all, trust.labels]).toEqual([[ONE], { [ONE]: ['shop'] }]);
});
