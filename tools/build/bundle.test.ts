/** The built program: of a small package that behaves as ours do, and of Ringfence itself. */

import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { builtProgram } from 'ringfence/built-program';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bundle } from './bundle.ts';

let repository: string;
beforeEach(() => {
  repository = realpathSync(mkdtempSync(join(tmpdir(), 'ringfence-build-')));
  mkdirSync(join(repository, 'src'));
  write('package.json', '{ "type": "module", "version": "7" }');
  write('src/main.ts', "import { size } from './size.ts';\nconsole.log(size('text' as string));");
  write('src/size.ts', 'export const size = (text: string): number => text.length;');
});
afterEach(() => rmSync(repository, { recursive: true }));

function write(name: string, text: string): void {
  writeFileSync(join(repository, name), text);
}

const build = (): Promise<string[]> => bundle(repository, { main: 'src/main.ts' }, 'build/program');
const program = (): string | undefined => builtProgram('main.js', repository);
const run = (): string => execFileSync(process.execPath, [join(repository, 'build/program/main.js')]).toString();

describe('the built program', () => {
  test('does what the sources do, and needs none of them', async () => {
    await build();
    rmSync(join(repository, 'src'), { recursive: true });
    expect(run()).toBe('4\n');
  });

  test('takes what it wants from a module of Node, and does not have it load all that it has', async () => {
    const lines = [
      "import process, { argv } from 'node:process';",
      "import { version as made } from 'node:process';",
      "import { randomBytes } from 'node:crypto';",
      "import path, { join } from 'path';",
      'console.log(process.argv === argv, made === process.version, randomBytes(3).length, path.join === join);',
      "console.log(process.moduleLoadList.some((name) => name.includes('webcrypto')));",
    ];
    write('src/main.ts', lines.join('\n'));
    await build();
    expect(run()).toBe('true true 3 true\nfalse\n');
  });

  test('is known by all the files that it was made of', async () => {
    expect((await build()).toSorted()).toEqual(['package.json', 'src/main.ts', 'src/size.ts']);
    expect(program()).toBe(`file://${repository}/build/program/main.js`);
  });

  test.each(['package.json', 'src/main.ts', 'src/size.ts'])(
    'is not used any more once %s has changed',
    async (name) => {
      await build();
      appendFileSync(join(repository, name), '\n');
      expect(program()).toBeUndefined();
    },
  );

  test('is not used once a source is gone, nor when it was never built', async () => {
    expect(program()).toBeUndefined();
    await build();
    rmSync(join(repository, 'src/size.ts'));
    expect(program()).toBeUndefined();
  });

  test('finds the files beside a source', async () => {
    write('src/words.txt', 'words');
    write(
      'src/main.ts',
      "import { readFileSync } from 'node:fs';\nconsole.log(readFileSync(new URL('words.txt', import.meta.url), 'utf8'));",
    );
    await build();
    expect(run()).toBe('words\n');
  });

  test('is not made of a source that asks for its folder in another way', async () => {
    write('src/size.ts', 'export const size = (): string => import.meta.dirname;');
    await expect(build()).rejects.toThrow(/size\.ts uses import\.meta\.dirname/);
  });

  test('stays as it was when a build fails', async () => {
    await build();
    write('src/size.ts', 'export const length = 4;');
    await expect(build()).rejects.toThrow(/size/);
    expect(run()).toBe('4\n');
    expect(readdirSync(join(repository, 'build'))).toEqual(['program']);
  });

  test('of Ringfence itself says its version and starts no TypeScript', async () => {
    const root = resolve(import.meta.dirname, '../..');
    const folder = join('build', `test-program-${process.pid}`);
    try {
      await bundle(root, { main: 'packages/cli/src/main.ts' }, folder);
      const words = ['--no-strip-types', join(root, folder, 'main.js')];
      expect(execFileSync(process.execPath, [...words, 'version']).toString()).toMatch(
        /^ringfence \d+\.\d+\.\d+ \(Node/,
      );
      expect(execFileSync(process.execPath, [...words, 'run', '--help']).toString()).toContain('Exit codes:');
    } finally {
      rmSync(join(root, folder), { recursive: true, force: true });
    }
  });

  test('of Ringfence itself makes the same images as its sources', async () => {
    const root = resolve(import.meta.dirname, '../..');
    const folder = join('build', `test-recipes-${process.pid}`);
    const source = join(root, 'packages/images/src/node/system-files.ts');
    try {
      mkdirSync(join(root, folder), { recursive: true });
      const entry = `import { readSystemFiles } from '${source}';\nconsole.log((await readSystemFiles()).recipe);`;
      writeFileSync(join(root, folder, 'entry.ts'), entry);
      await bundle(root, { main: join(folder, 'entry.ts') }, join(folder, 'program'));
      const recipe = (path: string): string => execFileSync(process.execPath, [join(root, folder, path)]).toString();
      expect(recipe('program/main.js')).toMatch(/^[\da-f]{16}\n$/);
      expect(recipe('program/main.js')).toBe(recipe('entry.ts'));
    } finally {
      rmSync(join(root, folder), { recursive: true, force: true });
    }
  });
});
