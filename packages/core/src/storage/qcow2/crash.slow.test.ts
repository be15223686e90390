/**
 * Power failures and kills at any moment of random work: the image may have leaked clusters, and is otherwise whole in QEMU's eyes; every
 * sector has what it had at the last finished flush, or something that was written later.
 */

import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BlockStore } from '../../base/ports.ts';
import { MemoryBlockStore } from '../memory-block-store.ts';
import { MemoryImageFile } from '../memory-image-file.ts';
import { createQcow2 } from './create-qcow2.ts';
import { Qcow2BlockStore, readQcow2Header } from './qcow2-block-store.ts';
import { Chance, CrashingFile } from './testing/crashing-file.ts';
import { ImageFolder, check, hasQemuImg, qemu } from './testing/qemu-img.ts';

const SECTOR = 512;
const SECTORS = 1024;
const OPERATIONS = 80;
/** Moments of each history at which it ends. */
const CUTS = Number(process.env['QCOW2_CUTS'] ?? 12);
const HISTORIES = Number(process.env['QCOW2_HISTORIES'] ?? 4);

interface Change {
  readonly first: number;
  readonly end: number;
  /** What each sector is filled with. */
  readonly value: number;
  readonly begun: number;
  ended: number;
  /** Sectors may also be as they were. */
  readonly isOptional: boolean;
}

interface Shape {
  readonly what: string;
  readonly clusterBytes: number;
  readonly refcountBits?: number;
  readonly subclusters?: boolean;
  readonly backed?: boolean;
  readonly snapshot?: boolean;
}

const SHAPES: readonly Shape[] = [
  { what: 'an image with small clusters', clusterBytes: 512 },
  { what: 'an image whose refcount table grows', clusterBytes: 512, refcountBits: 64 },
  { what: 'an image with larger clusters', clusterBytes: 4096 },
  { what: 'an image over another', clusterBytes: 4096, backed: true },
  { what: 'an image with subclusters over another', clusterBytes: 16_384, subclusters: true, backed: true },
  { what: 'an image that a snapshot shares', clusterBytes: 1024, snapshot: true },
];

const folders: ImageFolder[] = [];
const folder = (): ImageFolder => {
  const [first] = folders;
  if (first === undefined) throw new Error('there is no folder');
  return first;
};
beforeAll(() => void folders.push(new ImageFolder()));
afterAll(() => folder().remove());

async function startingImage({ clusterBytes, refcountBits, subclusters, snapshot }: Shape): Promise<Uint8Array> {
  const file = new MemoryImageFile('start');
  await createQcow2(file, {
    sizeBytes: SECTORS * SECTOR,
    clusterBytes,
    ...(refcountBits === undefined ? {} : { refcountBits }),
    ...(subclusters === undefined ? {} : { subclusters }),
  });
  if (snapshot !== true) return file.content;
  const path = folder().at('snapshot.qcow2');
  writeFileSync(path, file.content);
  qemu('qemu-io', '-c', `write -P 7 0 ${SECTORS * SECTOR}`, path);
  qemu('qemu-img', 'snapshot', '-c', 'before', path);
  return (await folder().open(path, { readOnly: true })).content.slice();
}

async function open(file: CrashingFile | MemoryImageFile, backing: BlockStore | undefined): Promise<Qcow2BlockStore> {
  return Qcow2BlockStore.open({ file, header: await readQcow2Header(file), backing });
}

