import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { restoreInto } from '@ringfence/core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HOT_FILE, keepHotPages, NOTHING_PLACED, type PlacedPages, placeHotPages } from './hot-pages.ts';
import { type OpenStoredSnapshot, SnapshotStore } from './snapshot-store.ts';
import { type SmallMachine, smallMachine } from './testing/small-machine.ts';

const PAGES = 200;
const NEEDED = 40;

let folder: string;
let store: SnapshotStore;
let original: SmallMachine;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-hot-'));
  store = new SnapshotStore(folder);
  original = await smallMachine(PAGES);
  await store.take('kept', original.request());
});
afterEach(() => rmSync(folder, { recursive: true }));

async function goOn(): Promise<SmallMachine & { snapshot: OpenStoredSnapshot; placed: PlacedPages }> {
  const blank = await smallMachine(0);
  const snapshot = store.open('kept', { verify: false });
  let placed = NOTHING_PLACED;
  restoreInto(blank.machine, snapshot, () => (placed = placeHotPages(blank.machine, snapshot)));
  return { ...blank, snapshot, placed };
}

/** What a machine does that goes on and touches some pages. */
async function once(pages: number): Promise<number> {
  const { machine, byte, snapshot, placed } = await goOn();
  for (let page = 0; page < pages; page++) expect(byte(page)).toBe(original.byte(page));
  const had = placed.pages.length;
  keepHotPages(machine, snapshot, placed);
  snapshot.close();
  return had;
}

describe('pages that were needed once', () => {
  test('are there from the beginning the next time, and loaded from the snapshot no more', async () => {
    expect(await once(NEEDED)).toBe(0);
    const { byte, snapshot, placed } = await goOn();
    expect(placed.pages.length).toBeGreaterThanOrEqual(NEEDED);
    for (let page = 0; page < NEEDED; page++) expect(byte(page)).toBe(original.byte(page));
    expect(snapshot.source.loaded).toHaveLength(0);
    snapshot.close();
  });

  test('come one by one where the memory has no room for them side by side', async () => {
    await once(NEEDED);
    const { machine, byte } = await smallMachine(0);
    vi.spyOn(machine.pages, 'place').mockReturnValue(undefined);
    const snapshot = store.open('kept', { verify: false });
    restoreInto(machine, snapshot, () => expect(placeHotPages(machine, snapshot)).toEqual(NOTHING_PLACED));
    for (let page = 0; page < NEEDED; page++) expect(byte(page)).toBe(original.byte(page));
    snapshot.close();
  });

  test('are added to, but not for a few', async () => {
    await once(NEEDED);
    const path = join(folder, 'kept', HOT_FILE);
    const before = statSync(path).ino;
    const had = await once(NEEDED + 1);
    expect(statSync(path).ino).toBe(before);
    expect(await once(2 * NEEDED)).toBe(had);
    expect(await once(2 * NEEDED)).toBe(had + NEEDED);
  });

  test('leave nothing half written: not where they cannot be put, and not where who wrote them was killed', async () => {
    const kept = (name = ''): string => join(folder, 'kept', name);
    const { pid: dead } = spawnSync(process.execPath, ['--version']);
    for (const name of [`${HOT_FILE}.${dead}`, `${HOT_FILE}.${process.ppid}`]) writeFileSync(kept(name), 'half');
    mkdirSync(kept(HOT_FILE));
    await expect(once(NEEDED)).rejects.toThrow('EISDIR');
    expect(readdirSync(kept()).filter((name) => name.startsWith(HOT_FILE))).toEqual([
      HOT_FILE,
      `${HOT_FILE}.${process.ppid}`,
    ]);
  });

  test('are those that the guest touched, each once, and not those that a snapshot of it reads', async () => {
    const { machine, byte, snapshot, placed, request } = await goOn();
    for (let page = 0; page < NEEDED; page++) byte(page);
    const touched = [...snapshot.source.loaded];
    await store.take('of-that', request());
    // As a fork that touches the same.
    for (const page of touched) snapshot.source.touched(page);
    keepHotPages(machine, snapshot, placed);
    snapshot.close();
    expect(await once(0)).toBe(touched.length);
  });

  test.each([
    ['a changed byte of a page', (file: Uint8Array) => void (file[5000] = (file[5000] ?? 0) ^ 1)],
    ['a changed byte at the end', (file: Uint8Array) => void (file[file.length - 1] = (file.at(-1) ?? 0) ^ 1)],
    ['another number of a page', (file: Uint8Array) => void (file[64] = (file[64] ?? 0) ^ 1)],
    ['another snapshot', (file: Uint8Array) => void (file[50] = (file[50] ?? 0) ^ 1)],
    ['another length of the code', (file: Uint8Array) => void (file[44] = (file[44] ?? 0) ^ 1)],
  ])('are not taken from a file with %s', async (_name, change) => {
    await once(NEEDED);
    const path = join(folder, 'kept', HOT_FILE);
    const file = readFileSync(path);
    change(file);
    writeFileSync(path, file);
    // And the machine goes on without.
    expect(await once(NEEDED)).toBe(0);
    expect(await once(NEEDED)).toBeGreaterThan(0);
  });

  test('are not taken from a file that ends too soon', async () => {
    await once(NEEDED);
    truncateSync(join(folder, 'kept', HOT_FILE), 10_000);
    expect(await once(NEEDED)).toBe(0);
  });

  test('are not taken from a file of another program, whose decoded code means something else', async () => {
    await once(NEEDED);
    const fingerprint = await import('./program-fingerprint.ts');
    const spy = vi.spyOn(fingerprint, 'programFingerprint').mockReturnValue('another program');
    const { placed, snapshot } = await goOn().finally(() => spy.mockRestore());
    expect(placed).toEqual(NOTHING_PLACED);
    snapshot.close();
  });
});
