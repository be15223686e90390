/** Random reads, writes, zeroes, discards, flushes and reopenings against a flat model, with QEMU's opinion of the image after each run. */

import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeFileSync } from 'node:fs';
import { openDisk } from '../open-disk.ts';
import { createQcow2 } from './create-qcow2.ts';
import { CLEAN, ImageFolder, check, hasQemuImg, nodeDecompress, qemu } from './testing/qemu-img.ts';

const KiB = 1024;

interface Shape {
  readonly what: string;
  readonly clusterBytes: number;
  readonly sizeBytes: number;
  readonly refcountBits?: number;
  readonly subclusters?: boolean;
  readonly compat?: '0.10';
  readonly snapshot?: boolean;
  readonly backing?: 'raw' | 'compressed' | 'zstd' | 'short';
  readonly preallocation?: 'metadata' | 'full';
  /** Who makes the image. */
  readonly by: 'us' | 'qemu';
  /** Compressed clusters in the image itself. */
  readonly compressed?: 'zlib' | 'zstd';
}

const SHAPES: readonly Shape[] = [
  { what: 'of our making', by: 'us', clusterBytes: 64 * KiB, sizeBytes: 3000 * KiB },
  { what: "of QEMU's making", by: 'qemu', clusterBytes: 64 * KiB, sizeBytes: 3000 * KiB },
  { what: 'with the smallest clusters', by: 'us', clusterBytes: 512, sizeBytes: 500 * KiB },
  { what: 'with counts of one bit', by: 'us', clusterBytes: 512, sizeBytes: 300 * KiB, refcountBits: 1 },
  { what: 'with counts of four bits', by: 'qemu', clusterBytes: 1024, sizeBytes: 300 * KiB, refcountBits: 4 },
  {
    what: 'with counts of 64 bits, whose table must grow',
    by: 'us',
    clusterBytes: 512,
    sizeBytes: 4000 * KiB,
    refcountBits: 64,
  },
  { what: 'with the largest clusters', by: 'us', clusterBytes: 2048 * KiB, sizeBytes: 9000 * KiB },
  { what: 'of version 2', by: 'qemu', clusterBytes: 4 * KiB, sizeBytes: 700 * KiB, compat: '0.10' },
  {
    what: 'of version 2 over another',
    by: 'qemu',
    clusterBytes: 4 * KiB,
    sizeBytes: 700 * KiB,
    compat: '0.10',
    backing: 'raw',
  },
  { what: 'over a raw disk', by: 'us', clusterBytes: 16 * KiB, sizeBytes: 1500 * KiB, backing: 'raw' },
  { what: 'over a shorter disk', by: 'us', clusterBytes: 16 * KiB, sizeBytes: 1500 * KiB, backing: 'short' },
  { what: 'over a compressed image', by: 'us', clusterBytes: 64 * KiB, sizeBytes: 1500 * KiB, backing: 'compressed' },
  {
    what: 'over an image compressed with zstd',
    by: 'qemu',
    clusterBytes: 32 * KiB,
    sizeBytes: 1500 * KiB,
    backing: 'zstd',
  },
  { what: 'that is compressed itself', by: 'qemu', clusterBytes: 16 * KiB, sizeBytes: 900 * KiB, compressed: 'zlib' },
  {
    what: 'that is compressed with zstd itself',
    by: 'qemu',
    clusterBytes: 4 * KiB,
    sizeBytes: 900 * KiB,
    compressed: 'zstd',
  },
  { what: 'that a snapshot shares', by: 'qemu', clusterBytes: 4 * KiB, sizeBytes: 900 * KiB, snapshot: true },
  { what: 'with subclusters', by: 'us', clusterBytes: 64 * KiB, sizeBytes: 3000 * KiB, subclusters: true },
  {
    what: 'with subclusters over a raw disk',
    by: 'us',
    clusterBytes: 16 * KiB,
    sizeBytes: 1500 * KiB,
    subclusters: true,
    backing: 'raw',
  },
  {
    what: 'with subclusters that a snapshot shares',
    by: 'qemu',
    clusterBytes: 16 * KiB,
    sizeBytes: 900 * KiB,
    subclusters: true,
    snapshot: true,
  },
  {
    what: 'with subclusters, compressed',
    by: 'qemu',
    clusterBytes: 16 * KiB,
    sizeBytes: 900 * KiB,
    subclusters: true,
    compressed: 'zlib',
  },
  { what: 'with places prepared', by: 'qemu', clusterBytes: 16 * KiB, sizeBytes: 900 * KiB, preallocation: 'metadata' },
  { what: 'with everything prepared', by: 'qemu', clusterBytes: 16 * KiB, sizeBytes: 900 * KiB, preallocation: 'full' },
];

