/**
 * A process of its own that writes to a disk image until it is killed, for tests: `node write-disk.ts PATH SEED FIRST`. Write n, from FIRST
 * on, fills `writeOf(SEED, n)` with n; "n" on stdout says that all writes up to n are flushed.
 */

import { argv, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';
import { writeSync } from 'node:fs';
import { openDisks } from '../disks.ts';
import { parseDiskSpec } from '../disk-spec.ts';

export const SECTOR_BYTES = 512;
export const SECTORS = 8192;
/** Writes between two flushes, at the most. */
const BATCH = 12;

/** Where write `number` goes: first sector and how many. */
export function writeOf(seed: number, number: number): { readonly first: number; readonly sectors: number } {
  const random = scramble(scramble(seed) + number);
  const sectors = 1 + (random % (random % 5 === 0 ? 200 : 9));
  return { first: scramble(random) % (SECTORS - sectors), sectors };
}

/** A number of 32 bits that looks like chance, and is the same for the same value. */
export function scramble(value: number): number {
  let mixed = value >>> 0;
  for (const factor of [0x7feb_352d, 0x846c_a68b]) {
    mixed ^= mixed >>> 16;
    mixed = Math.imul(mixed, factor) >>> 0;
  }
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

async function writeForever(path: string, seed: number, first: number): Promise<never> {
  const { disks } = await openDisks([parseDiskSpec(path)]);
  const [disk] = disks;
  if (disk === undefined) throw new Error('there is no disk');
  for (let number = first; ;) {
    const end = number + 1 + (scramble(number) % BATCH);
    const writes: Promise<void>[] = [];
    for (; number < end; number++) {
      const { first: sector, sectors } = writeOf(seed, number);
      const bytes = new Uint32Array((sectors * SECTOR_BYTES) / 4).fill(number);
      // Those that touch must not be under way together.
      await Promise.all(writes.splice(0));
      writes.push(disk.store.write(sector * SECTOR_BYTES, [new Uint8Array(bytes.buffer)]));
    }
    await Promise.all(writes);
    await disk.store.flush();
    writeSync(stdout.fd, `${number - 1}\n`);
  }
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [path = '', seed, first] = argv.slice(2);
  await writeForever(path, Number(seed), Number(first));
}
