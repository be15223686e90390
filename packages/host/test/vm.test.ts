/** A virtual machine as a library: one is booted, and everything is asked of it. */

import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { DiskFile, HostError, VM, type VMOptions } from '../src/index.ts';
import { createQcow2 } from '@ringfence/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const FLOOD_BYTES = 100_000;
const MAXIMUM_GROWTH_BYTES = 64 * 1024 ** 2;

let folder = '';
let vm: VM;
let port = 0;
let port6 = 0;
const runtime = process.env['XDG_RUNTIME_DIR'];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-vm-'));
  process.env['XDG_RUNTIME_DIR'] = folder;
  mkdirSync(join(folder, 'shared'));
  [port, port6] = await Promise.all([freePort('127.0.0.1'), freePort('::1')]);
  vm = await VM.start({
    name: 'library',
    memory: '256M',
    network: 'lan',
    env: { GREETING: 'hello', OTHER: 'one' },
    workdir: '/tmp',
    shares: [`${join(folder, 'shared')}:/shared`],
    publish: [`${port}:80`, `[::1]:${port6}:80`],
  });
});
afterAll(async () => {
  await vm.kill();
  if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = runtime;
  rmSync(folder, { recursive: true });
});

async function freePort(host: string): Promise<number> {
  const probe = createServer().listen(0, host);
  await once(probe, 'listening');
  const { port: free } = probe.address() as { port: number };
  probe.close();
  return free;
}

test('a paused machine stands still, and goes on as if nothing had been but for the time of day', async () => {
  const uptime = async (): Promise<number> => Number((await vm.exec(['cut', '-d ', '-f1', '/proc/uptime'])).stdout);
  const before = await uptime();
  // Who asked for it has gone when it is its turn.
  const leaving = vm.pause({ isWanted: () => Promise.resolve(false) });
  expect(vm.status().isChanging).toBe(true);
  await expect(leaving).rejects.toMatchObject({ code: 'aborted' });
  expect([vm.isPaused, vm.status().isChanging]).toEqual([false, undefined]);
  await vm.pause();
  expect([vm.isPaused, vm.status().state]).toEqual([true, 'paused']);
  const { instructions } = vm.statistics();
  await expect(vm.exec(['true'])).rejects.toMatchObject({ code: 'wrong-state' });
  await new Promise((resolve) => setTimeout(resolve, 2000));
  expect(vm.statistics()['instructions']).toBe(instructions);
  await vm.resume();
  expect((await uptime()) - before).toBeLessThan(1.5);
  const seconds = Number((await vm.exec(['date', '+%s'])).stdout);
  expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(2);
});