const folder = { current: undefined as ImageFolder | undefined };
const images = (): ImageFolder => {
  if (folder.current === undefined) throw new Error('there is no folder');
  return folder.current;
};
beforeAll(() => {
  folder.current = new ImageFolder();
});
afterAll(() => images().remove());

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + (index >> 9) * 13 + seed * 31 + 1) & 0xff);
}

/** Compresses well, and is different everywhere. */
function text(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = at % 64 < 8 ? (at >> 6) & 0xff : 0x2e;
  return bytes;
}

let made = 0;
let requests = 0;

/** Makes the image; gives its path and what it shows. */
async function make(shape: Shape): Promise<{ readonly path: string; readonly model: Uint8Array }> {
  const number = made++;
  const { sizeBytes, clusterBytes } = shape;
  const model = new Uint8Array(sizeBytes);
  const folderNow = images();
  let backing: { readonly name: string; readonly format: 'raw' | 'qcow2' } | undefined;
  if (shape.backing !== undefined) {
    const content = text(shape.backing === 'short' ? Math.floor(sizeBytes / 2 / 512) * 512 : sizeBytes);
    model.set(content);
    const raw = folderNow.at(`base${number}.img`);
    writeFileSync(raw, content);
    backing = { name: `base${number}.img`, format: 'raw' };
    if (shape.backing === 'compressed' || shape.backing === 'zstd') {
      const type = shape.backing === 'zstd' ? ['-o', 'compression_type=zstd'] : [];
      backing = { name: `base${number}.qcow2`, format: 'qcow2' };
      qemu('qemu-img', 'convert', '-c', ...type, '-O', 'qcow2', raw, folderNow.at(backing.name));
    }
  }
  if (shape.by === 'us') {
    const path = await folderNow.make(`disk${number}.qcow2`, (file) =>
      createQcow2(file, {
        sizeBytes,
        clusterBytes,
        ...(shape.refcountBits === undefined ? {} : { refcountBits: shape.refcountBits }),
        ...(shape.subclusters === undefined ? {} : { subclusters: shape.subclusters }),
        ...(backing === undefined ? {} : { backing }),
      }),
    );
    return { path, model };
  }
  const path = folderNow.at(`disk${number}.qcow2`);
  const settings = [`cluster_size=${clusterBytes}`];
  if (shape.refcountBits !== undefined) settings.push(`refcount_bits=${shape.refcountBits}`);
  if (shape.compat !== undefined) settings.push(`compat=${shape.compat}`);
  if (shape.subclusters === true) settings.push('extended_l2=on');
  if (shape.preallocation !== undefined) settings.push(`preallocation=${shape.preallocation}`);
  if (shape.compressed !== undefined) {
    const raw = folderNow.at(`source${number}.img`);
    model.set(text(sizeBytes));
    // Some of it cannot be compressed.
    let noise = 1;
    for (let at = sizeBytes - 100_000; at < sizeBytes; at++) {
      noise = (Math.imul(noise, 1_103_515_245) + 12_345) >>> 0;
      model[at] = noise >>> 16;
    }
    writeFileSync(raw, model);
    const type = shape.compressed === 'zstd' ? ['compression_type=zstd'] : [];
    qemu('qemu-img', 'convert', '-c', '-O', 'qcow2', '-o', [...settings, ...type].join(), raw, path);
    return { path, model };
  }
  const behind = backing === undefined ? [] : ['-b', backing.name, '-F', backing.format];
  qemu('qemu-img', 'create', '-q', '-f', 'qcow2', ...behind, '-o', settings.join(), path, String(sizeBytes));
  if (shape.snapshot === true) {
    const write = (value: number, at: number, length: number): void => {
      qemu('qemu-io', '-c', `write -P ${value} ${at} ${length}`, path);
      model.fill(value, at, at + length);
    };
    write(0x11, 0, 200 * KiB);
    write(0x22, 300 * KiB, 4096);
    qemu('qemu-img', 'snapshot', '-c', 'before', path);
    write(0x33, 100 * KiB, 20 * KiB);
  }
  return { path, model };
}

interface Operation {
  readonly kind: 'read' | 'write' | 'zeroes' | 'discard' | 'flush' | 'reopen';
  readonly at: number;
  readonly length: number;
  readonly seed: number;
  readonly mayDiscard: boolean;
  /** Goes on without waiting for it. */
  readonly beside: boolean;
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.oneof(
    { weight: 4, arbitrary: fc.constant('write' as const) },
    { weight: 3, arbitrary: fc.constant('read' as const) },
    { weight: 2, arbitrary: fc.constantFrom('zeroes' as const, 'discard' as const) },
    { weight: 1, arbitrary: fc.constantFrom('flush' as const, 'reopen' as const) },
  ),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 300_000 })),
  seed: fc.nat(255),
  mayDiscard: fc.boolean(),
  beside: fc.boolean(),
});

