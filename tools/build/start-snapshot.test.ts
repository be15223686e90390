/** The start snapshot, of a small program that is loaded when it is built and runs when it is started. */

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { START_FILE, startSnapshot as foundSnapshot } from 'ringfence/built-program';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundle } from './bundle.ts';
import { startSnapshot } from './start-snapshot.ts';

const PROGRAM = 'build/program';
const ENTRY = 'packages/cli/src/start-snapshot.ts';

let repository: string;
beforeAll(async () => {
  repository = realpathSync(mkdtempSync(join(tmpdir(), 'ringfence-start-')));
  write('package.json', '{ "type": "module", "version": "7" }');
  write('packages/cli/bin/node-start.js', '');
  write('packages/cli/src/loaded.ts', "export const words: string[] = ['loaded ü', String.raw`\\d`];");
  write('packages/cli/src/main.ts', "import { words } from './loaded.ts';\nconsole.log(words);");
  write(
    ENTRY,
    `import crypto, { hash } from 'node:crypto';
    import { readFileSync } from 'node:fs';
    import { startupSnapshot } from 'node:v8';
    import { DatabaseSync } from 'node:sqlite';
    import { words } from './loaded.ts';
    const REPOSITORY = '' as string;
    const MADE_OF = '' as string;
    words.push(process.env['BUILDING'] ?? 'without an environment');
    startupSnapshot.setDeserializeMainFunction(() => {
      const database = new DatabaseSync(':memory:');
      const own = readFileSync(new URL('./loaded.ts', import.meta.url), 'utf8').length;
      const digests = [hash('sha256', ''), crypto.hash('sha256', '')].map((text) => text.slice(0, 4));
      console.log(JSON.stringify({ words, own, digests, rest: process.argv.slice(2), REPOSITORY, of: Object.keys(JSON.parse(MADE_OF)).length, open: database.isOpen }));
    });`,
  );
  const entries = { main: 'packages/cli/src/main.ts' };
  await bundle(repository, entries, PROGRAM);
  await startSnapshot(repository, entries, PROGRAM, {});
}, 60_000);
afterAll(() => rmSync(repository, { recursive: true }));

function write(name: string, text: string): void {
  mkdirSync(dirname(join(repository, name)), { recursive: true });
  writeFileSync(join(repository, name), text);
}

test('a Node that is started with it has everything loaded, and its own arguments and modules', () => {
  const snapshot = foundSnapshot(process.execPath, repository);
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--snapshot-blob', snapshot ?? '', 'start.js', 'one', 'two'],
    {
      encoding: 'utf8',
    },
  );
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({
    words: ['loaded ü', String.raw`\d`, 'without an environment'],
    own: readFileSync(join(repository, 'packages/cli/src/loaded.ts'), 'utf8').length,
    digests: ['e3b0', 'e3b0'],
    rest: ['one', 'two'],
    REPOSITORY: repository,
    of: 5,
    open: true,
  });
});

test('it is for the very Node that made it', () => {
  expect(foundSnapshot('/bin/sh', repository)).toBeUndefined();
  const path = join(repository, PROGRAM, START_FILE);
  const start = readFileSync(path, 'utf8');
  writeFileSync(path, start.replace(/"stamp":"/, '"stamp":"1'));
  expect(foundSnapshot(process.execPath, repository)).toBeUndefined();
  writeFileSync(path, start);
  expect(foundSnapshot(process.execPath, repository)).toBe(join(repository, PROGRAM, 'run.blob'));
});

/** Of the Node that makes it, which may be on another file system. */
function canLink(): boolean {
  try {
    linkSync(realpathSync(process.execPath), join(repository, 'link'));
    return true;
  } catch {
    return false;
  }
}

test('a shell finds in start.sh which Node that is, where that one can be known again', (context) => {
  if (!canLink()) {
    expect(existsSync(join(repository, PROGRAM, 'start.sh'))).toBe(false);
    context.skip();
  }
  const script =
    'cd "$0/build/program"; . ./start.sh; [ ! "$node" -nt start.sh ] && [ "$node" -ef node-that-made-it ] && echo "$node"';
  const { stdout } = spawnSync('sh', ['-c', script, repository], { encoding: 'utf8' });
  expect(stdout).toBe(`${realpathSync(process.execPath)}\n`);
});
