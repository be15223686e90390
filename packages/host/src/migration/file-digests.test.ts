import { createHash } from 'node:crypto';
import { linkSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { digestOf, rememberDigest } from './file-digests.ts';

const folder = mkdtempSync(join(tmpdir(), 'rf-digests-'));
afterAll(() => rmSync(folder, { recursive: true }));
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const written = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};

describe('digests of files', () => {
  it('are those of what is in them, and change when they are written', async () => {
    const path = written('kernel', 'one');
    expect(await digestOf(path)).toBe(sha256('one'));
    expect(await digestOf(path)).toBe(sha256('one'));
    writeFileSync(path, 'two');
    utimesSync(path, 1, 1);
    expect(await digestOf(path)).toBe(sha256('two'));
  });

  it('are known by every name of a file, and of none that is another', async () => {
    const path = written('initrd', 'one');
    await rememberDigest(path, 'as it was remembered');
    const link = join(folder, 'link');
    linkSync(path, link);
    expect(await digestOf(link)).toBe('as it was remembered');
    expect(await digestOf(written('copy', 'one'))).toBe(sha256('one'));
  });
});
