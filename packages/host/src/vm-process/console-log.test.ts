import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConsoleLog, MAXIMUM_BYTES } from './console-log.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-console-log-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const LINE_BYTES = 1000;
const line = (number: number): Buffer => Buffer.from(`${String(number).padEnd(LINE_BYTES - 1)}\n`);

test('a guest that never stops writing fills two files of the limit, and the end of it is there', () => {
  const path = join(folder, 'console.log');
  const log = new ConsoleLog(path);
  const lines = Math.floor((3.5 * MAXIMUM_BYTES) / LINE_BYTES);
  for (let number = 0; number < lines; number++) log.write(line(number));
  expect(readdirSync(folder).toSorted()).toEqual(['console.log', 'console.log.1']);
  for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).size).toBeLessThanOrEqual(MAXIMUM_BYTES);
  const kept = Buffer.concat([readFileSync(`${path}.1`), readFileSync(path)]);
  expect(kept.length).toBeGreaterThan(MAXIMUM_BYTES);
  const first = lines - kept.length / LINE_BYTES;
  expect(kept.equals(Buffer.concat(Array.from({ length: lines - first }, (_, at) => line(first + at))))).toBe(true);
});

test('of more at once than a file has room for the end is kept', () => {
  const path = join(folder, 'console.log');
  new ConsoleLog(path).write(Buffer.concat([Buffer.alloc(MAXIMUM_BYTES, 'x'), Buffer.from('the end')]));
  expect(statSync(path).size).toBe(MAXIMUM_BYTES);
  expect(readFileSync(path).subarray(-8).toString()).toBe('xthe end');
});

test('where nothing can be written the machine goes on', () => {
  const log = new ConsoleLog(join(folder, 'no such folder/console.log'));
  for (let number = 0; number < 2000; number++) log.write(line(number));
  expect(readdirSync(folder)).toEqual([]);
});
