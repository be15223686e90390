import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { Domain } from './domain.ts';
import { type PageWork, pageWorkOf } from './page-work.ts';

const PAGES = 8;
let domain: Domain;
let work: PageWork;
/** Host addresses of pages, and of a table. */
let [one, other, packed, table] = [0, 0, 0, 0];

beforeAll(async () => {
  domain = new Domain([{ base: 0, sizeBytes: PAGES * PAGE_SIZE, writable: true }], { codePages: 2 });
  work = await pageWorkOf(domain);
  [one = 0, other = 0, packed = 0, table = 0] = [0, 1, 2, 3].map((index) => domain.guest.host(index, true));
});

const bytesAt = (address: number, length = PAGE_SIZE): Uint8Array => domain.u8.subarray(address, address + length);

/** Pages of what memory is full of, and of what is hard: noise, one byte over and over, short and long periods. */
function* pages(): Generator<Uint8Array> {
  const text = readFileSync(new URL('page-work.ts', import.meta.url));
  const program = readFileSync(process.execPath).subarray(1 << 20, (1 << 20) + 64 * PAGE_SIZE);
  for (let at = 0; at < program.length; at += PAGE_SIZE) yield program.subarray(at, at + PAGE_SIZE);
  yield Uint8Array.from({ length: PAGE_SIZE }, (_, at) => text[at % text.length] ?? 0);
  yield new Uint8Array(PAGE_SIZE);
  for (const period of [1, 3, 4, 7, 255, 4000])
    yield Uint8Array.from({ length: PAGE_SIZE }, (_, at) => (at % period) + 1);
  let state = 7;
  const noise = (): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 24;
  yield Uint8Array.from({ length: PAGE_SIZE }, noise);
  for (const known of [14, 15, 16, 269, 270, 271, 2000, 4083, 4084, 4091, 4096])
    yield Uint8Array.from({ length: PAGE_SIZE }, (_, at) => (at < known ? noise() : 9));
}

describe('a page', () => {
  test('has the same number as an equal one, and another when any byte differs', () => {
    for (const bytes of pages()) {
      domain.u8.set(bytes, one);
      domain.u8.set(bytes, other);
      expect(work.hashPage(one)).toBe(work.hashPage(other));
      expect(work.equalPages(one, other)).toBe(1);
      for (const at of [0, 7, 8, 2049, PAGE_SIZE - 1]) {
        domain.u8[other + at] = (domain.u8[other + at] ?? 0) ^ 1;
        expect(work.equalPages(one, other)).toBe(0);
        expect(work.hashPage(one)).not.toBe(work.hashPage(other));
        domain.u8.set(bytes, other);
      }
    }
  });

  test('is zero when every byte is', () => {
    bytesAt(one).fill(0);
    expect(work.isZeroPage(one)).toBe(1);
    for (const at of [0, 100, 2048, PAGE_SIZE - 1]) {
      domain.u8[one + at] = 1;
      expect(work.isZeroPage(one)).toBe(0);
      domain.u8[one + at] = 0;
    }
  });

  test('comes back as it was packed, and nothing around it is written', () => {
    let packs = 0;
    for (const bytes of pages()) {
      domain.u8.set(bytes, one);
      bytesAt(packed).fill(0x55);
      const limit = PAGE_SIZE - 100;
      const length = work.packPage(one, packed, limit, table);
      expect(bytesAt(packed + limit, 100).every((byte) => byte === 0x55)).toBe(true);
      if (length === 0) continue;
      packs++;
      expect(length).toBeLessThanOrEqual(limit);
      bytesAt(other).fill(0xaa);
      expect(work.unpackPage(packed, length, other)).toBe(1);
      expect(work.equalPages(one, other)).toBe(1);
    }
    expect(packs).toBeGreaterThan(20);
  });

  test('is not packed into less than it takes', () => {
    for (const bytes of pages()) {
      domain.u8.set(bytes, one);
      const length = work.packPage(one, packed, PAGE_SIZE - 100, table);
      if (length === 0) continue;
      expect(work.packPage(one, packed, length + 8, table)).toBe(length);
      expect(work.packPage(one, packed, length - 1, table)).toBe(0);
    }
  });

  test('that was damaged while packed is refused, or is some page: nothing else is written', () => {
    const first = [...pages()][0] ?? new Uint8Array(0);
    domain.u8.set(first, one);
    const length = work.packPage(one, packed, PAGE_SIZE - 100, table);
    const block = bytesAt(packed, length).slice();
    const around = [one, table].map((page) => bytesAt(page).slice());
    for (let at = 0; at < length; at++) {
      domain.u8.set(block, packed);
      domain.u8[packed + at] = (domain.u8[packed + at] ?? 0) ^ 0xff;
      work.unpackPage(packed, length, other);
    }
    expect(bytesAt(one)).toEqual(around[0]);
    expect(bytesAt(table)).toEqual(around[1]);
    expect(work.unpackPage(packed, length - 1, other)).toBe(0);
  });

  test.runIf(spawnSync('lz4', ['--version']).status === 0)('packed is what lz4 unpacks', () => {
    const frames: Uint8Array[] = [];
    const wanted: Uint8Array[] = [];
    for (const bytes of pages()) {
      domain.u8.set(bytes, one);
      const length = work.packPage(one, packed, PAGE_SIZE - 100, table);
      if (length === 0) continue;
      frames.push(lz4Frame(bytesAt(packed, length)));
      wanted.push(bytes);
    }
    const { stdout, status } = spawnSync('lz4', ['-d', '-c'], { input: Buffer.concat(frames) });
    expect(status).toBe(0);
    expect(stdout.equals(Buffer.concat(wanted))).toBe(true);
  });
});

/** An LZ4 frame (1.6.2) of one block: version 1, independent blocks, 64 KiB at most; the checksum of those two bytes. */
function lz4Frame(block: Uint8Array): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(block.length);
  return Buffer.concat([Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]), size, block, Buffer.alloc(4)]);
}
