/** Going on from a kept machine: by what lies beside it alone where that is sound, else by the snapshot itself. */

import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SnapshotError } from '@ringfence/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HOT_FILE } from '../snapshot/hot-pages.ts';
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
  renameSync(pathOf('index'), pathOf('index-away'));
  const { byte } = await goOn(NEEDED);
  expect(() => byte(PAGES - 1)).toThrow(SnapshotError);
  renameSync(pathOf('index-away'), pathOf('index'));
  expect(byte(PAGES - 1)).toBe(original.byte(PAGES - 1));
});

test('where that file is broken the snapshot is opened, and the file written anew', async () => {
  await goOn(NEEDED);
  const file = readFileSync(pathOf(HOT_FILE));
  file[140] = (file[140] ?? 0) ^ 1;
  writeFileSync(pathOf(HOT_FILE), file);
  await goOn(NEEDED);
  expect(readFileSync(pathOf(HOT_FILE))[140]).toBe((file[140] ?? 0) ^ 1);
});

test('a page is not taken from a snapshot that was kept since under the same name', async () => {
  await goOn(NEEDED);
  const blank = await smallMachine(0);
  const kept = await boots.open(KEY);
  kept?.restore(blank.machine);
  await boots.remove(KEY);
  await new SnapshotStore(folder).take(KEY.name, { ...original.request(), about: { shape: KEY.shape } });
  expect(() => blank.byte(PAGES - 1)).toThrow(/another one by now/);
});

test('one that was kept of a machine of another shape is removed, and is none', async () => {
  expect(await boots.open({ ...KEY, shape: 'another one' })).toBeUndefined();
  expect(await boots.open(KEY)).toBeUndefined();
});
