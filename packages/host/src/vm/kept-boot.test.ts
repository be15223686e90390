/** Going on from a kept machine: by what lies beside it alone where that is sound, else by the snapshot itself. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SnapshotError } from '@ringfence/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HOT_FILE } from '../snapshot/hot-pages.ts';
import { type SharedPages, sharedPageSource } from '../snapshot/shared-pages.ts';
import { SnapshotStore } from '../snapshot/snapshot-store.ts';
import { type SmallMachine, smallMachine } from '../snapshot/testing/small-machine.ts';
import { type KeptBootKey, KeptBoots } from './kept-boot.ts';

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

test('one that was kept of a machine of another shape is removed, and is none', async () => {
  expect(await boots.open({ ...KEY, shape: 'another one' })).toBeUndefined();
  expect(await boots.open(KEY)).toBeUndefined();
});
