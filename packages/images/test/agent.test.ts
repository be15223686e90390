/** The guest agent with its client, without a guest: the same sources, built for this machine with sanitizers, on a pair of sockets. */

import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import type { AgentCommand, AgentExit, AgentOutput, AgentTreeStep } from '@ringfence/core';
import { within } from '@ringfence/core/testing/node-host';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildNativeAgent, NativeAgent } from './testing/native-agent.ts';
import { AGENT_COMPILER, AGENT_PROGRAM, buildAgent, compilerVersion } from './testing/cross-agent.ts';
import { makeTree, sameTree } from './testing/trees.ts';

const LONGEST_PROGRAM_BYTES = 64 * 1024;
const isThere = (program: string): boolean => existsSync(`/usr/bin/${program}`) || process.env['CI'] !== undefined;
const hasCompiler = isThere('gcc');
const isRoot = process.getuid?.() === 0;

test.skipIf(!isThere('riscv64-linux-gnu-gcc'))('the committed program is what its sources make', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-agent-'));
  const program = join(folder, 'agent');
  buildAgent(program);
  const [built, committed] = [readFileSync(program), readFileSync(AGENT_PROGRAM)];
  rmSync(folder, { recursive: true });
  expect(committed.length).toBeLessThan(LONGEST_PROGRAM_BYTES);
  const recorded = readFileSync(AGENT_COMPILER, 'utf8').trim();
  // Another compiler's code is another one: then it is enough that it takes the sources.
  if (compilerVersion() !== recorded) context.skip(`this machine has another compiler than ${recorded}`);
  expect(built.equals(committed), '`npm run agent:build` makes it anew').toBe(true);
});

let program = '';
beforeAll(() => {
  if (hasCompiler) program = buildNativeAgent();
});
afterAll(() => {
  if (hasCompiler) rmSync(dirname(program), { recursive: true });
});

