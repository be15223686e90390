/** The launcher, run for real: in a copy whose main.ts only reports, under this Node and under an older one where the machine has one. */

import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  cpSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findNode, isNewEnough } from './find-node.js';
import { nodeEnvironment, nodeStart } from './node-start.js';

const copy = mkdtempSync(join(tmpdir(), 'ringfence-launcher-'));
const launcher = join(copy, 'packages/cli/bin/ringfence.js');
/** What a shell runs. */
const command = join(copy, 'packages/cli/bin/ringfence');
/** Relaunches even though this Node is new enough. */
const relauncher = join(copy, 'packages/cli/bin/relauncher.js');

/** What stands in for the command line: it obeys its first argument. */
const MAIN = `
import { readFileSync } from 'node:fs';
const [task = '', ...rest]: string[] = process.argv.slice(2);
if (task === 'report') process.stdout.write(JSON.stringify({ node: process.versions.node, rest }));
if (task === 'how') process.stdout.write(JSON.stringify({ flags: process.execArgv, env: process.env, parent: process.ppid }));
if (task === 'read') process.stdout.write(readFileSync(rest[0]!));
if (task === 'copy') process.stdin.pipe(process.stdout);
if (task === 'exit') { process.stderr.write('going'); process.exit(Number(rest[0])); }
if (task === 'die') process.kill(process.pid, rest[0]);
if (task === 'wait') {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => { process.stdout.write(signal); process.exit(7); });
  setInterval(() => undefined, 1000);
  process.stdout.write('ready ');
}
`;

const RELAUNCHER = `
import { relaunch } from './relaunch.js';
const program = process.env.PROGRAM ?? process.execPath;
await relaunch(program, [${JSON.stringify(launcher)}, ...process.argv.slice(2)], process.env, (problem) => { console.error(problem); process.exit(9); });
`;

beforeAll(() => {
  cpSync(import.meta.dirname, join(copy, 'packages/cli/bin'), { recursive: true });
  mkdirSync(join(copy, 'packages/cli/src'));
  writeFileSync(join(copy, 'packages/cli/package.json'), '{ "type": "module" }');
  writeFileSync(join(copy, 'packages/cli/src/main.ts'), MAIN);
  writeFileSync(relauncher, RELAUNCHER);
});
afterAll(() => rmSync(copy, { recursive: true }));

/** The machine's own Node where it is older than ours: npm puts ours first on PATH, so look past node_modules. */
function findOlderNode(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(':').filter((folder) => !folder.includes('node_modules'));
  return folders
    .map((folder) => join(folder, 'node'))
    .find((node) => {
      const { status, stdout } = spawnSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8' });
      return status === 0 && !isNewEnough(stdout);
    });
}

/** Makes Node 26 findable from the copy, or not. */
function installNode(installed: boolean): void {
  rmSync(join(copy, 'node_modules'), { recursive: true, force: true });
  if (!installed) return;
  mkdirSync(join(copy, 'node_modules'));
  symlinkSync(resolve(import.meta.dirname, '../../../node_modules/node'), join(copy, 'node_modules/node'));
}

/** The Node that a shell finds is the one that runs the tests. */
const path = `${dirname(process.execPath)}:${process.env['PATH']}`;
const env = { ...process.env, PATH: path, XDG_CACHE_HOME: join(copy, 'cache') };
const olderNode = findOlderNode();
const ways: readonly [name: string, node: string, script: string][] = [
  ['directly', process.execPath, launcher],
  ['relaunched', process.execPath, relauncher],
  ['by a shell', 'sh', command],
  ...(olderNode === undefined ? [] : [['from an older Node', olderNode, launcher] as [string, string, string]]),
];

describe.each(ways)('started %s', (_way, node, script) => {
  const run = (...args: string[]): { status: number | null; signal: string | null; stdout: string; stderr: string } =>
    spawnSync(node, [script, ...args], { encoding: 'utf8', input: 'typed', env });
  beforeAll(() => installNode(true));

  test('main.ts runs under Node 26 and gets the arguments as they were', () => {
    const rest = ['--', '-a', '', 'two words', '$HOME', 'ü'];
    const { status, stdout, stderr } = run('report', ...rest);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual({ node: process.versions.node, rest });
  });

  test('stdin, stdout and stderr are those of the caller', () => {
    expect(run('copy')).toMatchObject({ status: 0, stdout: 'typed', stderr: '' });
    expect(run('exit', '0')).toMatchObject({ status: 0, stdout: '', stderr: 'going' });
  });

  test('main.ts runs in a Node that was started as a virtual machine wants it', () => {
    const start = nodeStart({}, []);
    const how = JSON.parse(run('how').stdout) as { flags: string[]; env: Record<string, string> };
    expect(how.flags).toEqual(start.flags);
    expect(how.env).toMatchObject(start.env);
  });

  test('the exit code is that of main.ts', () => {
    expect(run('exit', '124').status).toBe(124);
  });

  test.each(['SIGTERM', 'SIGKILL'])('it ends by %s when main.ts did', (signal) => {
    expect(run('die', signal)).toMatchObject({ status: null, signal });
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const)('%s reaches main.ts, once', async (signal) => {
    const child = spawn(node, [script, 'wait'], { stdio: ['pipe', 'pipe', 'inherit'], env });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (text === 'ready ') child.kill(signal);
    });
    const code = await new Promise((settle) => child.on('close', settle));
    expect({ output, code }).toEqual({ output: `ready ${signal}`, code: 7 });
  });
});

test('under Node 26 no process is left of the launcher', () => {
  const { stdout } = spawnSync(process.execPath, [launcher, 'how'], { encoding: 'utf8', env });
  expect((JSON.parse(stdout) as { parent: number }).parent).toBe(process.pid);
});

