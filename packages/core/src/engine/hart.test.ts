import { expect, test } from 'vitest';
import { SavedStateError } from '../base/saved.ts';
import { csrIndex } from '../isa/csrs.ts';
import { Domain } from './domain.ts';
import { Engine } from './engine.ts';
import type { Hart } from './hart.ts';
import { HART } from './layout.ts';
import { CSR, csrOffset } from './state.ts';

const RAM = 0x8000_0000;
const STIP = 1 << 5;
const STCE = 1n << 63n;

async function oneHart(): Promise<Hart> {
  const domain = new Domain([{ base: RAM, sizeBytes: 64 * 1024, writable: true }], { codePages: 2 });
  const nobody = { mmioLoad: () => 0, mmioStore: () => 0, readTime: () => {}, timerChanged: () => {} };
  const hart = (await Engine.create(domain, nobody)).addHart(0);
  hart.reset(BigInt(RAM));
  return hart;
}

const index = (number: number): number => csrIndex(number) ?? -1;

test.each([
  ['a value in x0', HART.x, 1n],
  ['privilege level 2', HART.privilege, 2n],
  ['a reserved mode in satp', csrOffset(CSR.satp), 1n << 60n],
  ['bits in mideleg that do not exist', csrOffset(CSR.mideleg), 1n << 20n],
])('a saved hart with %s is refused, and nothing changes', async (_, offset, value) => {
  const hart = await oneHart();
  const good = hart.save();
  const cells = (good as { cells: Uint8Array }).cells.slice();
  new DataView(cells.buffer).setBigUint64(offset, value, true);
  expect(() => hart.restore({ cells })).toThrow(SavedStateError);
  expect(hart.save()).toEqual(good);
});

test('what a hart saved, it takes back', async () => {
  const hart = await oneHart();
  hart.setX(5, 42n);
  hart.writeCsr(index(CSR.satp), (8n << 60n) | 0x80123n);
  const saved = hart.save();
  hart.reset(0n);
  hart.restore(saved);
  expect(hart.x(5)).toBe(42n);
  expect(hart.stored(CSR.satp)).toBe((8n << 60n) | 0x80123n);
});

test('a timer interrupt that software had raised is gone once the comparator drives it', async () => {
  const hart = await oneHart();
  hart.writeCsr(index(0x344), BigInt(STIP));
  expect(hart.get32('softPending')).toBe(STIP);
  hart.writeCsr(index(CSR.menvcfg), STCE);
  expect(hart.get32('softPending')).toBe(0);
});

test('a counter reads from outside what was written to it', async () => {
  const hart = await oneHart();
  expect(hart.readCsr(index(0xb02))).toBe(0n);
});