describe('a command', () => {
  test('gives what it wrote, its streams apart, and its code', async () => {
    expect(await vm.exec(['uname', '-nm'])).toEqual({
      stdout: 'library riscv64\n',
      stderr: '',
      code: 0,
      signal: undefined,
    });
    expect(await vm.exec(['sh', '-c', 'echo out; echo err >&2; exit 3'])).toMatchObject({
      stdout: 'out\n',
      stderr: 'err\n',
      code: 3,
    });
    expect(await vm.exec(['sh', '-c', 'kill -9 $$'])).toMatchObject({ code: 137, signal: 9 });
  });

  test("has the machine's variables, folder and user, and its own before them", async () => {
    const { stdout } = await vm.exec(['sh', '-c', 'echo $GREETING $OTHER; pwd; id -un'], {
      env: { OTHER: 'another' },
      user: 'nobody',
    });
    expect(stdout).toBe('hello another\n/tmp\nnobody\n');
  });

  test('reads its input, which may be megabytes of any bytes', async () => {
    const input = randomBytes(3_000_000);
    const { stdout } = await vm.exec(['md5sum'], { input });
    expect(stdout).toBe(`${createHash('md5').update(input).digest('hex')}  -\n`);
    expect((await vm.exec(['cat'])).stdout).toBe('');
    const { stdout: bytes } = await vm.execBytes(['cat'], { input: Uint8Array.of(0, 0xff, 10) });
    expect([...bytes]).toEqual([0, 0xff, 10]);
  });

  test('is ended when it takes too long, when somebody stops it, and when it writes too much', async () => {
    await expect(vm.exec(['sleep', '77'], { timeoutMs: 100 })).rejects.toThrow(
      'the command "sleep" took longer than 100 ms',
    );
    await expect(vm.exec(['sleep', '77'], { signal: AbortSignal.timeout(100) })).rejects.toMatchObject({
      code: 'aborted',
    });
    await expect(vm.exec(['yes'], { maximumOutputBytes: 10_000 })).rejects.toThrow('wrote more than 10000 bytes');
    await expect
      .poll(async () => (await vm.exec(['sh', '-c', 'ps | grep -cE "[s]leep 77|[y]es$"'])).stdout, { timeout: 10_000 })
      .toBe('0\n');
  });

  test('that is not there is refused', async () => {
    await expect(vm.exec(['no-such-command'])).rejects.toMatchObject({ code: 'refused', errno: 'ENOENT' });
  });

  test('talks with its caller while it runs', async () => {
    const program = await vm.spawn(['sh', '-c', 'while read -r line; do echo "got $line"; done; echo end']);
    let said = '';
    await program.stdin.write(Buffer.from('one\n'));
    for await (const bytes of program.stdout) {
      said += Buffer.from(bytes).toString();
      if (said === 'got one\n') {
        await program.stdin.write(Buffer.from('two\n'));
        program.stdin.end();
      }
    }
    expect(said).toBe('got one\ngot two\nend\n');
    expect(await program.exited).toEqual({ kind: 'exited', code: 0 });
  });

  test('has a terminal that can be resized', async () => {
    const program = await vm.spawn(['sh', '-c', 'stty size; read -r _; stty size; tty'], {
      terminal: { columns: 101, rows: 33 },
    });
    let said = '';
    for await (const bytes of program.stdout) {
      said += Buffer.from(bytes).toString();
      if (said === '33 101\r\n') {
        program.resize(80, 25);
        await program.stdin.write(Buffer.from('\r'));
      }
    }
    expect(said).toMatch(/^33 101\r\n\r\n25 80\r\n\/dev\/pts\/\d+\r\n$/);
  });
});

test('files and folders go in and come out, to where docker cp puts them', async () => {
  const tree = join(folder, 'tree');
  mkdirSync(join(tree, 'deep'), { recursive: true });
  writeFileSync(join(tree, 'deep/file'), randomBytes(1_000_000));
  await vm.copyIn(tree, '/tmp');
  const { stdout } = await vm.exec(['sh', '-c', 'find tree | sort; md5sum tree/deep/file | cut -c 1-32']);
  const sum = createHash('md5')
    .update(readFileSync(join(tree, 'deep/file')))
    .digest('hex');
  expect(stdout).toBe(`tree\ntree/deep\ntree/deep/file\n${sum}\n`);
  await vm.copyOut('/tmp/tree/.', join(folder, 'back'));
  expect(readFileSync(join(folder, 'back/deep/file')).equals(readFileSync(join(tree, 'deep/file')))).toBe(true);
  await expect(vm.copyOut('/no/such', folder)).rejects.toMatchObject({ errno: 'ENOENT' });
});

test('a shared folder and published ports are there as soon as it takes commands', async () => {
  writeFileSync(join(folder, 'shared/here'), 'from here');
  const { stdout } = await vm.exec(['sh', '-c', 'cat /shared/here; echo from there >/shared/there']);
  expect([stdout, readFileSync(join(folder, 'shared/there'), 'utf8')]).toEqual(['from here', 'from there\n']);
  await vm.exec(['sh', '-c', 'mkdir /www; echo served >/www/index.html; httpd -h /www']);
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('served\n');
  expect(await (await fetch(`http://[::1]:${port6}/`)).text()).toBe('served\n');
});

