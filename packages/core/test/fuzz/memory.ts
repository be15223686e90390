/**
 * Guest memory as devices reach it (machine/ram.ts), against an array that says what lies where: any address, any size. What is outside is
 * refused, nothing of the domain but the guest's own pages is ever seen or changed.
 */

import * as fc from 'fast-check';
import { guestPhysical } from '../../src/base/numbers.ts';
import { Domain } from '../../src/engine/domain.ts';
import { Ram } from '../../src/machine/ram.ts';

const BASE = 0x8000_0000;
const SIZE = 64 * 1024;
const ROM = { base: 0x1000, size: 4096 };

const address = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: BASE - 8, max: BASE + SIZE + 8 }) },
  { weight: 2, arbitrary: fc.integer({ min: ROM.base - 8, max: ROM.base + ROM.size + 8 }) },
  fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32 + BASE, 2 ** 40, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1),
);
const KINDS = [
  'load8',
  'load16',
  'load32',
  'load64',
  'store8',
  'store16',
  'store32',
  'read',
  'write',
  'views',
  'forget',
] as const;

const access = fc.record({
  kind: fc.constantFrom(...KINDS),
  address,
  size: fc.oneof(fc.nat(9000), fc.constantFrom(0, 1, SIZE, SIZE + 1)),
  value: fc.nat(0xffff_ffff),
});

export function memoryAccesses(): fc.IAsyncProperty<[unknown]> {
  // A domain is dear to make; each run leaves what it wrote, and the model goes along.
  const domain = new Domain([
    { base: guestPhysical(BASE), sizeBytes: SIZE, writable: true },
    { base: guestPhysical(ROM.base), sizeBytes: ROM.size, writable: false },
  ]);
  const ram = new Ram(domain.guest);
  const model = { ram: new Uint8Array(SIZE), rom: new Uint8Array(ROM.size) };
  const part = (
    at: number,
    size: number,
  ): { readonly bytes: Uint8Array; readonly from: number; readonly writable: boolean } | undefined => {
    if (at >= BASE && at + size <= BASE + SIZE) return { bytes: model.ram, from: at - BASE, writable: true };
    if (at >= ROM.base && at + size <= ROM.base + ROM.size)
      return { bytes: model.rom, from: at - ROM.base, writable: false };
    return undefined;
  };
  const same = (what: string, got: unknown, expected: unknown): void => {
    if (JSON.stringify(got) !== JSON.stringify(expected))
      throw new Error(`${what} gave ${String(got)} and not ${String(expected)}`);
  };
  return fc.asyncProperty(fc.array(access, { maxLength: 60 }), async (accesses) => {
    for (const { kind, address: at, size, value } of accesses) {
      const what = `${kind} at ${at.toString(16)} of ${size}`;
      switch (kind) {
        case 'load8':
        case 'load16':
        case 'load32':
        case 'load64': {
          const width = Number(kind.slice(4)) / 8;
          const there = part(at, width);
          const expected =
            there &&
            [...there.bytes.subarray(there.from, there.from + width)].reduceRight((sum, octet) => sum * 256 + octet, 0);
          same(what, ram[kind](at), expected === undefined ? undefined : Math.min(expected, Number.MAX_SAFE_INTEGER));
          break;
        }
        case 'store8':
        case 'store16':
        case 'store32': {
          const width = Number(kind.slice(5)) / 8;
          const there = part(at, width);
          const fits = value % 2 ** (8 * width);
          same(what, ram[kind](at, fits), there?.writable === true);
          if (there?.writable === true)
            for (let octet = 0; octet < width; octet++)
              there.bytes[there.from + octet] = Math.floor(fits / 256 ** octet) % 256;
          break;
        }
        case 'read': {
          const into = new Uint8Array(size).fill(0xaa);
          const there = part(at, size);
          same(what, ram.read(at, into), there !== undefined);
          const expected =
            there === undefined ? new Uint8Array(size).fill(0xaa) : there.bytes.subarray(there.from, there.from + size);
          if (Buffer.compare(into, expected) !== 0) throw new Error(`${what} gave other octets`);
          break;
        }
        case 'write': {
          const bytes = new Uint8Array(size).fill(value & 0xff);
          const there = part(at, size);
          same(what, ram.write(at, bytes), there?.writable === true);
          if (there?.writable === true) there.bytes.set(bytes, there.from);
          break;
        }
        case 'views': {
          const forWrite = value % 2 === 0;
          const there = part(at, size);
          const isThere = there !== undefined && (there.writable || !forWrite);
          const views = ram.views(at, size, forWrite);
          same(what, views !== undefined, isThere);
          if (views === undefined || there === undefined) break;
          if (Buffer.compare(Buffer.concat(views), there.bytes.subarray(there.from, there.from + size)) !== 0)
            throw new Error(`${what} lent other octets`);
          ram.release(at, size, forWrite);
          break;
        }
        case 'forget': {
          const page = at - (at % 4096);
          const there = part(page, 4096);
          same(what, ram.forget([{ address: page, size: 4096 }]), there?.writable === true);
          if (there?.writable === true) there.bytes.fill(0, there.from, there.from + 4096);
          break;
        }
      }
    }
    if (ram.loans !== 0) throw new Error(`${ram.loans} loans are not given back`);
    // Everything together: nothing was written beside where it should be.
    const all = new Uint8Array(SIZE);
    ram.read(BASE, all);
    if (Buffer.compare(all, model.ram) !== 0) throw new Error('memory is not what was written');
  }) as fc.IAsyncProperty<[unknown]>;
}
