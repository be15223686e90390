import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NewSnapshotFolder } from './snapshot-folder.ts';

let place: string;
let folder: NewSnapshotFolder;
beforeEach(async () => {
  place = mkdtempSync(join(tmpdir(), 'ringfence-folder-'));
  folder = await NewSnapshotFolder.create(join(place, 'new'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(place, { recursive: true });
});

/** A disk that fails once, and says so once. */
async function failsOnce(): Promise<void> {
  await using file = await open(join(place, 'any'), 'w');
  vi.spyOn(Object.getPrototypeOf(file) as typeof file, 'datasync').mockRejectedValueOnce(new Error('EIO'));
}

const ENOUGH = new Uint8Array(4 * 1024 * 1024);

test('what did not come to the disk while more was written is said at the end', async () => {
  await failsOnce();
  await folder.append('pages', ENOUGH);
  await expect(folder.close()).rejects.toThrow('EIO');
});

test('what did not come to the disk is said to who writes more', async () => {
  await failsOnce();
  await folder.append('pages', ENOUGH);
  await expect.poll(() => folder.append('pages', ENOUGH).catch(String)).toBe('Error: EIO');
  await folder.drop();
});
