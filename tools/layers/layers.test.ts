/**
 * The layer checks are worth something only if they fail: each rule is broken on purpose in a copy of the repository's own configuration,
 * and `tsc -b` or `check-layers` must refuse it. The copy has one small file per layer instead of the real sources, so that only the rules
 * in question can fail. All files that break a rule for one check lie there together, because starting a check takes most of the time.
 */

import { spawnSync } from 'node:child_process';
import {
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const repository = resolve(import.meta.dirname, '../..');
const copy = mkdtempSync(join(tmpdir(), 'ringfence-layers-'));

/** Sources that obey every rule: each layer imports what it may, and tests import everything. */
const OBEDIENT: Readonly<Record<string, string>> = {
  'packages/core/src/base/units.ts': `export const KiB = 1024;\n`,
  'packages/core/src/isa/entry.ts': `import { KiB } from '../base/units.ts';\nexport const entry = KiB;\n`,
  'packages/core/src/wasm/writer.ts': `import { KiB } from '../base/units.ts';\nexport const valid = (bytes: Uint8Array): boolean => bytes.length < KiB && WebAssembly.validate(bytes);\n`,
  'packages/core/src/engine/engine.ts': `import { entry } from '../isa/entry.ts';\nimport { valid } from '../wasm/writer.ts';\nexport const engine = { entry, valid };\n`,
  'packages/core/src/machine/machine.ts': `import { engine } from '../engine/engine.ts';\nexport const machine = { engine };\n`,
  'packages/core/src/storage/raw.ts': `import { KiB } from '../base/units.ts';\nexport const name = new TextDecoder().decode(new Uint8Array(KiB));\n`,
  'packages/core/src/vm/vm.ts': `import { machine } from '../machine/machine.ts';\nimport { name } from '../storage/raw.ts';\nexport const vm = { machine, name };\n`,
  'packages/core/src/index.ts': `export { vm } from './vm/vm.ts';\n`,
  'packages/core/src/vm/vm.test.ts': `import { readFileSync } from 'node:fs';\nimport { expect } from 'vitest';\nimport { valid } from '../wasm/writer.ts';\nexpect(valid(readFileSync('x')));\n`,
  'packages/images/src/image.ts': `import { vm } from '@ringfence/core';\nexport const image = vm;\n`,
  'packages/images/src/node/read.ts': `import { readFileSync } from 'node:fs';\nimport { image } from '../image.ts';\nexport const read = (path: string): unknown => [image, readFileSync(path)];\n`,
  'packages/images/src/index.ts': `export { image } from './image.ts';\nexport { read } from './node/read.ts';\n`,
  'packages/images/src/guest/index.ts': `export { image } from '../image.ts';\n`,
  'packages/api/src/index.ts': `export const answer = (request: Request): Response => new Response(request.url);\n`,
  'packages/host/src/index.ts': `import { answer } from '@ringfence/api';\nimport { read } from '@ringfence/images';\nexport const start = (): unknown => [answer, read(process.cwd())];\n`,
  'packages/console/src/protocol.ts': `import { vm } from '@ringfence/core';\nexport const start = vm;\n`,
  'packages/console/src/page/main.ts': `import { start } from '../protocol.ts';\ndocument.title = String(start);\n`,
  'packages/console/src/worker/main.ts': `import { image } from '@ringfence/images/guest';\nimport { start } from '../protocol.ts';\nself.postMessage([start, image]);\n`,
  'packages/console/src/node/index.ts': `import { read } from '@ringfence/images';\nimport { start } from '../protocol.ts';\nexport const serve = (): unknown => [start, read(process.cwd())];\n`,
  'packages/console/build.ts': `import { build } from 'vite';\nimport { serve } from './src/node/index.ts';\nvoid build({ root: String(serve()) });\n`,
  'packages/cli/src/main.ts': `import { serve } from '@ringfence/console';\nimport { vm } from '@ringfence/core';\nimport { start } from '@ringfence/host';\nimport { image } from '@ringfence/images';\nprocess.stdout.write(String([vm, image, serve, start]));\n`,
};

/** Packages that others import. */
const IMPORTED = ['core', 'api', 'images', 'host', 'console'];

beforeAll(() => {
  const configuration = globSync(
    ['tsconfig*.json', 'package.json', 'packages/**/{tsconfig*.json,package.json}', 'packages/core/src/base/*.d.ts'],
    {
      cwd: repository,
      exclude: ['**/node_modules/**', '**/dist/**'],
    },
  );
  for (const path of [...configuration, 'tools/tsconfig.json'])
    place(path, readFileSync(join(repository, path), 'utf8'));
  for (const [path, text] of Object.entries(OBEDIENT)) place(path, text);
  for (const path of ['packages/images', 'packages/host', 'packages/console', 'packages/cli'])
    declareDependencies(path);
  linkNodeModules();
});

afterAll(() => rmSync(copy, { recursive: true }));

function place(path: string, text: string): void {
  mkdirSync(dirname(join(copy, path)), { recursive: true });
  writeFileSync(join(copy, path), text);
}

/** The sources above import other packages whatever the real packages list at the moment. */
function declareDependencies(path: string): void {
  const json = JSON.parse(readFileSync(join(copy, path, 'package.json'), 'utf8')) as {
    dependencies?: Record<string, string>;
  };
  place(
    `${path}/package.json`,
    JSON.stringify({
      ...json,
      dependencies: Object.fromEntries(IMPORTED.map((name) => [`@ringfence/${name}`, '0.1.0'])),
    }),
  );
}

/** The repository's node_modules, except that the workspaces lead into the copy. */
function linkNodeModules(): void {
  const target = join(copy, 'node_modules');
  mkdirSync(join(target, '@ringfence'), { recursive: true });
  for (const name of readdirSync(join(repository, 'node_modules'))) {
    if (name !== '@ringfence' && name !== 'ringfence')
      symlinkSync(join(repository, 'node_modules', name), join(target, name));
  }
  for (const name of IMPORTED) symlinkSync(join(copy, 'packages', name), join(target, '@ringfence', name));
}

function check(...command: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: copy, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}
const compile = (): ReturnType<typeof check> =>
  check(join(repository, 'node_modules/typescript/bin/tsc'), '-b', '--pretty', 'false');
const checkLayers = (): ReturnType<typeof check> => check(join(repository, 'tools/check-layers.ts'));

/** Puts the files there, runs the check once, takes the files away. */
function breaking(
  broken: readonly (readonly [string, string, string, unknown])[],
  run: typeof compile,
): () => ReturnType<typeof run> {
  let result: ReturnType<typeof run> | undefined;
  beforeAll(() => {
    for (const [, path, text] of broken) place(path, text);
    result = run();
  });
  afterAll(() => {
    for (const [, path] of broken) rmSync(join(copy, path));
  });
  return () => result ?? { status: null, output: 'the check did not run' };
}

test('imports along the order pass both checks', () => {
  expect(compile()).toEqual({ status: 0, output: '' });
  expect(checkLayers()).toEqual({ status: 0, output: expect.stringContaining('import only what they may') });
});

describe('the compiler refuses', () => {
  const broken: readonly [rule: string, path: string, text: string, message: RegExp][] = [
    [
      'an upward import',
      'packages/core/src/isa/up.ts',
      `import { vm } from '../vm/vm.ts';\nexport const up = vm;\n`,
      /isa\/up\.ts.*TS6307/,
    ],
    [
      'an upward import of types alone',
      'packages/core/src/storage/up.ts',
      `import type { vm } from '../vm/vm.ts';\nexport type Up = typeof vm;\n`,
      /storage\/up\.ts.*TS6307/,
    ],
    [
      'an upward import at run time',
      'packages/core/src/base/late.ts',
      `export const late = import('../vm/vm.ts');\n`,
      /base\/late\.ts.*TS6307/,
    ],
    [
      'an import between layers side by side',
      'packages/core/src/wasm/side.ts',
      `import { entry } from '../isa/entry.ts';\nexport const side = entry;\n`,
      /wasm\/side\.ts.*TS6307/,
    ],
    [
      'a test imported by a layer',
      'packages/core/src/vm/untested.ts',
      `import './vm.test.ts';\n`,
      /vm\/untested\.ts.*TS6307/,
    ],
    [
      'a layer importing the package entry',
      'packages/core/src/vm/entry.ts',
      `import { vm } from '../index.ts';\nexport const again = vm;\n`,
      /vm\/entry\.ts.*TS6307/,
    ],
    [
      'core importing another package',
      'packages/core/src/vm/image.ts',
      `import { image } from '../../../images/src/index.ts';\nexport const wrong = image;\n`,
      /vm\/image\.ts.*TS6307/,
    ],
    [
      '`process` in a pure layer',
      'packages/core/src/machine/process.ts',
      `export const id = process.pid;\n`,
      /machine\/process\.ts.*TS2591/,
    ],
    [
      '`globalThis.process` in a pure layer',
      'packages/core/src/machine/global.ts',
      `export const id = globalThis.process.pid;\n`,
      /machine\/global\.ts.*TS(7017|2339)/,
    ],
    [
      '`node:fs` in a pure layer',
      'packages/core/src/storage/file.ts',
      `import { readFileSync } from 'node:fs';\nexport const read = readFileSync;\n`,
      /storage\/file\.ts.*TS2591/,
    ],
    [
      '`Buffer` in the pure part of images',
      'packages/images/src/buffer.ts',
      `export const bytes = Buffer.from('x');\n`,
      /images\/src\/buffer\.ts.*TS2591/,
    ],
    [
      'a timer in a pure layer',
      'packages/core/src/machine/timer.ts',
      `setTimeout(() => undefined, 1);\n`,
      /machine\/timer\.ts.*TS2304/,
    ],
    ['a log in a pure layer', 'packages/core/src/engine/log.ts', `console.log('x');\n`, /engine\/log\.ts.*TS2584/],
    [
      'a page in a pure layer',
      'packages/core/src/engine/page.ts',
      `document.title = 'x';\n`,
      /engine\/page\.ts.*TS2584/,
    ],
    [
      'a page in the part of the console that its worker shares',
      'packages/console/src/title.ts',
      `document.title = 'x';\n`,
      /console\/src\/title\.ts.*TS2584/,
    ],
    [
      'a page in the worker',
      'packages/console/src/worker/title.ts',
      `document.title = 'x';\n`,
      /worker\/title\.ts.*TS2584/,
    ],
    ['a page on Node', 'packages/cli/src/title.ts', `document.title = 'x';\n`, /cli\/src\/title\.ts.*TS2584/],
    [
      'an import past the entry of a package',
      'packages/cli/src/deep.ts',
      `import { entry } from '@ringfence/core/src/isa/entry.ts';\nexport const deep = entry;\n`,
      /cli\/src\/deep\.ts.*TS2307/,
    ],
    [
      'syntax that Node cannot erase',
      'packages/core/src/base/kinds.ts',
      `export enum Kind { A }\n`,
      /base\/kinds\.ts.*TS1294/,
    ],
  ];
  const result = breaking(broken, compile);
  test.each(broken)('%s', (_rule, _path, _text, message) => {
    expect(result().output).toMatch(message);
    expect(result().status).not.toBe(0);
  });
});

describe('check-layers refuses', () => {
  const broken: readonly [rule: string, path: string, text: string, message: string][] = [
    [
      'a layer that is referenced only through another one',
      'packages/core/src/vm/engine.ts',
      `import { engine } from '../engine/engine.ts';\nexport const deep = engine;\n`,
      "packages/core/src/vm/engine.ts:1: imports '../engine/engine.ts' of packages/core/src/engine; packages/core/src/vm may import only",
    ],
    [
      'the same in an exported type',
      'packages/core/src/machine/writer.ts',
      `export type Valid = typeof import('../wasm/writer.ts').valid;\n`,
      "packages/core/src/machine/writer.ts:1: imports '../wasm/writer.ts' of packages/core/src/wasm",
    ],
    [
      'a package in core',
      'packages/core/src/vm/bare.ts',
      `\nimport { test } from 'vitest';\ntest('x');\n`,
      "packages/core/src/vm/bare.ts:2: imports 'vitest', which is not among",
    ],
    [
      'Node in a pure layer',
      'packages/core/src/base/fs.ts',
      `export type Fs = typeof import('node:fs');\n`,
      'packages/core/src/base is pure; declare a port',
    ],
    [
      'a reference directive',
      'packages/core/src/base/types.ts',
      `/// <reference types="node" />\nexport const id = process.pid;\n`,
      'packages/core/src/base/types.ts:1: has a reference directive',
    ],
    [
      'a computed import in a pure layer',
      'packages/core/src/base/any.ts',
      `export const any = (name: string): unknown => import(name);\n`,
      'whose name is computed',
    ],
    [
      'a neighbouring package by path',
      'packages/cli/src/path.ts',
      `import { vm } from '../../core/src/index.ts';\nexport const near = vm;\n`,
      "imports '../../core/src/index.ts' across packages; import it by name ('@ringfence/core')",
    ],
    [
      'its own package by name',
      'packages/core/src/vm/self.ts',
      `import { vm } from '@ringfence/core';\nexport const self = vm;\n`,
      'imports its own package by name',
    ],
    [
      'Node in the page',
      'packages/console/src/page/fs.ts',
      `export type Fs = typeof import('node:fs');\n`,
      'packages/console/src/page is pure; declare a port',
    ],
    [
      'what only the build may use in the page',
      'packages/console/src/page/build.ts',
      `import 'vite';\n`,
      "imports 'vite', which is not among the dependencies of @ringfence/console",
    ],
    [
      'a dependency that only other packages list',
      'packages/cli/src/other.ts',
      `import 'fast-check';\n`,
      "imports 'fast-check', which is not among the dependencies of ringfence",
    ],
    [
      'the repository in a package',
      'packages/cli/src/tools.ts',
      `import '../../../tools/check-layers.ts';\n`,
      'no package may use the tools',
    ],
    [
      'a re-export outside the entry of a package',
      'packages/core/src/vm/barrel.ts',
      `export { vm } from './vm.ts';\n`,
      "packages/core/src/vm/barrel.ts:1: re-exports './vm.ts'; only the entry of a package does",
    ],
    ['an absolute path', 'packages/cli/src/absolute.ts', `import '/etc/x.ts';\n`, 'name a file by a relative path'],
    [
      'a folder that no project owns',
      'packages/core/src/unknown/x.ts',
      `export const x = 1;\n`,
      'packages/core/src/unknown/x.ts:1: belongs to no tsconfig.json',
    ],
  ];
  const result = breaking(broken, checkLayers);
  test.each(broken)('%s', (_rule, _path, _text, message) => {
    expect(result().output).toContain(message);
    expect(result().status).toBe(1);
  });
  test('nothing else', () => {
    expect(result().output.trim().split('\n')).toHaveLength(broken.length);
  });
});
