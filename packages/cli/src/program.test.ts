import process from 'node:process';
import { expect, test, vi } from 'vitest';
import { runCommandLine } from './program.ts';

async function ask(...words: readonly string[]) {
  const said = { stdout: '', stderr: '' };
  const code = await runCommandLine(words, {
    stdout: (text) => void (said.stdout += text),
    stderr: (text) => void (said.stderr += text),
  });
  return { code, ...said };
}

test('help names every command and shows examples', async () => {
  const { code, stdout } = await ask('--help');
  expect(code).toBe(0);
  for (const words of [
    'run [options]',
    'boot [options]',
    'demo [options]',
    'ps [options]',
    'exec [options]',
    'cp [options]',
    'console <name>',
    'fork [options]',
    'stop [options]',
    'ringfence exec -it web sh',
    'image',
    'disk',
    'version',
    'ringfence run -- uname -a',
  ])
    expect(stdout).toContain(words);
});

test.each(['run', 'boot', 'demo', 'ps', 'exec', 'cp', 'console', 'fork', 'stop', 'image', 'disk', 'version'])(
  'help for %s',
  async (command) => {
    const { code, stdout } = await ask('help', command);
    expect([code, stdout.startsWith(`Usage: ringfence ${command}`)]).toEqual([0, true]);
  },
);

test.each(['run', 'boot'])('help for %s tells of engines and of the report', async (command) => {
  const { stdout } = await ask('help', command);
  expect(stdout).toMatch(/--engine <name> .*\(choices: "interpreter",\s+"jit"\)/s);
  expect(stdout).toContain('--stats');
  expect(stdout).toContain('--json');
});

test('without a command help comes on stderr', async () => {
  const { code, stdout, stderr } = await ask();
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toContain('Usage: ringfence');
});

test.each([
  [['frob'], 2, "unknown command 'frob'"],
  [['image', 'frob'], 2, "unknown command 'frob'"],
  [['image', 'rm'], 2, "missing required argument 'image'"],
  [['run', '--memry', '1G'], 125, "unknown option '--memry' (Did you mean --memory?)"],
  [['run', '--memory'], 125, "option '--memory <size>' argument missing"],
  [['boot', 'a', 'b'], 125, 'too many arguments'],
  [['exec', '--frob', 'web', 'ls'], 125, "unknown option '--frob'"],
  [['cp', 'a'], 2, "missing required argument 'destination'"],
  [['stop'], 2, "missing required argument 'name'"],
  [['fork'], 2, "missing required argument 'name'"],
  [['run', '--engine', 'fast'], 125, "'fast' is invalid. Allowed choices are interpreter, jit."],
  [['boot', '--engine', 'jit-eager', 'a'], 125, "'jit-eager' is invalid. Allowed choices are interpreter, jit."],
])('%j gets one sentence', async (words, code, sentence) => {
  const answer = await ask(...words);
  expect([answer.code, answer.stdout]).toEqual([code, '']);
  expect(answer.stderr).toMatch(/^ringfence: .*; "ringfence help" shows what there is\n$/);
  expect(answer.stderr).toContain(sentence);
});

test.each([
  [['run', 'ls', '/tmp'], 'a command comes after two dashes: ringfence run -- ls /tmp'],
  [
    ['run', 'ls'],
    'there is no image "ls", only tiny and debian; a command comes after two dashes: ringfence run -- ls',
  ],
  [['run', '--memory', 'lots', '--', 'ls'], '--memory "lots" is no size; write it like 512M or 2G'],
  [['run', '--timeout', '0', '--', 'ls'], '--timeout "0" is no time at all; write something like 30s'],
  [['run', '--cpus', 'two', '--', 'ls'], '--cpus "two" is no number from 1 to 8'],
  [['run', '--env', '=x', '--', 'ls'], '--env "=x" has no name; write it like NAME=VALUE'],
  [['run', '--workdir', 'x', '--', 'ls'], '--workdir "x" is no absolute path of the guest'],
  [['run', '--name', 'A', '--', 'ls'], '"A" is no name for a virtual machine'],
  [['exec', 'web'], 'what is to run in "web"? write it like: ringfence exec web uname -a'],
  [['cp', 'a', 'b'], 'neither "a" nor "b" is in a virtual machine; write one of them like NAME:PATH'],
  [['run', '--json'], '--json is the form of the report that --stats gives; give both'],
  [['boot', '--json', 'a'], '--json is the form of the report that --stats gives; give both'],
  [['boot'], 'there is nothing to boot; give --kernel FILE, --bios FILE or an ELF file'],
  [['boot', '--kernel', 'a', 'b'], '"b" and --kernel "a" cannot both be booted; give one'],
  [['boot', '--kernel', '/nowhere/Image'], 'Kernel "/nowhere/Image" cannot be read: there is no such file or folder'],
  [['demo', '--port', '99999'], '--port "99999" is no port; write a number from 0 to 65535'],
  [['image', 'pull', 'huge'], 'there is no image "huge", only tiny'],
])('%j fails with a sentence', async (words, sentence) => {
  await expect(ask(...words)).rejects.toThrow(sentence);
});

test.each([
  [['fork', '--count', 'many', 'web'], '--count "many" is no number of forks; write one from 1 on'],
  [['stop', '--timeout', 'soon', 'web'], '--timeout "soon" is no duration; write it like 30s, 5m or 1h'],
])('%j fails with a sentence and a code, to people and as JSON', async (words, message) => {
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      said[stream] += String(text);
      return true;
    });
  const codes = [(await ask(...words)).code, (await ask(...words, '--json')).code];
  vi.restoreAllMocks();
  expect([codes, said.stderr]).toEqual([[1, 1], `ringfence: ${message} (bad-argument)\n`]);
  expect(JSON.parse(said.stdout)).toEqual({ error: { code: 'bad-argument', message } });
});
