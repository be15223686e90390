import { mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startSnapshotOf } from './start-snapshot.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-snapshot-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const node = realpathSync(process.execPath);
const found = (program: string): string | undefined => startSnapshotOf(pathToFileURL(join(folder, program)), node);

test('a machine begins with the start snapshot of its program, where this Node made it', () => {
  expect(found('main.js')).toBeUndefined();
  const { size, mtimeMs } = statSync(node);
  writeFileSync(join(folder, 'start.json'), JSON.stringify({ node, stamp: `${size} ${mtimeMs}` }));
  expect(found('main.js')).toBeUndefined();
  writeFileSync(join(folder, 'run.blob'), '');
  expect(found('main.js')).toBe(join(folder, 'run.blob'));
  // Sources may be others by now.
  expect(found('main.ts')).toBeUndefined();
  writeFileSync(join(folder, 'start.json'), JSON.stringify({ node, stamp: `${size} ${mtimeMs + 1}` }));
  expect(found('main.js')).toBeUndefined();
});