async function runAgainstModel(shape: Shape, operations: readonly Operation[]): Promise<void> {
  const { path, model } = await make(shape);
  const folderNow = images();
  const open = () => openDisk(folderNow, path, { readOnly: false, decompress: nodeDecompress });
  let { store } = await open();
  expect(store.sizeBytes).toBe(shape.sizeBytes);
  /** Of those that go on beside: no two of them may touch. */
  let busy: { from: number; to: number; done: Promise<void> }[] = [];
  requests += operations.length;
  for (const { kind, at, length, seed, mayDiscard, beside } of operations) {
    const sector = seed % 3 === 0 ? 1 : 512;
    const from = Math.min(Math.floor((at * shape.sizeBytes) / sector) * sector, shape.sizeBytes - 1);
    const bytes = Math.min(Math.ceil(length / sector) * sector, shape.sizeBytes - from);
    const to = from + bytes;
    await Promise.all(
      busy.filter((other) => kind === 'reopen' || (other.from < to && from < other.to)).map(({ done }) => done),
    );
    let done: Promise<void>;
    switch (kind) {
      case 'write': {
        const data = pattern(bytes, seed);
        model.set(data, from);
        const cut = Math.floor(bytes / 3);
        done = store.write(from, [data.subarray(0, cut), new Uint8Array(0), data.subarray(cut)]);
        break;
      }
      case 'read': {
        const into = [new Uint8Array(Math.min(100, bytes)), new Uint8Array(Math.max(0, bytes - 100))];
        const expected = model.slice(from, to);
        done = (async () => {
          await store.read(from, into);
          expect(Buffer.compare(Buffer.concat(into), expected), `bytes ${from} to ${to}`).toBe(0);
        })();
        break;
      }
      case 'zeroes':
        model.fill(0, from, to);
        done = store.writeZeroes(from, bytes, mayDiscard);
        break;
      case 'discard': {
        await Promise.all(busy.map((other) => other.done));
        const before = model.slice(from, to);
        await store.discard(from, bytes);
        const after = new Uint8Array(bytes);
        await store.read(from, [after]);
        expect(after.every((byte, index) => byte === 0 || byte === before[index])).toBe(true);
        model.set(after, from);
        done = Promise.resolve();
        break;
      }
      case 'flush':
        done = store.flush();
        break;
      case 'reopen':
        await Promise.all(busy.map((other) => other.done));
        await store.close();
        folderNow.save(path);
        ({ store } = await open());
        done = Promise.resolve();
        break;
    }
    if (beside && kind !== 'discard') busy.push({ from, to, done });
    else await done;
    if (busy.length > 8) {
      await Promise.all(busy.map((other) => other.done));
      busy = [];
    }
  }
  await Promise.all(busy.map((other) => other.done));
  const whole = new Uint8Array(shape.sizeBytes);
  await store.read(0, [whole]);
  expect(Buffer.compare(whole, model)).toBe(0);
  await store.close();
  folderNow.save(path);
  expect(check(path)).toEqual(CLEAN);
  expect(Buffer.compare(folderNow.content(path), model)).toBe(0);
  if (shape.snapshot === true) {
    // The snapshot shows what it was taken of.
    qemu('qemu-img', 'snapshot', '-a', 'before', path);
    const old = folderNow.content(path);
    const expected = new Uint8Array(shape.sizeBytes);
    expected.fill(0x11, 0, 200 * KiB);
    expected.fill(0x22, 300 * KiB, 300 * KiB + 4096);
    expect(Buffer.compare(old, expected)).toBe(0);
    qemu('qemu-img', 'snapshot', '-d', 'before', path);
    expect(check(path)).toEqual(CLEAN);
  }
}

describe.skipIf(!hasQemuImg)(
  'a thousand random requests behave like those of an array, and QEMU finds nothing wrong, with an image',
  () => {
    test.each(SHAPES)('$what', async (shape) => {
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { minLength: 20, maxLength: 120, size: 'max' }), async (operations) =>
          runAgainstModel(shape, operations),
        ),
        {
          numRuns: Number(process.env['QCOW2_RUNS'] ?? 6),
          interruptAfterTimeLimit: 120_000,
          markInterruptAsFailure: false,
        },
      );
    });

    test('of all kinds, more than a thousand of them', () => {
      expect(requests).toBeGreaterThan(1000);
    });
  },
);
