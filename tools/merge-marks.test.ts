/** No file of the repository keeps the marks of a merge that was not finished. */

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
/** A side's name stands behind the mark. Written so that this file does not hold one itself. */
const MARK = String.raw`^(<{7}|>{7}|\|{7}) [^ ]`;

test('no file keeps the marks of a merge', () => {
  let found = '';
  try {
    found = execFileSync('git', ['grep', '-nIE', MARK], { cwd: ROOT, encoding: 'utf8' });
  } catch (error) {
    // 1 says that there is none.
    expect(error).toMatchObject({ status: 1 });
  }
  expect(found).toBe('');
});
