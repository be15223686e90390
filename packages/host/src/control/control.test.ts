/** Server and client on a real socket, with this computer in the place of the guest. */

import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostError } from '../failure.ts';
import { copyFromGuest, copyIntoGuest } from '../copy/copy.ts';
import type { ConsoleViewer } from '../guest/calls.ts';
import { runCommand } from '../guest/run-command.ts';
import { LocalGuest } from '../guest/testing/local-guest.ts';
import { ByteQueue } from './byte-queue.ts';
import { RemoteVM } from './client.ts';
import { type ControlSocket, openControlSocket } from './control-socket.ts';
import { FRAME, FrameLink } from './frames.ts';
import { PROTOCOL_VERSION, type VMStatus } from './operations.ts';
import type { ServedVM } from './server.ts';
import { namesIn, socketPath, vmFolder } from './vm-folder.ts';

let folder = '';
let guest: LocalGuest;
let stops: number[] = [];
const open: ControlSocket[] = [];

const STATUS: VMStatus = {
  name: 'web',
  image: 'tiny',
  suite: 'stable',
  pid: 1,
  state: 'running',
  startedAt: '2026-01-01T00:00:00.000Z',
  cpus: 1,
  memoryBytes: 1,
  network: 'user',
  ports: [],
  command: ['true'],
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-control-'));
  guest = new LocalGuest(folder);
  stops = [];
});
afterEach(async () => {
  for (const socket of open.splice(0)) await socket.close();
  rmSync(folder, { recursive: true });
});

/** A console that says what it is told. */
function echo(): ConsoleViewer {
  const output = new ByteQueue(1000);
  return { write: (bytes) => output.push(bytes), output, close: () => output.end() };
}

async function serve(name: string, resume: ServedVM['resume'] = () => Promise.resolve()): Promise<RemoteVM> {
  const vm = {
    guest,
    status: () => ({ ...STATUS, name }),
    openConsole: () => Promise.resolve(echo()),
    stop: ({ timeoutMs }: { readonly timeoutMs: number }) => {
      stops.push(timeoutMs);
      return Promise.resolve('shutdown' as const);
    },
    pause: () => Promise.reject(new HostError('ended', 'the virtual machine "web" does not run')),
    resume,
    snapshot: (wanted: { readonly name: string }) => Promise.resolve({ path: `/.new-${wanted.name}`, pausedMs: 3 }),
    fork: ({ count, names }: { readonly count: number; readonly names: readonly string[] }) =>
      count > 9
        ? Promise.reject(new HostError('too-many', 'there is no room'))
        : Promise.resolve(Array.from({ length: count }, (_, index) => names[index] ?? `web-${index + 1}`)),
    processors: () => ({ usedUs: 1, heldUs: 2, bucketUs: 3, waitedUs: 4, stolenUs: 5 }),
    disks: () => [
      { readOnly: true, sizeBytes: 4, isTemporary: false, chain: [{ path: '/a', format: 'raw' as const }] },
    ],
    usage: () => ({ cpuMs: 5, residentBytes: 6, guestResidentBytes: 7, instructions: 8 }),
    memory: () => Promise.reject(new HostError('unsupported', 'it has all of its memory')),
    ready: () => Promise.resolve(),
    migrate: () => Promise.reject(new HostError('unsupported', 'it does not move')),
    settle: () => Promise.resolve(),
    rejoin: () => Promise.resolve(),
    finished: () => Promise.resolve({ kind: 'poweroff' as const }),
  };
  open.push(await openControlSocket(folder, name, vm));
  return RemoteVM.find(name, folder);
}

test('pausing and what a machine takes are asked like everything else', async () => {
  const vm = await serve('web');
  await vm.resume();
  expect(await vm.disks()).toMatchObject([{ sizeBytes: 4, chain: [{ path: '/a', format: 'raw' }] }]);
  expect(await vm.usage()).toEqual({ cpuMs: 5, residentBytes: 6, guestResidentBytes: 7, instructions: 8 });
  await expect(vm.pause()).rejects.toMatchObject({ code: 'ended' });
});

test('whoever waits for its turn to go on is asked again then whether that is wanted still', async () => {
  for (const stays of [true, false]) {
    const asked = Promise.withResolvers<void>();
    const turn = Promise.withResolvers<void>();
    const wanted = Promise.withResolvers<boolean | undefined>();
    await serve(`web-${stays}`, async ({ isWanted }) => {
      asked.resolve();
      await turn.promise;
      wanted.resolve(await isWanted?.());
    });
    const link = new FrameLink(connect(socketPath(folder, `web-${stays}`)));
    void link.sendJson(FRAME.REQUEST, { protocol: PROTOCOL_VERSION, operation: 'resume', input: {} });
    await asked.promise;
    if (!stays) {
      link.destroy();
      await link.gone;
    }
    turn.resolve();
    expect(await wanted.promise).toBe(stays);
    link.destroy();
  }
});

