/** Records that are made from what is remembered of words, beside records that are made from the instruction itself. */

import { expect, test } from 'vitest';
import { decode } from '../isa/decode.ts';
import { RECORD } from './layout.ts';
import { decodeRun, writeRecord } from './predecode.ts';

const RECORDS = 4096;

function memory(): { u8: Uint8Array; u16: Uint16Array; i32: Int32Array } {
  const bytes = new ArrayBuffer(RECORDS + 4 * RECORD.BYTES);
  return { u8: new Uint8Array(bytes), u16: new Uint16Array(bytes), i32: new Int32Array(bytes) };
}

/** Words of all kinds in no order, the same each time. */
function* words(count: number): Generator<number> {
  for (let n = 1; n <= count; n++) {
    const word = Math.imul(n, 0x85ebca6b) ^ Math.imul(n >>> 7, 0xc2b2ae35);
    yield (n % 3 === 0 ? word & 0xffff : word | 3) >>> 0;
  }
}

test('the record of a word is that of its instruction, whatever words came before', () => {
  const [run, alone] = [memory(), memory()];
  let legal = 0;
  // Twice, so that what was remembered is found, and driven out by others of its place.
  for (const word of [...words(150_000), ...words(150_000)]) {
    const decoded = decode(word);
    // A branch at the start of a page goes backward out of it, and its record is the same anywhere.
    if ((decoded?.instruction.flow === 'branch' || decoded?.instruction.flow === 'jump') && decoded.imm >= 0) continue;
    run.u16.set([word & 0xffff, word >>> 16]);
    run.u8.fill(0, RECORDS);
    alone.u8.fill(0, RECORDS);
    decodeRun(run, RECORDS, 0, 0);
    writeRecord(alone, RECORDS, decoded);
    const [made, wanted] = [run, alone].map(({ i32 }) => i32.slice(RECORDS / 4, RECORDS / 4 + RECORD.BYTES / 4));
    if (decoded !== undefined) legal++;
    expect([word, ...(made ?? [])]).toEqual([word, ...(wanted ?? [])]);
  }
  expect(legal).toBeGreaterThan(50_000);
}, 60_000);