function onlineProcessors(): string {
  try {
    return readFileSync('/sys/devices/system/cpu/online', 'utf8').trim();
  } catch {
    return '';
  }
}

describe('a shell that finds a start snapshot', () => {
  const program = join(copy, 'build/program');
  const node = join(copy, 'fake-node');
  const link = join(program, 'node-that-made-it');
  const makeNode = (): void => {
    rmSync(node, { force: true });
    writeFileSync(node, '#!/bin/sh\necho "fake: $MALLOC_TRIM_THRESHOLD_ $GLIBC_TUNABLES $*"\n', { mode: 0o755 });
  };
  const start = (): void => {
    makeNode();
    rmSync(link, { force: true });
    linkSync(node, link);
    writeFileSync(
      join(program, 'start.sh'),
      `node='${node}'\nnode_flags='--one --two'\n${nodeEnvironment('node_environment')}`,
    );
  };
  beforeAll(() => {
    installNode(true);
    mkdirSync(program, { recursive: true });
  });
  afterAll(() => rmSync(program, { recursive: true }));
  const run = (words: readonly string[], more: NodeJS.ProcessEnv = {}): string =>
    spawnSync(command, words, { encoding: 'utf8', env: { ...env, ...more } }).stdout;

  test('starts the Node that made it with it, for "run"', () => {
    start();
    const bin = join(copy, 'packages/cli/bin');
    const pool = /^0(-1)?$/.test(onlineProcessors()) ? ' --v8-pool-size=1' : '';
    const snapshot = `--one --two${pool} --snapshot-blob ${bin}/../../../build/program/run.blob ${bin}/start.js`;
    expect(run(['run', '--', 'a  b'])).toBe(`fake: 2097152 glibc.malloc.hugetlb=1 ${snapshot} run -- a  b\n`);
    expect(run(['run'], { MALLOC_TRIM_THRESHOLD_: '7' })).toBe(`fake: 7 glibc.malloc.hugetlb=1 ${snapshot} run\n`);
  });

  test('goes through ringfence.js where it is of a build before this launcher', () => {
    start();
    writeFileSync(join(program, 'start.sh'), `node='${node}'\nnode_flags='--one --two'\n`);
    expect(run(['run'])).not.toContain('fake');
  });

  test('finds it through a link, as npm makes one', () => {
    start();
    const linked = join(copy, 'link');
    symlinkSync('packages/cli/bin/ringfence', linked);
    expect(spawnSync(linked, ['run'], { encoding: 'utf8', env }).stdout).toMatch(/^fake: .* run\n$/);
  });

  test.each<[string, string[], NodeJS.ProcessEnv]>([
    ['another command', ['report'], {}],
    ['options for Node of the user', ['run'], { NODE_OPTIONS: '--stack-size=900' }],
    ['settings for malloc of the user', ['run'], { GLIBC_TUNABLES: 'glibc.malloc.trim_threshold=1' }],
  ])('goes through ringfence.js with %s', (_what, words, more) => {
    start();
    expect(run(words, more)).not.toContain('fake');
  });

  test('goes through ringfence.js when another Node is there since, or none', () => {
    start();
    utimesSync(join(program, 'start.sh'), 1, 1);
    expect(run(['report'])).toContain(process.versions.node);
    expect(run(['run'])).not.toContain('fake');
    start();
    makeNode();
    // As a package's file is: older than its installation.
    utimesSync(node, 1, 1);
    expect(run(['run'])).not.toContain('fake');
    start();
    rmSync(node);
    expect(run(['report'])).toContain(process.versions.node);
    expect(run(['run'])).not.toContain('fake');
  });
});

test('options of the Node that runs the launcher are those of the Node that runs main.ts', () => {
  const { stdout } = spawnSync(process.execPath, ['--stack-size=900', launcher, 'how'], { encoding: 'utf8', env });
  expect((JSON.parse(stdout) as { flags: string[] }).flags).toContain('--stack-size=900');
});

test('a file that is a descriptor of the launcher can be read', () => {
  const file = openSync(join(copy, 'packages/cli/package.json'), 'r');
  const { stdout, stderr } = spawnSync(process.execPath, [launcher, 'read', '/dev/fd/3'], {
    encoding: 'utf8',
    env,
    stdio: ['ignore', 'pipe', 'pipe', file],
  });
  closeSync(file);
  expect({ stdout, stderr }).toEqual({ stdout: '{ "type": "module" }', stderr: '' });
});

test('compiled code is kept below the cache directory of the user', () => {
  spawnSync(process.execPath, [launcher, 'report'], { env });
  expect(readdirSync(join(copy, 'cache/ringfence/node-compile-cache'))).not.toHaveLength(0);
});

test('a program that cannot be started is a problem, not a crash', () => {
  const { status, stderr } = spawnSync(process.execPath, [relauncher], {
    encoding: 'utf8',
    env: { ...env, PROGRAM: join(copy, 'none') },
  });
  expect({ status, stderr }).toEqual({ status: 9, stderr: `spawn ${join(copy, 'none')} ENOENT\n` });
});

describe('without Node 26', () => {
  beforeAll(() => installNode(false));

  test('none is found', () => {
    expect(findNode(launcher)).toBeUndefined();
  });

  test.skipIf(olderNode === undefined)('one sentence says how to get it', () => {
    const { status, stdout, stderr } = spawnSync(olderNode ?? '', [launcher, 'report'], { encoding: 'utf8', env });
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toMatch(
      /^ringfence: needs Node 26 and this is Node \d+\.\d+\.\d+; run "npm ci" in the repository[^\n]*\n$/,
    );
  });
});

test('Node 26 is found where npm put it', () => {
  expect(findNode(import.meta.url)).toMatch(/node_modules\/node\/bin\/node$/);
});
