/**
 * What stands for the program that runs: a machine that another version has saved is not gone on with, and code that another one has generated
 * is not used. Of the built program the file that this is in, which names the others by their content; of the sources, all of them.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const SOURCES = ['core', 'images', 'host'].map((name) =>
  fileURLToPath(new URL(`../../../${name}/src`, import.meta.url)),
);

let known: string | undefined;

export function programFingerprint(): string {
  known ??= fingerprint();
  return known;
}

function fingerprint(): string {
  const hash = createHash('sha256').update(process.versions.v8);
  const own = fileURLToPath(import.meta.url);
  if (!own.endsWith('.ts')) return hash.update(readFileSync(own)).digest('hex');
  for (const folder of SOURCES) stampFolder(folder);
  return hash.digest('hex');

  function stampFolder(folder: string): void {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) stampFolder(path);
      else if (!entry.name.endsWith('.test.ts')) {
        const { size, mtimeMs } = statSync(path);
        hash.update(`${path} ${size} ${mtimeMs}\n`);
      }
    }
  }
}
