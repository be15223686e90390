/** Two virtual machines that run, and what reaches them from other processes: ps, exec, cp, console, stop. */

import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process, { execPath } from 'node:process';
import { openTiny } from '@ringfence/images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answer, end, type Ended, LAUNCHER, ringfence, start } from './testing/ringfence.ts';

let folder = '';
const runtime = process.env['XDG_RUNTIME_DIR'];
let web: ChildProcessWithoutNullStreams;
let db: ChildProcessWithoutNullStreams;
let webEnd: Promise<Ended>;
let dbEnd: Promise<Ended>;

async function run(...words: readonly string[]): Promise<ChildProcessWithoutNullStreams> {
  const child = start('run', ...words, '--', 'sh', '-c', 'echo begun; exec sleep 1000');
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.stderr.once('data', (bytes: Buffer) => reject(new Error(bytes.toString())));
  });
  return child;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-machines-'));
  process.env['XDG_RUNTIME_DIR'] = folder;
  await openTiny();
  [web, db] = await Promise.all([
    run('--name', 'web', '--env', 'COLOR=red', '--workdir', '/tmp', '--memory', '256M'),
    run('--name', 'db', '--memory', '128M'),
  ]);
  webEnd = end(web);
  dbEnd = end(db);
});
afterAll(() => {
  for (const child of [web, db]) child.kill('SIGKILL');
  if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = runtime;
  rmSync(folder, { recursive: true });
});

const at = (name: string): string => join(folder, name);

describe('ps', () => {
  test('lists those that run', async () => {
    const [code, stdout, stderr] = await answer(['ps']);
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^NAME +IMAGE +STATE +AGE +MEMORY +PORTS +PID +COMMAND$/);
    expect(lines[1]).toMatch(/^db +tiny +running +\d+ [sm] +128 MiB +- +\d+ +sh -c echo begun/);
    expect(lines[2]).toMatch(/^web +tiny +running +\d+ [sm] +256 MiB +- +\d+ +sh -c echo begun/);
  });

  test('gives programs JSON', async () => {
    const [, stdout] = await answer(['ps', '--json']);
    expect((JSON.parse(stdout) as { name: string; pid: number }[]).map(({ name, pid }) => [name, pid])).toEqual([
      ['db', db.pid],
      ['web', web.pid],
    ]);
  });
});

test('a machine of two processors is forked if it was started for that', async () => {
  const two = await run('--name', 'two', '--memory', '128M', '--cpus', '2', '--forkable');
  const ended = end(two);
  try {
    expect(await answer(['fork', 'two', '--name', 'copy'])).toEqual([0, 'copy\n', '']);
    expect(await answer(['exec', 'copy', 'sh', '-c', 'nproc; hostname'])).toEqual([0, '2\ncopy\n', '']);
    expect((await answer(['stop', '--timeout', '0', 'copy', 'two']))[0]).toBe(0);
    await ended;
  } finally {
    two.kill('SIGKILL');
  }
});

