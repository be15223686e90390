/** Random changes of a disk, for tests of what follows them. */

import fc from 'fast-check';
import type { BlockStore } from '../../base/ports.ts';

export interface Change {
  readonly kind: 'write' | 'zero' | 'discard';
  readonly sector: number;
  readonly sectors: number;
  readonly value: number;
}

/** Of a disk of so many bytes. */
export function change(sizeBytes: number): fc.Arbitrary<Change> {
  return fc.record<Change>({
    kind: fc.constantFrom('write', 'write', 'zero', 'discard'),
    sector: fc.nat(sizeBytes / 512 - 1),
    sectors: fc.integer({ min: 1, max: 300 }),
    value: fc.integer({ min: 1, max: 255 }),
  });
}

export async function make(store: BlockStore, { kind, sector, sectors, value }: Change): Promise<void> {
  const offset = sector * 512;
  const bytes = Math.min(sectors * 512, store.sizeBytes - offset);
  if (kind === 'write') await store.write(offset, [new Uint8Array(bytes).fill(value)]);
  else if (kind === 'zero') await store.writeZeroes(offset, bytes, true);
  else await store.discard(offset, bytes);
}

export async function contentOf(store: BlockStore): Promise<Uint8Array> {
  const bytes = new Uint8Array(store.sizeBytes);
  await store.read(0, [bytes]);
  return bytes;
}

export function pattern(seed: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, n) => (n * 7 + (n >> 9) * seed) & 0xff);
}
