/**
 * What stands for the program that runs: a machine that another version has saved is not gone on with, and code that another one has generated
 * is not used. It is made of names, sizes and times of the sources; the built program has it from the sources that it was built of.
 */

import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** Of the sources; the build writes it in (tools/build.ts), for looking at hundreds of files takes as long as restoring a machine. */
const BUILT_OF = '' as string;

let known: string | undefined;

/** Of at most 64 characters. */
export function programFingerprint(): string {
  known ??= `${(BUILT_OF === '' ? sourcesFingerprint() : BUILT_OF).slice(0, 32)} ${process.versions.v8}`.slice(0, 64);
  return known;
}

/** What stands for the sources of a machine as they are now. */
export function sourcesFingerprint(): string {
  const sum = createHash('sha256');
  for (const name of ['core', 'images', 'host'])
    stampFolder(fileURLToPath(new URL(`../../../${name}/src`, import.meta.url)));
  return sum.digest('hex');

  function stampFolder(folder: string): void {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) stampFolder(path);
      else if (!entry.name.endsWith('.test.ts')) {
        const { size, mtimeMs } = statSync(path);
        sum.update(`${path} ${size} ${mtimeMs}\n`);
      }
    }
  }
}