describe('exec', () => {
  test('gives the output, its streams apart, and the code of a command', async () => {
    const script = 'echo out; echo err >&2; exit 7';
    expect(await answer(['exec', 'web', 'sh', '-c', script])).toEqual([7, 'out\n', 'err\n']);
    expect((await answer(['exec', 'web', 'sh', '-c', 'kill -TERM $$']))[0]).toBe(143);
  });

  test('takes whatever follows the name for the command', async () => {
    expect(await answer(['exec', 'web', 'printf', '<%s>', '-t', '--env', '--', 'x'])).toEqual([
      0,
      '<-t><--env><--><x>',
      '',
    ]);
    expect(await answer(['exec', 'web', '--', 'echo', '-n', 'a'])).toEqual([0, 'a', '']);
  });

  test("has the machine's variables and folder, or its own", async () => {
    const show = ['sh', '-c', 'echo $COLOR $SIZE $PWD $(id -un)'];
    expect((await answer(['exec', 'web', ...show]))[1]).toBe('red /tmp root\n');
    const own = ['--env', 'COLOR=blue', '-e', 'SIZE=2', '--workdir', '/usr', '--user', 'nobody'];
    expect((await answer(['exec', ...own, 'web', ...show]))[1]).toBe('blue 2 /usr nobody\n');
  });

  test('reads what is piped in with -i, and nothing without', async () => {
    const input = randomBytes(2_000_000);
    const { code, stdout } = await ringfence(['exec', '-i', 'web', 'cat'], input);
    expect([code, createHash('md5').update(stdout).digest('hex')]).toEqual([
      0,
      createHash('md5').update(input).digest('hex'),
    ]);
    expect(await answer(['exec', 'web', 'cat'], 'not read')).toEqual([0, '', '']);
  });

  test('ends a command that is left, and passes signals on', async () => {
    const child = start(
      'exec',
      'web',
      'sh',
      '-c',
      'trap "echo hung; exit 5" INT; echo begun; while :; do sleep 0.1; done',
    );
    child.stdout.once('data', () => child.kill('SIGINT'));
    expect(await end(child)).toEqual({ code: 5, stdout: Buffer.from('begun\nhung\n'), stderr: '' });
    const left = start('exec', 'web', 'sh', '-c', 'echo begun; exec sleep 8888');
    await new Promise((resolve) => left.stdout.once('data', resolve));
    left.kill('SIGKILL');
    await expect
      .poll(async () => (await answer(['exec', 'web', 'sh', '-c', 'ps | grep -c "[s]leep 8888"']))[1], {
        timeout: 15_000,
      })
      .toBe('0\n');
  });

  test.each([
    [
      ['exec', 'nobody-here', 'true'],
      125,
      'ringfence: there is no virtual machine "nobody-here"; "ringfence ps" lists those that run (not-found)\n',
    ],
    [['exec', 'wbe', 'true'], 125, 'ringfence: there is no virtual machine "wbe"; did you mean "web"? (not-found)\n'],
    [['exec', 'web'], 125, 'ringfence: what is to run in "web"? write it like: ringfence exec web uname -a\n'],
    [['exec', 'web', 'no-such'], 127, 'no-such: not found\n'],
    [['exec', 'web', '/etc'], 126, '/etc: permission denied\n'],
    [
      ['exec', '--user', 'nosuch', 'web', 'id'],
      125,
      'ringfence: The guest has no user "nosuch" (ENOENT) (unavailable)\n',
    ],
    [['exec', '--workdir', 'tmp', 'web', 'id'], 125, 'ringfence: --workdir "tmp" is no absolute path of the guest\n'],
    [
      ['exec', '-it', 'web', 'sh'],
      125,
      'ringfence: -t needs a terminal, and stdin is none; leave it out to pipe something in\n',
    ],
    [
      ['exec', '--frob', 'web', 'sh'],
      125,
      'ringfence: unknown option \'--frob\'; "ringfence help" shows what there is\n',
    ],
  ])('%j fails with %i and a sentence', async (words, code, stderr) => {
    expect(await answer(words)).toEqual([code, '', stderr]);
  });
});

const SCRIPT = 'script';
const noScript = spawnSync(SCRIPT, ['--version']).error !== undefined;

