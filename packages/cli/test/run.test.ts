/** `ringfence run` as scripts use it: streams, exit codes, limits, signals, bad input. Boots Debian each time. */

import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, cpSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process, { execPath } from 'node:process';
import { openTiny } from '@ringfence/images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answer, end, LAUNCHER, ringfence, start } from './testing/ringfence.ts';

let folder = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-run-'));
  // On a machine that never had the image its progress would be on stderr.
  await openTiny();
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('a command', () => {
  test('answers on stdout, with nothing else there, and gives its exit code', async () => {
    const [code, stdout, stderr] = await answer(['run', '--', 'uname', '-a']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^Linux [a-z]+-[a-z]+ \S+-riscv64 #1 SMP .* riscv64 GNU\/Linux\n$/);
  });

  test('has its two streams kept apart', async () => {
    expect(await answer(['run', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual([7, 'out\n', 'err\n']);
  });

  test('gets its arguments as they are', async () => {
    const words = ['-n', "it's", 'a "b" $HOME `ls` \\', '', '--', 'ü\n*'];
    const [code, stdout] = await answer(['run', '--', 'printf', '<%s>', ...words]);
    expect([code, stdout]).toEqual([0, words.map((word) => `<${word}>`).join('')]);
  });

  test('that does not exist ends with 127', async () => {
    expect(await answer(['run', '--', 'no-such-command'])).toEqual([127, '', 'no-such-command: not found\n']);
  });

  test('has the user, the folder, the variables and the processors that were asked for', async () => {
    const words = ['--env', 'A=b c', '--env', 'HOME_OF_TEST', '--user', 'nobody', '--workdir', '/usr', '--cpus', '2'];
    const script = 'echo "$A" "$HOME_OF_TEST"; id -un; pwd; grep -c ^processor /proc/cpuinfo; hostname';
    const child = spawn(execPath, [LAUNCHER, 'run', '--name', 'named', ...words, '--', 'sh', '-c', script], {
      env: { ...process.env, HOME_OF_TEST: 'here', XDG_RUNTIME_DIR: folder },
    });
    const { code, stdout, stderr } = await end(child);
    expect([code, stdout.toString(), stderr]).toEqual([0, 'b c here\nnobody\n/usr\n2\nnamed\n', '']);
  });

  test('reads what is piped in, byte for byte, and its output comes back whole', async () => {
    const input = randomBytes(1 << 20);
    const { code, stdout, stderr } = await ringfence(['run', '--', 'cat'], input);
    expect([code, stderr, stdout.length]).toEqual([0, '', input.length]);
    expect(stdout.equals(input)).toBe(true);
  });

  test('sees the end of its input', async () => {
    const input = randomBytes(300_000);
    const { stdout } = await ringfence(['run', '--suite', 'testing', '--', 'sha256sum'], input);
    expect(stdout.toString()).toBe(`${createHash('sha256').update(input).digest('hex')}  -\n`);
  });

  test('writes to its disk, which is still so afterwards', async () => {
    const disk = join(folder, 'disk.img');
    writeFileSync(disk, '');
    truncateSync(disk, 1 << 20);
    expect(await answer(['run', '--disk', disk, '--', 'sh', '-c', 'echo kept >/dev/vda'])).toEqual([0, '', '']);
    expect(await answer(['run', '--disk', disk, '--', 'head', '-c', '5', '/dev/vda'])).toEqual([0, 'kept\n', '']);
  });
});

test('without a command the shell reads its commands from stdin', async () => {
  expect(await answer(['run'], 'echo hello\nexit 4\n')).toEqual([4, 'hello\n', '']);
});

test('boot messages are shown with --verbose, on stderr', async () => {
  const [code, stdout, stderr] = await answer([
    'run',
    '--verbose',
    '--append',
    'some.word=1',
    '--',
    'cat',
    '/proc/cmdline',
  ]);
  expect(code).toBe(0);
  expect(stdout).toContain('some.word=1');
  expect(stderr).toContain('Linux version');
});

test('the report of what the machine did comes on stderr, for people or as JSON', async () => {
  const [code, stdout, stderr] = await answer([
    'run',
    '--engine',
    'interpreter',
    '--stats',
    '--json',
    '--',
    'echo',
    'a',
  ]);
  expect([code, stdout]).toEqual([0, 'a\n']);
  const report = JSON.parse(stderr) as { seconds: number; counters: Record<string, number> };
  expect(report.seconds).toBeGreaterThan(0);
  expect(report.counters['instructions']).toBeGreaterThan(1e6);
  expect((await answer(['run', '--stats', '--', 'true']))[2]).toMatch(
    /^time\n {2}of the machine .*^instructions\n {2}all +[\d,]+$/ms,
  );
});

test('what is executed often is compiled, and most of a long loop in what was compiled', async () => {
  const loop = 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done';
  const [, , stderr] = await answer(['run', '--engine', 'jit', '--stats', '--json', '--', 'sh', '-c', loop]);
  const { counters } = JSON.parse(stderr) as { counters: Record<string, number> };
  expect(counters['jit.instructions']).toBeGreaterThan(0.4 * (counters['instructions'] ?? Infinity));
});

describe('the end', () => {
  test('comes when the time is over', async () => {
    const [code, stdout, stderr] = await answer(['run', '--timeout', '2s', '--', 'sh', '-c', 'while :; do :; done']);
    expect([code, stdout, stderr]).toEqual([
      124,
      '',
      'ringfence: the virtual machine was ended after 2s, as --timeout says\n',
    ]);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('comes with %s, as a shell reports it', async (signal, code) => {
    const child = start('run', '--', 'sh', '-c', 'echo begun; sleep 1000');
    child.stdout.once('data', () => child.kill(signal));
    expect(await end(child)).toEqual({ code, stdout: Buffer.from('begun\n'), stderr: '' });
  });

  test('comes when nobody reads stdout any more', async () => {
    const child = start('run', '--', 'yes');
    child.stdout.once('data', () => child.stdout.destroy());
    expect((await end(child)).code).toBe(141);
  });

  test('comes with the panic of the kernel, which is shown', async () => {
    const [code, stdout, stderr] = await answer(['run', '--append', 'rdinit=/nothing init=/nothing', '--', 'true']);
    expect([code, stdout]).toEqual([125, '']);
    expect(stderr).toMatch(/^.*Kernel panic - not syncing/);
    expect(stderr).toContain("ringfence: the guest's kernel panicked");
  });

  test('is noticed when the guest switches itself off', async () => {
    const [code, , stderr] = await answer(['run', '--', 'poweroff', '-f']);
    expect(code).toBe(125);
    expect(stderr).toContain('switched itself off before its command had ended');
  });
});

describe('bad input', () => {
  test('a machine that is too small for the kernel', async () => {
    const [code, , stderr] = await answer(['run', '--memory', '20M', '--', 'true']);
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(/^ringfence: Cannot load kernel .*at least \d+ MiB of memory/),
    ]);
  });

  test('a disk that does not exist', async () => {
    const [code, , stderr] = await answer(['run', '--disk', join(folder, 'none'), '--', 'true']);
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(/^ringfence: Disk ".*none" does not exist; .*truncate/),
    ]);
  });

  test.skipIf(process.getuid?.() === 0)('a disk that is read-only', async () => {
    const disk = join(folder, 'read-only.img');
    writeFileSync(disk, new Uint8Array(4096));
    chmodSync(disk, 0o400);
    const [code, , stderr] = await answer(['run', '--disk', disk, '--', 'true']);
    expect([code, stderr]).toEqual([125, expect.stringMatching(/^ringfence: Disk ".*" is read-only, /)]);
  });

  test('a cached image that was cut off, which is not put in order silently', async () => {
    const cache = join(folder, 'cache');
    const suite = join(cache, 'images/tiny-stable');
    cpSync(dirname((await openTiny()).kernelPath), suite, { recursive: true });
    const initrd = readdirSync(suite).find((name) => name.startsWith('initrd')) ?? '';
    truncateSync(join(suite, initrd), 1000);
    const child = spawn(execPath, [LAUNCHER, 'run', '--', 'true'], { env: { ...process.env, RINGFENCE_CACHE: cache } });
    const { code, stderr } = await end(child);
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(/^ringfence: The cached image tiny \(stable\) is damaged: .*image pull tiny/),
    ]);
  });
});