test('machines on one named network reach each other by name, and one on another reaches neither name nor address', async () => {
  const [lan, other] = await Promise.all(
    [
      { name: 'db', network: 'lan' },
      { name: 'stranger', network: 'other' },
    ].map((options) => VM.start({ ...options, memory: '128M', reachable: false })),
  );
  if (lan === undefined || other === undefined) throw new Error('two were started');
  await using db = lan;
  await using stranger = other;
  await db.exec(['sh', '-c', 'mkdir /www; echo from db >/www/index.html; httpd -h /www']);
  const addressOf = async (machine: VM): Promise<string> =>
    (await machine.exec(['sh', '-c', 'ip -4 -o addr show eth0 | grep -oE "inet [0-9.]+" | cut -c 6-'])).stdout.trim();
  const address = await addressOf(db);
  const page = (machine: VM, host: string): ReturnType<VM['exec']> =>
    machine.exec(['wget', '-q', '-T', '3', '-O', '-', `http://${host}/`]);
  for (const host of ['db', address]) expect(await page(vm, host)).toMatchObject({ stdout: 'from db\n', code: 0 });
  // Or it would ask itself.
  expect(await addressOf(stranger)).not.toBe(address);
  expect(await page(stranger, 'db')).toMatchObject({
    stdout: '',
    code: 1,
    stderr: expect.stringContaining('bad address'),
  });
  expect(await page(stranger, address)).toMatchObject({
    stdout: '',
    code: 1,
    stderr: expect.stringMatching(/timed out|No route/),
  });
});

