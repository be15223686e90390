import { mkdtempSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeArrived } from './arrived-note.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-arrived-'));
  path = join(folder, 'arrived.json');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Writes, and then says that it failed, so many times. */
const failing = (times: number, code: string): typeof writeSync => {
  let left = times;
  return ((file: number, text: string, at?: number) => {
    const written = writeSync(file, text, at);
    if (left-- > 0) throw Object.assign(new Error(code), { code });
    return written;
  }) as typeof writeSync;
};

test('that a machine is here is read as it was written', () => {
  writeArrived(path, 'm');
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ migration: 'm' });
});

test.each(['ENOSPC', 'EIO'])('after %s nothing says that it is here, and the machine is refused', (code) => {
  expect(() => writeArrived(path, 'm', failing(1, code))).toThrow(expect.objectContaining({ code }));
  expect(readFileSync(path, 'utf8').trim()).toBe('');
});

test('where it may be read although it could not be written, the machine is not refused', () => {
  expect(() => writeArrived(path, 'm', failing(2, 'EIO'))).toThrow(expect.objectContaining({ code: 'lost' }));
  // The system's own: a file that takes nothing, and cannot be cut.
  expect(() => writeArrived('/dev/full', 'm')).toThrow(expect.objectContaining({ code: 'lost' }));
});
