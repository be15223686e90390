/** Going on from a kept machine: by what lies beside it alone where that is sound, else by the snapshot itself. */

import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MachineRunner, SnapshotError } from '@ringfence/core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseDiskSpec } from '../disk/disk-spec.ts';
import { type OpenDisks, openDisks } from '../disk/disks.ts';
import { nodeClock } from '../machine/ports.ts';
import { HOT_FILE } from '../snapshot/hot-pages.ts';
import { type SharedPages, sharedPageSource } from '../snapshot/shared-pages.ts';
import { SnapshotStore } from '../snapshot/snapshot-store.ts';
import { type SmallMachine, smallMachine } from '../snapshot/testing/small-machine.ts';
import type { HeldAgentPort } from './held-agent-port.ts';
import type { VMParts } from './assemble.ts';
import { type KeptBoot, type KeptBootKey, KeptBoots, MAXIMUM_KEPT } from './kept-boot.ts';
import { leaveBehind } from './left-behind.ts';

const PAGES = 200;
const NEEDED = 40;
const KEY: KeptBootKey = { name: 'kept', shape: 'a small one' };

let folder: string;
let boots: KeptBoots;
let original: SmallMachine;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-kept-'));
  boots = new KeptBoots(folder);
  original = await smallMachine(PAGES);
  await new SnapshotStore(folder).take(KEY.name, { ...original.request(), about: { shape: KEY.shape } });
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A machine that goes on, touches some pages, and leaves behind which. */
async function goOn(pages: number): Promise<SmallMachine> {
  const blank = await smallMachine(0);
  const kept = await boots.open(KEY);
  kept?.restore(blank.machine);
  for (let page = 0; page < pages; page++) expect(blank.byte(page)).toBe(original.byte(page));
  kept?.keepHotPages(blank.machine);
  return blank;
}

const pathOf = (file: string): string => join(folder, KEY.name, file);

test('once pages were needed, nothing but the file with them is read, until another page is wanted', async () => {
  await goOn(NEEDED);
  const index = readFileSync(pathOf('index'));
  writeFileSync(pathOf('index'), Buffer.alloc(index.length));
  const { byte } = await goOn(NEEDED);
  expect(() => byte(PAGES - 1)).toThrow(SnapshotError);
  writeFileSync(pathOf('index'), index);
  expect(byte(PAGES - 1)).toBe(original.byte(PAGES - 1));
});

test('who removes it takes nothing from a machine that runs', async () => {
  await goOn(NEEDED);
  const { byte } = await goOn(0);
  rmSync(join(folder, KEY.name), { recursive: true });
  for (let page = 0; page < PAGES; page++) expect(byte(page)).toBe(original.byte(page));
});

test.each(['manifest.json', 'index', 'pages'])('it is not gone on from when its %s is missing', async (file) => {
  await goOn(NEEDED);
  rmSync(pathOf(file));
  const { machine } = await smallMachine(0);
  const kept = await boots.open(KEY);
  expect(() => kept?.restore(machine)).toThrow(SnapshotError);
  kept?.close();
});

test('it counts as used from when a machine goes on from it, however long that runs', async () => {
  await goOn(NEEDED);
  utimesSync(join(folder, KEY.name), 1, 1);
  const { machine } = await smallMachine(0);
  (await boots.open(KEY))?.restore(machine);
  expect(statSync(join(folder, KEY.name)).mtimeMs).toBeGreaterThan(1000);
});

test('where that file is broken the snapshot is opened, and the file written anew', async () => {
  await goOn(NEEDED);
  const file = readFileSync(pathOf(HOT_FILE));
  file[140] = (file[140] ?? 0) ^ 1;
  writeFileSync(pathOf(HOT_FILE), file);
  await goOn(NEEDED);
  expect(readFileSync(pathOf(HOT_FILE))[140]).toBe((file[140] ?? 0) ^ 1);
});

