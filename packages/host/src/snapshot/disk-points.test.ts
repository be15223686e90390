import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseDiskSpec } from '../disk/disk-spec.ts';
import { type OpenDisks, openDisks } from '../disk/disks.ts';
import { diskOptions, pointDisks } from './disk-points.ts';
import { SnapshotStore } from './snapshot-store.ts';
import { smallMachine } from './testing/small-machine.ts';

const MiB = 1024 * 1024;

let folder: string;
let store: SnapshotStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-disk-points-'));
  mkdirSync(join(folder, 'disks'));
  store = new SnapshotStore(join(folder, 'snapshots'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);
const qemuImg = (...words: string[]): string => execFileSync('qemu-img', words, { encoding: 'utf8' });
const open = (...specs: string[]): Promise<OpenDisks> => openDisks(specs.map((spec) => parseDiskSpec(spec)));

/** What a disk holds, as a raw image that QEMU compares with. */
async function contentOf(disks: OpenDisks, index: number): Promise<string> {
  const disk = disks.disks[index]?.store;
  if (disk === undefined) throw new Error(`there is no disk ${index}`);
  const bytes = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [bytes]);
  const path = at(`content-${randomBytes(4).toString('hex')}`);
  writeFileSync(path, bytes);
  return path;
}

async function put(disks: OpenDisks, index: number, offset: number, bytes: Uint8Array): Promise<void> {
  await disks.disks[index]?.store.write(offset, [bytes]);
}

/** QEMU finds the image whole, and its content that of the raw one. */
function expectSame(image: string, raw: string): void {
  expect(qemuImg('check', '-f', 'qcow2', image)).toContain('No errors were found');
  expect(qemuImg('compare', '-f', 'qcow2', '-F', 'raw', image, raw)).toContain('Images are identical');
}

const allocated = (path: string): number => statSync(path).blocks * 512;