describe.skipIf(noScript)(`on a terminal${noScript ? `: there is no program ${SCRIPT}` : ''}`, () => {
  /** A command on a terminal of 33 rows and 101 columns; types `keys` when `when` is on the screen. */
  async function onTerminal(
    words: string,
    steps: readonly (readonly [when: RegExp, keys: string])[],
  ): Promise<[number | null, string]> {
    const line = `stty rows 33 cols 101; "${execPath}" "${LAUNCHER}" ${words}`;
    const child = spawn(SCRIPT, ['-qec', line, '/dev/null']);
    let screen = '';
    let step = 0;
    child.stdout.on('data', (bytes: Buffer) => {
      screen += bytes.toString();
      const [when, keys] = steps[step] ?? [];
      if (when?.test(screen) !== true) return;
      step++;
      child.stdin.write(keys ?? '');
    });
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return [code, screen];
  }

  test('exec -it gives a shell with a terminal of that size', async () => {
    const [code, screen] = await onTerminal('exec -it web sh', [
      [/# /, 'echo "size $(stty size)"\r'],
      [/size 33 101\r/, 'exit 4\r'],
    ]);
    expect([code, screen]).toEqual([4, expect.stringMatching(/size 33 101\r/)]);
  });

  test('Ctrl-A X leaves a command, and the machine goes on', async () => {
    const [code, screen] = await onTerminal('exec -it web sh -c "echo begun; sleep 1000"', [[/begun\r/, '\u0001x']]);
    expect([code, screen]).toEqual([0, expect.stringContaining('the command was left; "web" goes on')]);
  });

  test('console shows the serial console, and Ctrl-A X leaves it', async () => {
    const [code, screen] = await onTerminal('console web', [
      [/# /, 'echo "typed $((1+2)) on $(tty)"\r'],
      [/typed 3 on \/dev\/ttyS0/, '\u0001x'],
    ]);
    expect([code, screen]).toEqual([0, expect.stringContaining('Ctrl-A X leaves it')]);
  });
});

describe('cp', () => {
  test('copies files and folders in and out, and from machine to machine', async () => {
    mkdirSync(at('tree/deep'), { recursive: true });
    writeFileSync(at('tree/deep/file'), randomBytes(500_000));
    expect(await answer(['cp', at('tree'), 'web:/srv'])).toEqual([0, '', '']);
    expect(await answer(['cp', 'web:srv/.', 'db:/copied'])).toEqual([0, '', '']);
    expect(await answer(['cp', 'db:/copied/deep', at('back')])).toEqual([0, '', '']);
    expect(readFileSync(at('back/file')).equals(readFileSync(at('tree/deep/file')))).toBe(true);
    expect(await answer(['cp', 'web:/etc/os-release', folder])).toEqual([0, '', '']);
    expect(readFileSync(at('os-release'), 'utf8')).toContain('ID=ringfence-tiny');
  });

  test.each([
    [['cp', 'a', 'b'], 'neither "a" nor "b" is in a virtual machine; write one of them like NAME:PATH'],
    [['cp', 'web:/none', '/tmp'], 'The guest could not look at "/none": it does not exist (ENOENT) (unavailable)'],
    [['cp', '/none', 'web:/tmp'], 'there is no file or folder "/none" to copy (not-found)'],
    [['cp', '/etc/passwd', 'web:/none/'], 'there is no folder "/none/" to copy to (bad-argument)'],
    [
      ['cp', 'nowhere-at-all:/x', '.'],
      'there is no virtual machine "nowhere-at-all"; "ringfence ps" lists those that run (not-found)',
    ],
  ])('%j fails with a sentence', async (words, sentence) => {
    expect(await answer(words)).toEqual([1, '', `ringfence: ${sentence}\n`]);
  });
});

test('a name that is taken is refused, and so is one that is none', async () => {
  expect(await answer(['run', '--name', 'web', '--', 'true'])).toEqual([
    125,
    '',
    'ringfence: there is a virtual machine "web" already; choose another name\n',
  ]);
  const [code, , stderr] = await answer(['run', '--name', 'Web', '--', 'true']);
  expect([code, stderr]).toEqual([
    125,
    expect.stringMatching(/^ringfence: "Web" is no name for a virtual machine; use/),
  ]);
});

describe('stop', () => {
  test('shuts a machine down, whose process says so', async () => {
    expect(await answer(['stop', 'web'])).toEqual([0, 'web\n', '']);
    const { code, stderr } = await webEnd;
    expect([code, stderr]).toEqual([
      143,
      expect.stringMatching(/^(?:ringfence: the virtual machine was stopped from outside\n)?$/),
    ]);
    expect(existsSync(at('ringfence/web.sock'))).toBe(false);
  });

  test('ends one at once when it may not take any time', async () => {
    expect(await answer(['stop', '--timeout', '0', 'db', 'web'])).toEqual([
      1,
      'db\n',
      expect.stringMatching(
        /^ringfence: there is no virtual machine "web"; (?:none is running|"ringfence ps" lists.*) \(not-found\)\n$/,
      ),
    ]);
    expect((await dbEnd).code).toBe(143);
    expect(await answer(['ps'])).toEqual([
      0,
      '',
      'ringfence: no virtual machine is running; "ringfence run" starts one\n',
    ]);
  });
});