describe('one that was kept since under the same name', () => {
  const replace = async (by: SmallMachine): Promise<void> => {
    await boots.remove(KEY);
    await new SnapshotStore(folder).take(KEY.name, { ...by.request(), about: { shape: KEY.shape } });
  };

  test('gives no pages to a machine that went on from the other, and gets none of it', async () => {
    await goOn(NEEDED);
    const blank = await smallMachine(0);
    const kept = await boots.open(KEY);
    kept?.restore(blank.machine);
    await replace(await smallMachine(PAGES));
    for (let page = 0; page < PAGES; page++) expect(blank.byte(page)).toBe(original.byte(page));
    kept?.keepHotPages(blank.machine);
    expect(readdirSync(join(folder, KEY.name)).toSorted()).toEqual(['index', 'manifest.json', 'pages']);
  });

  test('is gone on from alone, whatever the other has left beside it', async () => {
    await goOn(NEEDED);
    const left = readFileSync(pathOf(HOT_FILE));
    const other = await smallMachine(PAGES);
    await replace(other);
    writeFileSync(pathOf(HOT_FILE), left);
    original = other;
    await goOn(PAGES);
  });

  test('is not what another thread takes pages from', async () => {
    await goOn(NEEDED);
    const { machine } = await goOn(0);
    const shared = machine.pages.source?.shared as SharedPages;
    await replace(original);
    const page = new Uint8Array(4096);
    sharedPageSource(shared).load(16 + PAGES - 1, page);
    expect(page[0]).toBe(original.byte(PAGES - 1));
    // As far as it was not open.
    const packs = shared.packs.map(({ path }) => ({ path, descriptors: [] }));
    expect(() => sharedPageSource({ ...shared, packs })).toThrow(/another snapshot/);
  });
});

test('one that is another process’s is gone on from, and nothing of it is added, changed or removed', async () => {
  await goOn(NEEDED);
  const before = readdirSync(join(folder, KEY.name)).toSorted();
  const foreign = new KeptBoots(folder, { isReadOnly: true });
  const { machine } = await smallMachine(0);
  const kept = await foreign.open(KEY);
  kept?.restore(machine);
  expect(kept).toBeDefined();
  await leaveBehind({ start: { kind: 'resume', boots: foreign, kept: kept! }, machine } as unknown as VMParts, true);
  await leaveBehind({ start: { kind: 'resume', boots: foreign, kept: kept! }, machine } as unknown as VMParts, false);
  await foreign.remove(KEY);
  expect(readdirSync(join(folder, KEY.name)).toSorted()).toEqual(before);
});

test('all of it is read when it is doubted, and it is removed when it is not what was written', async () => {
  expect([boots.has(KEY), await boots.verify(KEY)]).toEqual([true, true]);
  const pages = readFileSync(pathOf('pages'));
  pages[pages.length - 1] = (pages.at(-1) ?? 0) ^ 1;
  writeFileSync(pathOf('pages'), pages);
  expect([await boots.verify(KEY), boots.has(KEY)]).toEqual([false, false]);
});

test('one that was kept of a machine of another shape is removed, and is none', async () => {
  expect(await boots.open({ ...KEY, shape: 'another one' })).toBeUndefined();
  expect(await boots.open(KEY)).toBeUndefined();
});