describe.skipIf(!hasCompiler)('the agent', () => {
  let folder = '';
  let agent: NativeAgent;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'ringfence-agent-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  beforeEach(async () => {
    agent = new NativeAgent(program);
    await agent.client.ready({ timeoutMs: 10_000 });
  });
  afterEach(async () => {
    // oxlint-disable-next-line vitest/no-standalone-expect -- Every test ends with it.
    expect([await within(agent.end(), 10_000, "the agent's end"), agent.complaints]).toEqual([0, '']);
  });

  /** Runs a command to its end. */
  async function run(command: AgentCommand, input?: Uint8Array): Promise<[AgentExit, string, string]> {
    const running = await agent.client.exec(command);
    const written = (async () => {
      if (input !== undefined) await running.stdin.write(input);
      running.stdin.end();
    })();
    const [stdout, stderr] = await Promise.all([text(running.stdout), text(running.stderr), written]);
    return [await running.exited, stdout, stderr];
  }

  describe('runs a program', () => {
    test('with separate streams, and tells how it ended', async () => {
      expect(await run({ argv: ['sh', '-c', 'cat; echo err >&2; exit 7'] }, utf8('in\n'))).toEqual([
        { kind: 'exited', code: 7 },
        'in\n',
        'err\n',
      ]);
      expect(await run({ argv: ['sh', '-c', 'kill -SEGV $$'] })).toEqual([{ kind: 'signaled', signal: 11 }, '', '']);
    });

    test('with its arguments byte for byte, an environment, a folder and nothing else', async () => {
      const bytes = Uint8Array.from({ length: 255 }, (_, at) => at + 1);
      const [, words] = await run({ argv: ['sh', '-c', 'printf %s "$1" | sha256sum; echo "<$2>$#"', 'sh', bytes, ''] });
      expect(words).toBe(`${createHash('sha256').update(bytes).digest('hex')}  -\n<>2\n`);
      const [, environment] = await run({ argv: ['env'], env: { A: 'b c', HOME: '/elsewhere' }, workdir: '/usr' });
      const lines = environment.trimEnd().split('\n').toSorted();
      expect(lines).toEqual(
        expect.arrayContaining(['A=b c', 'HOME=/elsewhere', 'LOGNAME=root', 'SHELL=/bin/bash', 'USER=root']),
      );
      expect(lines).toHaveLength(6);
      expect((await run({ argv: ['pwd'], workdir: '/usr/bin' }))[1]).toBe('/usr/bin\n');
      const [, inherited] = await run({
        argv: ['sh', '-c', 'ls -l /proc/self/fd | grep -c "pipe:"; grep SigBlk /proc/self/status; umask'],
      });
      expect(inherited).toMatch(/^[34]\nSigBlk:\s+0{16}\n0022\n$/);
    });

    test('with 300 KB of arguments', async () => {
      const words = Array.from({ length: 30 }, () => 'x'.repeat(10_000));
      expect((await run({ argv: ['sh', '-c', 'IFS=; echo "$*" | wc -c', 'sh', ...words] }))[1]).toBe('300001\n');
    });

    test.skipIf(!isRoot)('as a user with all its groups, or as numbers', async () => {
      expect((await run({ argv: ['id'], user: 'nobody' }))[1]).toMatch(
        /^uid=65534\(nobody\) gid=65534\(nogroup\) groups=65534\(nogroup\)\n$/,
      );
      expect((await run({ argv: ['sh', '-c', 'id -u; id -g; id -G'], user: '1234:5' }))[1]).toBe('1234\n5\n5\n');
      expect((await run({ argv: ['sh', '-c', 'echo $HOME $USER'], user: 'nobody:tty' }))[1]).toBe(
        '/nonexistent nobody\n',
      );
    });

    test('or says in one sentence why not', async () => {
      const refused = async (command: AgentCommand): Promise<unknown> =>
        agent.client.exec(command).catch((error: unknown) => error);
      expect(await refused({ argv: ['no-such-program'] })).toMatchObject({
        code: 'refused',
        errno: 'ENOENT',
        message: 'The guest could not run "no-such-program": it does not exist (ENOENT).',
      });
      expect(await refused({ argv: ['/etc/passwd'] })).toMatchObject({ errno: 'EACCES' });
      expect(await refused({ argv: ['true'], user: 'who' })).toMatchObject({
        message: 'The guest has no user "who" (ENOENT).',
      });
      expect(await refused({ argv: ['true'], user: 'root:who' })).toMatchObject({
        message: 'The guest has no group "who" (ENOENT).',
      });
      expect(await refused({ argv: ['true'], workdir: '/none' })).toMatchObject({
        message: 'The guest could not enter the folder "/none": it does not exist (ENOENT).',
      });
      expect(await refused({ argv: [] })).toMatchObject({ code: 'bad-argument' });
      expect(await refused({ argv: ['a\0b'] })).toMatchObject({ code: 'bad-argument' });
      expect(await refused({ argv: ['true'], env: { 'a=b': '' } })).toMatchObject({ code: 'bad-argument' });
      expect(await refused({ argv: ['x'.repeat(2 << 20)] })).toMatchObject({ code: 'limit' });
    });

    test('without input, if it is to have none', async () => {
      const running = await agent.client.exec({ argv: ['wc', '-c'], stdin: 'empty' });
      expect(await text(running.stdout)).toBe('0\n');
    });

    test('that does not read its input, which is dropped', async () => {
      const running = await agent.client.exec({ argv: ['sh', '-c', 'exec <&-; echo closed; sleep 0.3'] });
      for (let piece = 0; piece < 100; piece++)
        await within(running.stdin.write(new Uint8Array(10_000)), 5000, 'a write');
      expect(await text(running.stdout)).toBe('closed\n');
      expect(running.stdin.isClosed).toBe(true);
    });

    test('that leaves something behind which holds its streams: they end, and it lives on', async () => {
      const [exit, stdout] = await within(
        run({ argv: ['sh', '-c', '(sleep 0.5; echo late; echo $? >"$0") & echo done', join(folder, 'late')] }),
        400,
        'the end',
      );
      expect([exit, stdout]).toEqual([{ kind: 'exited', code: 0 }, 'done\n']);
      await new Promise((resolve) => setTimeout(resolve, 800));
      expect(readFileSync(join(folder, 'late'), 'utf8')).toBe('0\n');
    });
  });

  describe('keeps sessions apart', () => {
    test('twenty at once, each with a megabyte to and fro', async () => {
      const inputs = Array.from({ length: 20 }, () => randomBytes(1 << 20));
      const sums = await Promise.all(
        inputs.map(async (input) => {
          const running = await agent.client.exec({ argv: ['cat'] });
          const written = running.stdin.write(input).then(() => running.stdin.end());
          const hash = createHash('sha256');
          for await (const bytes of running.stdout) hash.update(bytes);
          await written;
          return hash.digest('hex');
        }),
      );
      expect(sums).toEqual(inputs.map((input) => createHash('sha256').update(input).digest('hex')));
    });

    test('a program keeps its output while there is no room for any of it', () => {
      const room = buildNativeAgent(join(import.meta.dirname, 'testing/agent-room.c'));
      expect(execFileSync(room, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })).toBe('');
    });

    test('one that floods waits for its reader, in little memory, and no other does', async () => {
      const before = residentKiB(agent);
      const floods = await Promise.all(
        Array.from({ length: 8 }, () => agent.client.exec({ argv: ['yes'], stdin: 'empty' })),
      );
      const stuck = await agent.client.exec({ argv: ['sleep', '1000'] });
      let isWritten = false;
      void stuck.stdin.write(new Uint8Array(4 << 20)).then(() => (isWritten = true));
      for (let round = 0; round < 20; round++)
        expect((await within(run({ argv: ['echo', 'x'] }), 5000, 'echo'))[1]).toBe('x\n');
      expect(isWritten).toBe(false);
      expect(residentKiB(agent) - before).toBeLessThan(4 * 1024);
      // Of what it could not write it does not lose anything either.
      const [flood] = floods;
      let count = 0;
      for await (const bytes of flood?.stdout ?? []) {
        for (const [at, byte] of bytes.entries())
          if (byte !== ((count + at) % 2 === 0 ? 0x79 : 0x0a)) throw new Error('lost');
        count += bytes.length;
        if (count > 4 << 20) break;
      }
      for (const each of [...floods, stuck]) each.close();
    });

    test('no more than it has room for', async () => {
      const { maximumChannels } = await agent.client.ready();
      const all = await Promise.all(
        Array.from({ length: maximumChannels }, () => agent.client.exec({ argv: ['cat'] })),
      );
      await expect(agent.client.exec({ argv: ['cat'] })).rejects.toMatchObject({ errno: 'EAGAIN' });
      for (const each of all) each.stdin.end();
      await Promise.all(all.map(async ({ stdout }) => text(stdout)));
      expect((await run({ argv: ['echo', 'again'] }))[1]).toBe('again\n');
    });
  });

  test('costs nothing while nothing happens', async () => {
    const { client } = agent;
    const quiet = [
      await client.exec({ argv: ['sh', '-c', 'exec <&-; sleep 1000'] }),
      await client.exec({ argv: ['sh', '-c', 'exec >&- 2>&-; sleep 1000'] }),
      await client.exec({ argv: ['yes'], stdin: 'empty' }),
      await client.exec({ argv: ['cat'], terminal: { columns: 80, rows: 24 } }),
      await client.exec({ argv: ['sh', '-c', 'sleep 1000 & exit'] }),
    ];
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = processorTicks(agent);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(processorTicks(agent) - before).toBeLessThan(5);
    for (const each of quiet) each.close();
  });

  describe('gives a terminal', () => {
    test('of the right size, that can be resized', async () => {
      const running = await agent.client.exec({
        argv: ['sh', '-c', 'tty; echo $TERM; stty size; read x; stty size'],
        terminal: { columns: 101, rows: 33, term: 'vt100' },
      });
      const screen = new Screen(running.stdout);
      await screen.waitFor('/dev/pts/');
      await screen.waitFor('vt100\r\n33 101\r\n');
      running.resize(60, 20);
      await running.stdin.write(utf8('\n'));
      await screen.waitFor('20 60\r\n');
      expect(await running.exited).toEqual({ kind: 'exited', code: 0 });
      expect(() => running.resize(0, 1)).toThrow('A terminal cannot have');
    });

    test('with job control: keys interrupt what is in the foreground', async () => {
      const running = await agent.client.exec({
        argv: ['bash', '--norc', '-i'],
        env: { PS1: '$ ' },
        terminal: { columns: 80, rows: 24 },
      });
      const screen = new Screen(running.stdout);
      await screen.waitFor('$ ');
      await running.stdin.write(utf8('sleep 1000\n'));
      await screen.waitFor('sleep 1000');
      await new Promise((resolve) => setTimeout(resolve, 200));
      await running.stdin.write(utf8('\x1a'));
      await screen.waitFor('Stopped');
      await running.stdin.write(utf8('fg\n'));
      await screen.waitFor('sleep 1000');
      await new Promise((resolve) => setTimeout(resolve, 200));
      running.signal(2);
      await screen.waitFor('$ ');
      await running.stdin.write(utf8('echo status $?\n'));
      await screen.waitFor('status 130');
      running.stdin.end();
      expect(await within(running.exited, 5000, 'the shell')).toEqual({ kind: 'exited', code: 0 });
    });
  });

  describe('ends what it has started', () => {
    test('with a signal to the whole group', async () => {
      const running = await agent.client.exec({ argv: ['sh', '-c', 'sleep 1001 & sleep 1002 & echo go; wait'] });
      const screen = new Screen(running.stdout);
      await screen.waitFor('go');
      running.signal(15);
      expect(await running.exited).toEqual({ kind: 'signaled', signal: 15 });
      await vanished('sleep 100[12]');
    });

    test('when the host closes it, whatever that does to stay', async () => {
      const stubborn = `trap '' HUP INT TERM; sleep 1003 & (trap '' HUP; exec sleep 1004) & bash -c "trap '' HUP; sleep 1005; :" & echo go; while :; do sleep 1006; done`;
      const running = await agent.client.exec({ argv: ['sh', '-c', stubborn] });
      await new Screen(running.stdout).waitFor('go');
      running.close();
      await expect(running.exited).rejects.toMatchObject({ code: 'closed' });
      await vanished('sleep 100[3456]');
    });

    test('when the connection ends', async () => {
      const running = await agent.client.exec({ argv: ['sh', '-c', 'sleep 1007 & echo go; sleep 1008'] });
      const terminal = await agent.client.exec({
        argv: ['sh', '-c', 'echo go; sleep 1009'],
        terminal: { columns: 80, rows: 24 },
      });
      await new Screen(running.stdout).waitFor('go');
      await new Screen(terminal.stdout).waitFor('go');
      await agent.end();
      await vanished('sleep 100[789]');
    });

    test('and leaves neither descriptors nor processes', async () => {
      await run({ argv: ['true'] });
      const before = agent.descriptors().length;
      for (let round = 0; round < 20; round++) {
        await run({ argv: ['sh', '-c', '(setsid true &) ; (sleep 0.01 &)'] });
        await agent.client.exec({ argv: ['no-such-program'] }).catch(() => undefined);
        await agent.client.stat('/none').catch(() => undefined);
        (await agent.client.exec({ argv: ['cat'], terminal: { columns: 80, rows: 24 } })).close();
      }
      await expect.poll(() => [agent.descriptors().length, children(agent)], { timeout: 10_000 }).toEqual([before, []]);
    });
  });

  describe('copies', () => {
    test('a tree out and in again, and it is the same', async () => {
      const [source, target] = [join(folder, 'source'), join(folder, 'target')];
      makeTree(source);
      const options = isRoot ? { keepOwners: true } : {};
      await agent.client.copyIn(target, agent.client.copyOut(source), options);
      sameTree(source, target);
      // Once more over itself: files are replaced, folders stay.
      await agent.client.copyIn(target, agent.client.copyOut(source), options);
      sameTree(source, target, { folderTimes: false });
    });

    test('holes as holes', async () => {
      const [source, target] = [join(folder, 'sparse'), join(folder, 'sparse-copy')];
      execFileSync('sh', [
        '-c',
        `truncate -s 8G "$0"; printf middle | dd of="$0" bs=1 seek=5000000000 conv=notrunc status=none`,
        source,
      ]);
      const steps: AgentTreeStep[] = [];
      for await (const step of agent.client.copyOut(source)) steps.push(step);
      expect(steps.length).toBeLessThan(20);
      await agent.client.copyIn(target, steps);
      expect(execFileSync('stat', ['-c', '%s', target]).toString()).toBe('8589934592\n');
      expect(Number(execFileSync('stat', ['-c', '%b', target]).toString())).toBeLessThan(1000);
      execFileSync('cmp', ['-n', '100000', '-i', '4999950000', source, target]);
    });

    test('a large file as a stream', async () => {
      const [source, target] = [join(folder, 'large'), join(folder, 'large-copy')];
      execFileSync('sh', ['-c', 'head -c 100000000 /dev/urandom >"$0"', source]);
      const before = residentKiB(agent);
      await agent.client.copyIn(target, agent.client.copyOut(source));
      expect(residentKiB(agent) - before).toBeLessThan(4096);
      execFileSync('cmp', [source, target]);
    });

    test('files to and from memory', async () => {
      const [path, content] = [join(folder, 'made/of/parents/file'), randomBytes(300_000)];
      await agent.client.writeFile(path, content, {
        mode: 0o640,
        mtimeNs: 1_234_567_890_123_456_789n,
        makeParents: true,
      });
      expect(Buffer.from(await agent.client.readFile(path)).equals(content)).toBe(true);
      expect(await agent.client.stat(path)).toMatchObject({
        kind: 'file',
        mode: 0o640,
        sizeBytes: 300_000,
        mtimeNs: 1_234_567_890_123_456_789n,
      });
      expect(new TextDecoder().decode(await agent.client.readFile('/proc/self/comm'))).toBe('agent\n');
      await expect(agent.client.readFile('/dev/zero', { maximumBytes: 1 << 20 })).rejects.toMatchObject({
        code: 'limit',
      });
      await expect(agent.client.readFile(folder)).rejects.toMatchObject({ errno: 'EISDIR' });
      await expect(agent.client.readFile(join(folder, 'none'))).rejects.toMatchObject({
        message: `The guest could not read "${join(folder, 'none')}": it does not exist (ENOENT).`,
      });
      await expect(agent.client.writeFile(join(folder, 'none/file'), content)).rejects.toMatchObject({
        errno: 'ENOENT',
      });
      await expect(agent.client.writeFile('relative', content)).rejects.toMatchObject({ code: 'bad-argument' });
      expect(readdirSync(dirname(path))).toEqual(['file']);
    });

    test('into what a link leads to, and never through a link within the copy', async () => {
      const inside = join(folder, 'inside');
      const outside = join(folder, 'outside');
      mkdirSync(inside);
      mkdirSync(outside);
      writeFileSync(join(outside, 'kept'), 'kept');
      execFileSync('ln', ['-s', outside, join(inside, 'link')]);
      execFileSync('ln', ['-s', join(outside, 'kept'), join(folder, 'to-kept')]);
      const entry = (kind: 'folder' | 'file', ...path: string[]): AgentTreeStep => ({
        kind: 'entry',
        path: path.map(utf8),
        status: {
          kind,
          mode: 0o755,
          uid: 0,
          gid: 0,
          mtimeNs: 0n,
          sizeBytes: 0,
          device: { major: 0, minor: 0 },
          target: new Uint8Array(0),
        },
      });
      await expect(
        agent.client.copyIn(inside, [entry('folder'), entry('folder', 'link'), entry('file', 'link', 'bad')]),
      ).rejects.toMatchObject({ code: 'refused' });
      expect(readdirSync(outside)).toEqual(['kept']);
      await expect(agent.client.copyIn(inside, [entry('folder'), entry('file', '..')])).rejects.toMatchObject({
        code: 'bad-argument',
      });
      await expect(agent.client.copyIn(inside, [entry('folder'), entry('file', 'none', 'x')])).rejects.toMatchObject({
        code: 'refused',
      });
      await agent.client.writeFile(join(folder, 'to-kept'), utf8('new'));
      expect(readFileSync(join(outside, 'kept'), 'utf8')).toBe('new');
    });

    test('nothing in part: what is given up leaves the file as it was', async () => {
      const path = join(folder, 'whole');
      writeFileSync(path, 'before');
      const broken = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
        yield new Uint8Array(1 << 20);
        throw new Error('the source broke');
      };
      await expect(agent.client.writeFile(path, broken())).rejects.toThrow('the source broke');
      await expect.poll(() => readdirSync(folder).filter((name) => name.startsWith('.ringfence'))).toEqual([]);
      expect(readFileSync(path, 'utf8')).toBe('before');
    });
  });

  test('answers questions about time, freezes nothing here, and thaws by itself', async () => {
    expect(await agent.client.ping()).toBeGreaterThan(0);
    const change = await agent.client.setTime();
    expect(change.wasSet).toBe(false);
    expect(Math.abs(Number(change.behindNs))).toBeLessThan(1e9);
    await agent.client.identify({ hostname: 'another', seed: new Uint8Array(512).fill(7) });
    await expect(agent.client.changeCard(new Uint8Array(6).fill(2), new Uint8Array(6))).rejects.toMatchObject({
      code: 'refused',
      errno: 'ENODEV',
    });
    const asked = await agent.client.freeze();
    expect(asked.count).toBe(0);
    await asked.thaw();
    expect(await asked.thawed).toBe('asked');
    const forgotten = await agent.client.freeze({ thawAfterMs: 100 });
    expect(await within(forgotten.thawed, 5000, 'the thaw')).toBe('timeout');
  });
});