test('what somebody has asked for and given up is not begun', async () => {
  await serve('web');
  for (const stays of [false, true]) {
    const socket = connect(socketPath(folder, 'web'));
    const link = new FrameLink(socket);
    const input = { timeoutMs: stays ? 2 : 1 };
    void link.sendJson(FRAME.REQUEST, { protocol: PROTOCOL_VERSION, operation: 'stop', input, vm: 'web' });
    if (stays) await link.next();
    else socket.end();
    await link.gone;
  }
  expect(stops).toEqual([2]);
});

test('forks are asked for by number and name', async () => {
  const vm = await serve('web');
  expect(await vm.fork({ count: 2, names: ['one'] })).toEqual(['one', 'web-2']);
  await expect(vm.fork({ count: 10, names: [] })).rejects.toMatchObject({ code: 'too-many' });
});

describe('a command through the socket', () => {
  test('has its streams apart, gets its input and gives its code', async () => {
    const vm = await serve('web');
    const { stdout, stderr, code } = await runCommand(vm, ['sh', '-c', 'cat; echo err >&2; exit 7'], { input: 'in' });
    expect([Buffer.from(stdout).toString(), Buffer.from(stderr).toString(), code]).toEqual(['in', 'err\n', 7]);
  });

  test('gets arguments and variables as they are, and nothing to read when nothing is meant for it', async () => {
    const vm = await serve('web');
    const argv = ['sh', '-c', 'cat; printf "<%s>" "$V" "$@"', '-', "it's", '', 'ü\n*', Buffer.from([0xff])];
    const { stdout } = await runCommand(vm, argv, { env: { V: 'a b' } });
    expect(Buffer.from(stdout).toString('latin1')).toBe(
      Buffer.from("<a b><it's><><ü\n*>").toString('latin1') + '<\xef\xbf\xbd>',
    );
  });

  test('moves megabytes both ways, whole', async () => {
    const vm = await serve('web');
    const input = randomBytes(5_000_000);
    const { stdout } = await runCommand(vm, ['cat'], { input });
    expect(createHash('md5').update(stdout).digest('hex')).toBe(createHash('md5').update(input).digest('hex'));
  });

  test('hears signals while nobody takes its input', async () => {
    const vm = await serve('web');
    const program = await vm.exec({ argv: ['sleep', '100'] });
    void program.stdin.write(randomBytes(3_000_000));
    program.signal(10);
    expect(await program.exited).toEqual({ kind: 'signaled', signal: 10 });
  });

  test("that cannot be run is refused with the guest's reason", async () => {
    const vm = await serve('web');
    await expect(vm.exec({ argv: ['/no/such'] })).rejects.toMatchObject({
      name: 'AgentError',
      code: 'refused',
      errno: 'ENOENT',
    });
  });

  test('is ended when its client goes away', async () => {
    const vm = await serve('web');
    const program = await vm.exec({ argv: ['sh', '-c', 'echo begun; sleep 100'] });
    for await (const bytes of program.stdout) {
      expect(Buffer.from(bytes).toString()).toBe('begun\n');
      break;
    }
    program.close();
    await expect(program.exited).rejects.toThrow('ended before it was done');
    await expect.poll(() => guest.closed).toBe(1);
  });
});

test('files and folders go through the socket', async () => {
  const vm = await serve('web');
  mkdirSync(join(folder, 'tree/deep'), { recursive: true });
  writeFileSync(join(folder, 'tree/deep/file'), randomBytes(1_000_000));
  await copyFromGuest(vm, '/tree', join(folder, 'out'));
  await copyIntoGuest(vm, join(folder, 'out'), '/back');
  expect(readFileSync(join(folder, 'back/deep/file')).equals(readFileSync(join(folder, 'tree/deep/file')))).toBe(true);
  await expect(copyFromGuest(vm, '/none', join(folder, 'x'))).rejects.toMatchObject({ errno: 'ENOENT' });
  await expect(copyIntoGuest(vm, join(folder, 'tree'), '/no/where')).rejects.toThrow('cannot be written');
});

test('a console is seen and typed at', async () => {
  const vm = await serve('web');
  const viewer = await vm.openConsole();
  await viewer.write(Buffer.from('typed'));
  for await (const bytes of viewer.output) {
    expect(Buffer.from(bytes).toString()).toBe('typed');
    viewer.close();
  }
});

test('stop says how it went, and inspect what it is', async () => {
  const vm = await serve('web');
  expect(await vm.stop({ timeoutMs: 1234 })).toBe('shutdown');
  expect(stops).toEqual([1234]);
  expect(await vm.inspect()).toEqual(STATUS);
});