test('two look at its console, and either types', async () => {
  const [one, other] = [vm.console(), vm.console()];
  const seen = { one: '', other: '' };
  const reading = Promise.all(
    (['one', 'other'] as const).map(async (name) => {
      for await (const bytes of (name === 'one' ? one : other).output) {
        seen[name] += Buffer.from(bytes).toString();
        if (/typed 3\b/.test(seen[name])) break;
      }
    }),
  );
  await expect.poll(() => seen.one, { timeout: 20_000 }).toMatch(/# /);
  await other.write(Buffer.from('echo typed $((1+2))\r'));
  await reading;
  one.close();
  other.close();
  expect(seen.other).toContain('typed 3');
});

test('it tells what it is', () => {
  expect(vm.status()).toMatchObject({
    name: 'library',
    image: 'tiny',
    state: 'running',
    pid: process.pid,
    memoryBytes: 256 << 20,
    ports: [
      { address: '127.0.0.1', hostPort: port, guestPort: 80, protocol: 'tcp' },
      { address: '::1', hostPort: port6, guestPort: 80, protocol: 'tcp' },
    ],
  });
  expect(readdirSync(join(folder, 'ringfence'))).toContain('library.sock');
});

describe('what cannot be gets a sentence, before anything is booted:', () => {
  const refused: readonly [string, VMOptions, string][] = [
    ['an image that is none', { image: 'huge' }, 'there is no image "huge", only tiny'],
    ['a name that is none', { name: 'No Name' }, '"No Name" is no name for a virtual machine'],
    ['nine processors', { cpus: 9 }, 'cpus "9" is no number of processors; there can be 1 to 8'],
    ['no processor', { cpus: 0 }, 'cpus "0" is no number of processors; there can be 1 to 8'],
    ['half a processor', { cpus: 1.5 }, 'cpus "1.5" is no number of processors'],
    ['memory that is none', { memory: 'lots' }, 'memory "lots" is no size'],
    ['a disk that is not there', { disks: ['/none.img'] }, 'Disk "/none.img" does not exist'],
    [
      'a share that is not there',
      { shares: ['/none:/x'] },
      'the folder "/none" cannot be shared: there is no such folder',
    ],
    ['a share to nowhere', { shares: ['/tmp'] }, 'share "/tmp" is not understood; write it as HOST:GUEST[:ro]'],
    ['a port that is none', { publish: ['80'] }, 'port "80" is no pair of ports'],
    ['a variable that is none', { env: { 'A=B': '' } }, 'env "A=B" is no name of a variable'],
    ['a folder that is none', { workdir: 'tmp' }, 'workdir "tmp" is no absolute path of the guest'],
  ];
  test.each(refused)('%s', async (_what, options, sentence) => {
    await expect(VM.start(options)).rejects.toThrow(sentence);
  });

  test('a port and a name that are taken', async () => {
    const error = await VM.start({ publish: [`${port}:80`] }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HostError);
    expect(error).toMatchObject({
      code: 'unavailable',
      message: `TCP port ${port} of 127.0.0.1 cannot be published: it is taken already; choose another one`,
    });
    await expect(VM.start({ name: 'library' })).rejects.toMatchObject({ code: 'name-taken' });
    expect(readdirSync(join(folder, 'ringfence')).filter((name) => name.endsWith('.sock'))).toEqual(['library.sock']);
  });
});

test('a guest whose agent never answers is given up after its time, and nothing is left of it', async () => {
  const options = { name: 'silent', kernelArguments: ['rdinit=/bin/sleep', '--', '600'], readyTimeoutMs: 1500 };
  // What it was limited to may be the reason.
  await expect(VM.start({ ...options, cpu: { limit: 90 } })).rejects.toThrow(
    /^the guest of the virtual machine "silent" did not take commands within 1\.5 s, with 90 % of a processor at most$/,
  );
  expect(existsSync(join(folder, 'ringfence/silent.sock'))).toBe(false);
});

test('a guest that floods its console has nothing kept of it but the end', async () => {
  const enough = new AbortController();
  let floodedBytes = 0;
  let atFirst = 0;
  const flood = VM.start({
    name: 'flood',
    memory: '128M',
    kernelArguments: ['quiet', 'rdinit=/bin/yes', '--', 'flood'],
    signal: enough.signal,
    onSerial: (bytes) => {
      if (floodedBytes === 0 && !Buffer.from(bytes).includes('flood')) return;
      if (floodedBytes === 0) atFirst = process.memoryUsage().rss;
      floodedBytes += bytes.length;
      if (floodedBytes > FLOOD_BYTES) enough.abort();
    },
  });
  await expect(flood).rejects.toMatchObject({ code: 'aborted' });
  expect(process.memoryUsage().rss - atFirst).toBeLessThan(MAXIMUM_GROWTH_BYTES);
});

test('its end comes with what was written, and everything of it is free again', async () => {
  const path = join(folder, 'disk.qcow2');
  const file = await DiskFile.create(path);
  await createQcow2(file, { sizeBytes: 1 << 20 });
  await file.close();
  {
    await using other = await VM.start({ name: 'other', disks: [path] });
    await other.exec(['sh', '-c', 'echo kept >/dev/vda']);
    await expect(VM.start({ disks: [path] })).rejects.toThrow('is in use by another virtual machine');
    expect(await other.stop()).toBe('shutdown');
    expect(await other.ended).toEqual({ kind: 'poweroff' });
    await expect(other.exec(['true'])).rejects.toMatchObject({ code: 'ended' });
  }
  expect(existsSync(join(folder, 'ringfence/other.sock'))).toBe(false);
  await using again = await VM.start({ name: 'other', disks: [path], cpus: 2, reachable: false });
  expect((await again.exec(['grep', '-c', '^processor', '/proc/cpuinfo'])).stdout).toBe('2\n');
  // Linux has taken a queue for each processor of its disk and its card.
  const queues = 'ls /sys/block/vda/mq; cd /sys/class/net/eth0/queues; echo rx-* tx-*';
  expect((await again.exec(['sh', '-c', queues])).stdout).toBe('0\n1\nrx-0 rx-1 tx-0 tx-1\n');
  expect((await again.exec(['head', '-c', '5', '/dev/vda'])).stdout).toBe('kept\n');
  const [sleeping] = await Promise.allSettled([again.exec(['sleep', '1000']), again.kill()]);
  expect(String(sleeping.status === 'rejected' && sleeping.reason)).toMatch(/ended|closed/);
  expect(await again.ended).toEqual({ kind: 'killed' });
});
