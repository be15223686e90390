import { expect, test } from 'vitest';
import { DEFAULT_ENGINE, ENGINES } from './engines.ts';
import { readSettings } from './settings.ts';

const read = (query: string): ReturnType<typeof readSettings> => readSettings(new URLSearchParams(query));

test('an address that asks for nothing gets the defaults', () => {
  expect(read('')).toEqual({ engine: DEFAULT_ENGINE, memoryBytes: 256 * 2 ** 20 });
});

test.each(ENGINES)('the engine %s can be asked for', (engine) => {
  expect(read(`engine=${engine}&memory=1.5G`)).toEqual({ engine, memoryBytes: 1.5 * 2 ** 30 });
});

test.each([
  ['engine=', `engine "" is no engine; there is ${ENGINES.join(', ')}`],
  ['engine=toString', `engine "toString" is no engine; there is ${ENGINES.join(', ')}`],
  ['memory=lots', 'memory "lots" is no size; write it like 512M or 2G'],
  ['memory=1k', 'memory "1k" is too little; the smallest machine has 1 MiB'],
  ['memory=16T', 'memory "16T" is too much; the largest machine has 3.5 GiB'],
])('%s is refused with a sentence', (query, sentence) => {
  expect(() => read(query)).toThrow(`In the address of this page, ${sentence}.`);
});