describe('names', () => {
  test('are listed in order, each with what it is', async () => {
    await serve('web');
    await serve('db');
    const list = await RemoteVM.list(folder);
    expect(list.map(({ name, status }) => [name, status?.name])).toEqual([
      ['db', 'db'],
      ['web', 'web'],
    ]);
  });

  test('are for one machine at a time', async () => {
    await serve('web');
    await expect(serve('web')).rejects.toMatchObject({
      code: 'name-taken',
      message: 'there is a virtual machine "web" already; choose another name',
    });
    await open.pop()?.close();
    await serve('web');
  });

  test('that nobody has are not found, with those that may have been meant', async () => {
    await expect(RemoteVM.find('web', folder)).rejects.toThrow('there is no virtual machine "web"; none is running');
    await serve('web');
    await expect(RemoteVM.find('wbe', folder)).rejects.toThrow(
      'there is no virtual machine "wbe"; did you mean "web"?',
    );
    await expect(RemoteVM.find('something', folder)).rejects.toThrow('"ringfence ps" lists those that run');
    await expect(RemoteVM.find('../web', folder)).rejects.toThrow('"../web" is no name');
  });

  test('of a process that was killed are free, and its socket goes', async () => {
    const path = socketPath(folder, 'web');
    const leave = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    const leftBehind = async (): Promise<void> => {
      await once(spawn(execPath, ['-e', leave]), 'exit');
      expect(existsSync(path)).toBe(true);
    };
    await leftBehind();
    expect(await RemoteVM.list(folder)).toEqual([]);
    expect(existsSync(path)).toBe(false);
    await leftBehind();
    await expect(RemoteVM.find('web', folder)).rejects.toThrow('none is running');
    await leftBehind();
    const all = await Promise.allSettled(Array.from({ length: 5 }, () => serve('web')));
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('go with their machine', async () => {
    await serve('web');
    await open.pop()?.close();
    expect(namesIn(folder)).toEqual([]);
  });
});

describe('the folder of the sockets', () => {
  test("is the runtime folder's or the state folder's, and nobody else's", () => {
    const runtime = vmFolder({ XDG_RUNTIME_DIR: folder });
    expect(runtime).toBe(join(folder, 'ringfence'));
    expect(statSync(runtime).mode & 0o777).toBe(0o700);
    expect(vmFolder({ HOME: folder })).toBe(join(folder, '.local/state/ringfence/run'));
    expect(vmFolder({ XDG_STATE_HOME: join(folder, 'state') })).toBe(join(folder, 'state/ringfence/run'));
  });

  test('is refused when others may enter it', () => {
    const runtime = vmFolder({ XDG_RUNTIME_DIR: folder });
    chmodSync(runtime, 0o755);
    expect(() => vmFolder({ XDG_RUNTIME_DIR: folder })).toThrow(
      `the folder ${runtime} cannot be used: others may enter it; mend that with: chmod 700 ${runtime}`,
    );
    rmSync(runtime, { recursive: true });
    writeFileSync(runtime, '');
    expect(() => vmFolder({ XDG_RUNTIME_DIR: folder })).toThrow('cannot be used');
  });

  test('may not be so deep that no socket fits', () => {
    expect(() => socketPath('/x'.repeat(50), 'web')).toThrow(
      'has too long a path; set XDG_RUNTIME_DIR to a shorter one',
    );
  });
});

describe('a client that makes no sense', () => {
  /** What comes back for these bytes. */
  async function answerTo(bytes: Uint8Array): Promise<string> {
    await serve('web');
    const socket = connect(socketPath(folder, 'web'));
    socket.write(bytes);
    let said = '';
    socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
    socket.on('error', () => undefined);
    await once(socket, 'close');
    return said;
  }
  const frame = (kind: number, text: string): Buffer => {
    const header = Buffer.alloc(5);
    header.writeUInt32BE(Buffer.byteLength(text) + 1);
    header[4] = kind;
    return Buffer.concat([header, Buffer.from(text)]);
  };
  const request = (fields: object): Buffer => frame(0, JSON.stringify({ protocol: 1, input: {}, ...fields }));

  test.each([
    ['a frame of four gigabytes', Buffer.alloc(10, 0xff), 'is no message of Ringfence'],
    ['a frame of no kind', frame(99, ''), 'is no message of Ringfence'],
    ['no JSON', frame(0, '{'), 'is no message of Ringfence'],
    ['no request', frame(1, 'x'), 'is no request'],
    ['another version', request({ protocol: 2, operation: 'inspect' }), 'another version of Ringfence'],
    ['an operation that is none', request({ operation: 'toString' }), 'there is no operation \\"toString\\"'],
    ['input that is none', request({ operation: 'exec', input: { argv: [] } }), '"code":"bad-argument"'],
    ['input of another kind', request({ operation: 'stop', input: { timeoutMs: 'soon' } }), 'timeoutMs'],
  ])('gets a sentence: %s', async (_what, bytes, sentence) => {
    expect(await answerTo(bytes)).toContain(sentence);
    expect(await (await RemoteVM.find('web', folder)).inspect()).toEqual(STATUS);
  });
});