describe.skipIf(!hasCompiler)('a host that breaks the protocol', () => {
  test.each([
    ['says nothing of itself first', '0000020001000000'],
    ['has another magic', '1000010000000000' + '00'.repeat(16)],
    ['sends a frame that is too long', 'ffff010000000000'],
  ])('is cut off when it %s', async (_, bytes) => {
    const agent = new NativeAgent(program);
    agent.client.close = () => undefined;
    agent.socket.write(Buffer.from(bytes, 'hex'));
    expect([await within(agent.ended, 10_000, "the agent's end"), agent.complaints]).toEqual([0, '']);
  });
});

function utf8(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

async function text(output: AgentOutput): Promise<string> {
  const decoder = new TextDecoder();
  let all = '';
  for await (const bytes of output) all += decoder.decode(bytes, { stream: true });
  return all;
}

/** What a stream has shown, and who waits for more of it. */
class Screen {
  #text = '';
  #look: () => void = () => {};

  constructor(output: AgentOutput) {
    void this.#read(output);
  }

  async waitFor(words: string): Promise<void> {
    const found = new Promise<void>((resolve) => {
      this.#look = () => {
        const at = this.#text.indexOf(words);
        if (at < 0) return;
        this.#text = this.#text.slice(at + words.length);
        this.#look = () => {};
        resolve();
      };
      this.#look();
    });
    await within(found, 10_000, `"${words}" on the screen, after "${this.#text}"`);
  }

  async #read(output: AgentOutput): Promise<void> {
    try {
      for await (const bytes of output) {
        this.#text += new TextDecoder().decode(bytes);
        this.#look();
      }
    } catch {
      // The test has ended it.
    }
  }
}

function residentKiB({ child }: NativeAgent): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]);
}

/** Hundredths of a second. */
function processorTicks({ child }: NativeAgent): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

function children({ child }: NativeAgent): string[] {
  return readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').split(' ').filter(Boolean);
}

/** No process has these words any more. */
async function vanished(pattern: string): Promise<void> {
  await expect.poll(() => withWords(new RegExp(pattern)), { timeout: 10_000 }).toEqual([]);
}

function withWords(pattern: RegExp): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      } catch {
        return '';
      }
    })
    .filter((words) => new RegExp(`^${pattern.source}$`).test(words));
}
