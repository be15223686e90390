/**
 * Builds the page into dist/page, unless what lies there was made from the same sources: `node build.ts`. The new page takes the place of
 * the old one at once, so that nobody sees half of it.
 */

import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { build } from 'vite';
import { PAGE_FOLDER } from './src/node/page.ts';

const repository = join(import.meta.dirname, '../..');
/** What the page is made from. */
const SOURCES = [
  'packages/{core,images,console}/src/**/*',
  'packages/*/package.json',
  'packages/console/build.ts',
  'package-lock.json',
];
/** Beside the page and not in it: nobody is served that. */
const STAMP = `${PAGE_FOLDER}.sources`;

/** Gives whether there was anything to do. */
export async function buildPage(): Promise<boolean> {
  const hash = sourcesHash();
  if (readOrEmpty(STAMP) === hash && readOrEmpty(join(PAGE_FOLDER, 'index.html')) !== '') return false;
  const made = `${PAGE_FOLDER}-${process.pid}`;
  mkdirSync(made, { recursive: true });
  try {
    await build({
      configFile: false,
      root: join(import.meta.dirname, 'src/page'),
      logLevel: 'warn',
      worker: { format: 'es' },
      build: { outDir: made, emptyOutDir: true, target: 'es2024', assetsInlineLimit: 0, modulePreload: false },
    });
    rmSync(PAGE_FOLDER, { recursive: true, force: true });
    renameSync(made, PAGE_FOLDER);
    writeFileSync(STAMP, hash);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
  return true;
}

function sourcesHash(): string {
  const hash = createHash('sha256');
  const files = globSync(SOURCES, { cwd: repository, withFileTypes: true }).filter((entry) => entry.isFile());
  for (const path of files.map((entry) => join(entry.parentPath, entry.name)).toSorted()) {
    const content = readFileSync(path);
    hash.update(`${path}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

if (import.meta.main) {
  const started = performance.now();
  if (await buildPage()) console.error(`The page was built in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
}