describe('the disks of a snapshot', () => {
  test('are qcow2 images that QEMU finds whole, as they were at that moment, each with what differs from what is behind', async () => {
    writeFileSync(at('base'), randomBytes(8 * MiB));
    qemuImg('create', '-q', '-f', 'qcow2', '-b', at('base'), '-F', 'raw', at('disks/system.qcow2'));
    qemuImg('create', '-q', '-f', 'raw', at('disks/data'), '5M');
    const disks = await open(at('disks/system.qcow2'), `${at('disks/data')},format=raw`);
    await put(disks, 0, MiB, randomBytes(300_032));
    await put(disks, 1, 4 * MiB, randomBytes(MiB));
    const raws = [await contentOf(disks, 0), await contentOf(disks, 1)];
    const { request } = await smallMachine(2);
    const { finished } = await store.hold('one', { ...request(), disks: disks.disks });
    // While it is written.
    await put(disks, 0, 0, randomBytes(MiB));
    await put(disks, 1, 0, randomBytes(MiB));
    const { manifest } = await finished;
    for (const [index, raw] of raws.entries()) expectSame(at(`snapshots/one/disk${index}.qcow2`), raw);
    expect(allocated(at('snapshots/one/disk0.qcow2'))).toBeLessThan(2 * MiB);
    expect(manifest.disks.map(({ behind }) => behind)).toEqual([
      [
        {
          path: '../../base',
          format: 'raw',
          bytes: 8 * MiB,
          sha256: createHash('sha256')
            .update(readFileSync(at('base')))
            .digest('hex'),
        },
      ],
      [],
    ]);
    expect(readdirSync(at('snapshots/one')).toSorted()).toEqual([
      'disk0.qcow2',
      'disk1.qcow2',
      'index',
      'manifest.json',
      'pages',
    ]);

    // One that builds on it has what was written since.
    await put(disks, 0, 5 * MiB, randomBytes(65_536));
    const then = await contentOf(disks, 0);
    const parent = store.open('one');
    await store.take('two', { ...request(), parent, disks: disks.disks });
    parent.close();
    expectSame(at('snapshots/two/disk0.qcow2'), then);
    expect(allocated(at('snapshots/two/disk0.qcow2'))).toBeLessThan(2 * MiB);
    expect(qemuImg('info', at('snapshots/two/disk0.qcow2'))).toContain('../one/disk0.qcow2');
    await disks.close();
  });

  test('have what is in an image that may be gone soon, and do not need it', async () => {
    writeFileSync(at('base'), randomBytes(2 * MiB));
    qemuImg('create', '-q', '-f', 'qcow2', '-b', at('base'), '-F', 'raw', at('disks/passing.qcow2'));
    const made = await open(at('disks/passing.qcow2'));
    await put(made, 0, MiB, randomBytes(300_032));
    await made.close();
    const disks = await openDisks([{ ...parseDiskSpec(`${at('disks/passing.qcow2')},snapshot`), isPassing: true }]);
    await put(disks, 0, 0, randomBytes(65_536));
    const raw = await contentOf(disks, 0);
    const { request } = await smallMachine(2);
    rmSync(at('disks'), { recursive: true });
    const { manifest } = await store.take('one', { ...request(), disks: disks.disks });
    await disks.close();
    expect(manifest.disks[0]?.behind.map(({ path }) => path)).toEqual(['../../base']);
    expectSame(at('snapshots/one/disk0.qcow2'), raw);
  });

  test('have what is in another snapshot that was removed, when a machine goes on from that', async () => {
    writeFileSync(at('base'), randomBytes(2 * MiB));
    const first = await open(`${at('base')},snapshot`);
    await put(first, 0, 0, randomBytes(MiB));
    const { request } = await smallMachine(2);
    await store.take('one', { ...request(), disks: first.disks });
    await first.close();
    const one = store.open('one');
    const second = await open(...diskOptions(one.manifest, one.folder));
    one.close();
    await store.remove('one');
    const raw = await contentOf(second, 0);
    await store.take('two', { ...request(), disks: second.disks });
    await second.close();
    expectSame(at('snapshots/two/disk0.qcow2'), raw);
  });

  test('are had before what is behind them is read, which is hundreds of megabytes', async () => {
    writeFileSync(at('base'), randomBytes(2 * MiB));
    mkdirSync(at('snapshots/new'), { recursive: true });
    const disks = await open(`${at('base')},snapshot`, `${at('base')},readonly`);
    const point = await pointDisks(disks.disks, store.folder, at('snapshots/new'), undefined);
    point.hold();
    // What was read is remembered there.
    expect(readdirSync(store.folder)).toEqual(['new']);
    const written = await point.write();
    const sha256 = createHash('sha256')
      .update(readFileSync(at('base')))
      .digest('hex');
    expect(written.map(({ behind }) => behind.map((image) => image.sha256))).toEqual([[sha256], [sha256]]);
    await point.release();
    await disks.close();
  });

  test('are gone on with, and a snapshot of that stands by itself, or on the other', async () => {
    writeFileSync(at('base'), randomBytes(2 * MiB));
    const first = await open(`${at('base')},snapshot`, `${at('base')},readonly`);
    await put(first, 0, 0, randomBytes(MiB));
    const { request } = await smallMachine(2);
    await store.take('one', { ...request(), disks: first.disks });
    const one = store.open('one');
    const specs = diskOptions(one.manifest, one.folder);
    const second = await open(...specs);
    expect(await contentOf(second, 0).then(readFileSync)).toEqual(await contentOf(first, 0).then(readFileSync));
    await put(second, 0, 65_536, randomBytes(65_536));
    const raw = await contentOf(second, 0);
    await store.take('alone', { ...request(), disks: second.disks });
    await store.take('on-it', { ...request(), disks: second.disks, parent: one });
    // Back to the first, and from there: what was written since is taken back.
    const other = await open(...specs);
    const two = store.open('on-it');
    const was = await contentOf(other, 0);
    await store.take('back', { ...request(), disks: other.disks, parent: two });
    expectSame(at('snapshots/back/disk0.qcow2'), was);
    expectSame(at('snapshots/alone/disk0.qcow2'), raw);
    expectSame(at('snapshots/on-it/disk0.qcow2'), raw);
    expect(qemuImg('info', at('snapshots/alone/disk0.qcow2'))).toContain('backing file: ../../base');
    expect(allocated(at('snapshots/on-it/disk0.qcow2'))).toBeLessThan(MiB);
    one.close();
    two.close();
    for (const each of [first, second, other]) await each.close();
  });

  test('are not touched by another snapshot that is refused meanwhile', async () => {
    qemuImg('create', '-q', '-f', 'raw', at('disks/data'), '5M');
    const disks = await open(`${at('disks/data')},format=raw`);
    await put(disks, 0, 0, randomBytes(5 * MiB));
    const raw = await contentOf(disks, 0);
    const { request } = await smallMachine(2);
    const { finished } = await store.hold('one', { ...request(), disks: disks.disks });
    const point = await pointDisks(disks.disks, at('snapshots'), at('disks'), undefined);
    await point.release();
    await put(disks, 0, 4 * MiB, randomBytes(MiB));
    await finished;
    expectSame(at('snapshots/one/disk0.qcow2'), raw);
    await disks.close();
  });

  test('are refused with any byte changed, and so is what stands behind them', async () => {
    writeFileSync(at('base'), randomBytes(MiB));
    const disks = await open(`${at('base')},snapshot`);
    await put(disks, 0, 0, randomBytes(70_000 - (70_000 % 512)));
    const { request } = await smallMachine(2);
    await store.take('one', { ...request(), disks: disks.disks });
    const one = store.open('one');
    await store.take('two', { ...request(), disks: disks.disks, parent: one });
    one.close();
    await disks.close();
    for (const name of ['base', 'snapshots/one/disk0.qcow2', 'snapshots/two/disk0.qcow2']) {
      const sound = readFileSync(at(name));
      for (const offset of [0, 4096, sound.length - 1, Math.floor(Math.random() * sound.length)]) {
        writeFileSync(at(name), sound.with(offset, (sound[offset] ?? 0) ^ 1));
        expect(() => store.open('two'), `${name} at ${offset}`).toThrow(/^the snapshot "two" cannot be used: /);
      }
      writeFileSync(at(name), sound);
    }
    rmSync(at('base'));
    expect(() => store.open('two')).toThrow(/stands behind its disk disk0, cannot be read: /);
  });
});
