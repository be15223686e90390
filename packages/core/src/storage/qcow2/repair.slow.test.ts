/** Images that QEMU used with lazy refcounts and that were not closed, as "qemu-io -c abort" leaves them: QEMU finds our repair right. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { spawnSync } from 'node:child_process';
import { openDisk } from '../open-disk.ts';
import { CLEAN, ImageFolder, check, hasQemuImg, nodeDecompress, qemu } from './testing/qemu-img.ts';

const KiB = 1024;
const SIZE = 20_000 * KiB;

const folders: ImageFolder[] = [];
beforeAll(() => void folders.push(new ImageFolder()));
afterAll(() => folders[0]?.remove());

describe.skipIf(!hasQemuImg)('an image whose writer kept no counts and was killed', () => {
  test.each([
    ['with common clusters', ['cluster_size=65536'], false],
    ['with the smallest clusters', ['cluster_size=512'], false],
    ['with counts of one bit', ['cluster_size=4096', 'refcount_bits=1'], false],
    ['with counts of 64 bits', ['cluster_size=512', 'refcount_bits=64'], false],
    ['with subclusters', ['cluster_size=16384', 'extended_l2=on'], false],
    ['with a snapshot', ['cluster_size=4096'], true],
  ])('%s is whole after it was opened', async (_, options, snapshot) => {
    const [folder] = folders;
    if (folder === undefined) throw new Error('there is no folder');
    const path = folder.at(`dirty${options.join()}${snapshot}.qcow2`);
    qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', ['lazy_refcounts=on', ...options].join(), path, String(SIZE));
    const model = new Uint8Array(SIZE);
    const fill = (value: number, at: number, length: number): string[] => {
      model.fill(value, at, at + length);
      return ['-c', `write -P ${value} ${at} ${length}`];
    };
    qemu('qemu-io', ...fill(1, 0, 300 * KiB), path);
    if (snapshot) qemu('qemu-img', 'snapshot', '-c', 'before', path);
    const killed = [...fill(2, 100 * KiB, 50 * KiB), ...fill(3, 10_000 * KiB, 700 * KiB), '-c', 'flush', '-c', 'abort'];
    spawnSync('qemu-io', [...killed, path], { timeout: 60_000 });
    expect(check(path), 'it is broken at first').not.toEqual(CLEAN);

    const { store } = await openDisk(folder, path, { readOnly: false, decompress: nodeDecompress });
    await store.write(5000 * KiB, [new Uint8Array(100 * KiB).fill(4)]);
    model.fill(4, 5000 * KiB, 5100 * KiB);
    await store.close();
    folder.save(path);
    expect(check(path)).toEqual(CLEAN);
    expect(Buffer.compare(folder.content(path), model)).toBe(0);
  });
});