describe.skipIf(!hasQemuImg).each(SHAPES)('$what', (shape) => {
  test('is whole whenever the power goes', async () => {
    const start = await startingImage(shape);
    const initial = shape.snapshot === true || shape.backed === true ? 7 : 0;
    const backing =
      shape.backed === true ? new MemoryBlockStore(new Uint8Array(SECTORS * SECTOR).fill(7), true) : undefined;
    for (let history = 1; history <= HISTORIES; history++) {
      const chance = new Chance(history * 7919);
      const file = new CrashingFile(start, chance);
      const changes: Change[] = [];
      const flushes: { readonly begun: number; readonly ended: number }[] = [];
      await work(await open(file, backing), file, chance, changes, flushes);
      for (let cut = 0; cut < CUTS; cut++) {
        const moment = chance.below(file.now + 1);
        const found = new MemoryImageFile('found', file.after(moment, chance, cut % 4 === 0));
        const path = folder().at('found.qcow2');
        writeFileSync(path, found.content);
        const where = `history ${history}, moment ${moment} of ${file.now}`;
        expect(check(path), where).toMatchObject({ corruptions: 0, errors: 0 });
        const disk = await open(found, backing);
        const content = new Uint8Array(SECTORS * SECTOR);
        await disk.read(0, [content]);
        const last = flushes
          .filter(({ ended }) => ended <= moment)
          .reduce((most, { begun }) => Math.max(most, begun), 0);
        for (let sector = 0; sector < SECTORS; sector++) {
          const bytes = content.subarray(sector * SECTOR, (sector + 1) * SECTOR);
          const may = possible(changes, sector, last, moment, initial);
          const value = bytes[0] ?? -1;
          if (!may.has(value) || bytes.some((byte) => byte !== value))
            throw new Error(`${where}: sector ${sector} has ${value}, and may have ${[...may].join()}`);
        }
        // Life goes on.
        await disk.write(0, [new Uint8Array(100 * SECTOR).fill(9)]);
        await disk.discard(200 * SECTOR, 100 * SECTOR);
        await disk.close();
        writeFileSync(path, found.content);
        expect(check(path), `${where}, later`).toMatchObject({ corruptions: 0, errors: 0 });
      }
    }
  });
});

/** What a sector may have at `moment`, when everything that ended before `flushed` is durable. */
function possible(
  changes: readonly Change[],
  sector: number,
  flushed: number,
  moment: number,
  initial: number,
): Set<number> {
  let may = new Set([initial]);
  for (const { first, end, value, begun, ended, isOptional } of changes) {
    if (sector < first || sector >= end || begun > moment) continue;
    if (ended < flushed && !isOptional) may = new Set([value]);
    else may.add(value);
  }
  return may;
}

async function work(
  disk: BlockStore,
  file: CrashingFile,
  chance: Chance,
  changes: Change[],
  flushes: { readonly begun: number; readonly ended: number }[],
): Promise<void> {
  const busy = new Set<{ readonly first: number; readonly end: number; readonly done: Promise<void> }>();
  for (let count = 1; count <= OPERATIONS; count++) {
    const kind = chance.below(10);
    if (kind === 0) {
      const begun = file.tick();
      const done = disk.flush().then(() => void flushes.push({ begun, ended: file.tick() }));
      if (chance.below(2) === 0) await done;
      else busy.add({ first: 0, end: 0, done });
      continue;
    }
    const first = chance.below(SECTORS);
    const end = Math.min(SECTORS, first + 1 + chance.below(chance.below(2) === 0 ? 4 : 120));
    for (const other of busy)
      if (other.first < end && first < other.end) {
        await other.done;
        busy.delete(other);
      }
    const isZero = kind <= 3;
    const change = {
      first,
      end,
      value: isZero ? 0 : 10 + (count % 240),
      begun: file.tick(),
      ended: Infinity,
      isOptional: kind === 1,
    };
    changes.push(change);
    const bytes = (end - first) * SECTOR;
    const request =
      kind === 1
        ? disk.discard(first * SECTOR, bytes)
        : isZero
          ? disk.writeZeroes(first * SECTOR, bytes, kind === 2)
          : disk.write(first * SECTOR, [new Uint8Array(bytes).fill(change.value)]);
    const done = request.then(() => void (change.ended = file.tick()));
    if (chance.below(3) === 0) busy.add({ first, end, done });
    else await done;
  }
  await Promise.all([...busy].map(({ done }) => done));
}