describe('one with a disk', () => {
  const WITH_DISK: KeptBootKey = { name: 'with-disk', shape: 'one with a disk' };
  let disks: OpenDisks;
  beforeEach(async () => {
    writeFileSync(join(folder, '.base'), Buffer.alloc(1 << 20, 7));
    disks = await openDisks([parseDiskSpec(`${join(folder, '.base')},snapshot`)]);
    await keptAgain();
  });
  afterEach(() => disks.close());

  const keptAgain = (): Promise<unknown> =>
    new SnapshotStore(folder).take(WITH_DISK.name, {
      ...original.request(),
      disks: disks.disks,
      about: { shape: WITH_DISK.shape },
    });
  const open = ({ diskPath }: KeptBoot): Promise<OpenDisks> =>
    openDisks([parseDiskSpec(`${diskPath},format=qcow2,snapshot`)]);
  const kept = async (): Promise<KeptBoot> => {
    const found = await boots.open(WITH_DISK, true);
    if (found === undefined) throw new Error('nothing is kept');
    return found;
  };

  test('gives its own, and none that was kept since', async () => {
    const one = await kept();
    await (await one.withDisk(() => open(one))).close();
    await boots.remove(WITH_DISK);
    await keptAgain();
    await expect(one.withDisk(() => open(one))).rejects.toThrow('the machine that was kept is another one by now');
    one.close();
  });

  test.each([
    ['of another content', (path: string) => writeFileSync(path, Buffer.alloc(statSync(path).size))],
    ['that was removed meanwhile', (path: string) => rmSync(join(path, '..'), { recursive: true })],
  ])('says so of one %s', async (_what, change) => {
    const one = await kept();
    change(one.diskPath ?? '');
    await expect(one.withDisk(() => open(one))).rejects.toBeInstanceOf(SnapshotError);
    one.close();
  });

  const NEVER = new Promise<never>(() => {});
  const keep = async (
    key: KeptBootKey,
    isIdle: () => boolean,
    {
      opened = Promise.resolve(),
      ended = NEVER,
    }: { opened?: Promise<void> | undefined; ended?: MachineRunner['ended'] } = {},
  ): Promise<void> => {
    const { machine, runner } = original.request();
    const busy = { ...runner, ended, get isIdle() { return isIdle(); } } as MachineRunner; // prettier-ignore
    const port = { opened, release: () => {} } as HeldAgentPort;
    const network = { cards: [], settings: undefined };
    await boots.keep(key, port, { machine, openDisks: disks, network }, busy);
  };

  test.each([
    ['before it takes commands', { opened: NEVER }],
    ['when it does', {}],
  ])(
    'is not kept when it ends %s, and its end waits for nothing',
    async (_when, { opened }: { opened?: Promise<void> }) => {
      const ended = Promise.resolve({ kind: 'stopped' } as const);
      await keep({ name: 'ended', shape: 'ended' }, () => false, { opened, ended });
      expect(await boots.open({ name: 'ended', shape: 'ended' })).toBeUndefined();
    },
  );

  test('is kept after four seconds by the clock at the latest, however seldom it is looked whether its guest has nothing to do', async () => {
    let [now, looks] = [0, 0];
    const spy = vi.spyOn(nodeClock, 'monotonicNs').mockImplementation(() => (now += 5e8));
    await keep({ name: 'busy', shape: 'busy' }, () => looks++ < 0).finally(() => spy.mockRestore());
    expect(looks).toBeGreaterThan(1);
    expect(looks).toBeLessThan(10);
    expect(await boots.open({ name: 'busy', shape: 'busy' })).toBeDefined();
  });

  test('takes the place of those used longest ago, whatever goes from their folders meanwhile', async () => {
    const { request } = await smallMachine(1);
    for (let n = 0; n < MAXIMUM_KEPT; n++) await new SnapshotStore(folder).take(`older-${n}`, request());
    for (const name of ['older-3', 'with-disk', 'kept']) utimesSync(join(folder, name), 1, 1);
    // It is listed, and nowhere when it is asked how big it is.
    symlinkSync('renamed', join(folder, 'older-5', `${HOT_FILE}.1`));
    await keep({ name: 'new', shape: 'new' }, () => true);
    await expect.poll(() => readdirSync(folder).filter((name) => !name.startsWith('.')).length).toBe(MAXIMUM_KEPT);
    expect(readdirSync(folder)).toContain('new');
    expect(readdirSync(folder)).not.toContain('older-3');
  });
});
