/** The daemon with real guests: two machines, each in its process, and a daemon that comes and goes. */

import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ApiError } from '@ringfence/api/errors';
import { WebSocket } from 'ws';
import { RealDaemon } from './testing/daemon.ts';

let daemon: RealDaemon;
beforeAll(async () => {
  daemon = new RealDaemon();
  await daemon.start();
  await daemon.create('web', { disks: [{ size: '16M' }], network: 'user', env: { GREETING: 'hello' } });
  await daemon.create('db');
  await Promise.all(['web', 'db'].map((vm) => daemon.client.run('vm.start', { vm })));
});
afterAll(() => daemon[Symbol.asyncDispose]());

const states = async (): Promise<string[]> =>
  (await daemon.client.ask('vm.list', {})).map(({ name, state }) => `${name} ${state}`);
const pidOf = async (vm: string): Promise<number> => (await daemon.machine(vm)).pid ?? 0;

test('machines run, each in a process that may have only what it needs, and the commands reach them', async () => {
  expect(await states()).toEqual(['db running', 'web running']);
  const { code, stdout } = await daemon.ringfence('exec', 'web', 'sh', '-c', 'echo $GREETING from $(uname -nm)');
  expect([code, stdout.toString()]).toEqual([0, 'hello from web riscv64\n']);
  const words = readFileSync(`/proc/${await pidOf('web')}/cmdline`, 'utf8').split('\0');
  expect(words).toContain('--permission');
  // As the launcher starts what runs machines: bin/node-start.js says why.
  expect(words).toEqual(expect.arrayContaining(['--max-old-space-size=10240', '--wasm-tiering-budget=2000000']));
  expect(words.filter((word) => word.startsWith('--allow-fs-write=')).every((word) => word.includes('/web/'))).toBe(
    true,
  );
  const ls = await daemon.ringfence('ls');
  expect(ls.stdout.toString()).toMatch(/^web\s+running\s+tiny\s+1\s+128 MiB/m);
});

test('a guest writes to its disk and what it has synced is there', async () => {
  const script =
    'printf "written by a guest" | dd of=/dev/vda conv=fsync 2>/dev/null && dd if=/dev/vda bs=18 count=1 2>/dev/null';
  expect(await daemon.exec('web', 'sh', '-c', script)).toBe('written by a guest');
  const image = readFileSync(join(daemon.machinesFolder, 'web/disks/disk0.qcow2'));
  expect(image.includes('written by a guest')).toBe(true);
});

test('the console is a WebSocket, and what the guest wrote there is in its folder', async () => {
  const path = join(daemon.folder, 'run/ringfence/host/api.sock');
  const socket = new WebSocket(`ws+unix://${path}:/v1/vms/web/console`);
  let said = '';
  socket.on('message', (bytes: Buffer) => {
    said += bytes.toString();
    if (said.includes('#') && !said.includes('echo')) socket.send(Buffer.from('echo $((6 * 7))\n'));
  });
  await expect.poll(() => said, { timeout: 60_000 }).toContain('42');
  socket.close();
  expect(statSync(join(daemon.machinesFolder, 'web/run/console.log')).size).toBeGreaterThan(0);
  const refused = new WebSocket(`ws+unix://${path}:/v1/vms/nobody/console`);
  const status = await new Promise((resolve) => {
    refused.on('unexpected-response', (_request, { statusCode }) => resolve(statusCode));
    refused.on('error', () => undefined);
  });
  expect(status).toBe(404);
});

test('a machine that is killed leaves the others as they are', async () => {
  const [web, db] = [await pidOf('web'), await pidOf('db')];
  process.kill(web, 'SIGKILL');
  await expect.poll(states, { timeout: 30_000 }).toEqual(['db running', 'web stopped']);
  expect((await daemon.machine('web')).end).toMatchObject({ kind: 'lost' });
  expect([await pidOf('db'), await daemon.exec('db', 'echo', 'here')]).toEqual([db, 'here']);
  await daemon.client.run('vm.start', { vm: 'web' });
});

test('a daemon that is killed finds its machines again, as they were', async () => {
  await daemon.client.run('vm.pause', { vm: 'db' });
  const before = await daemon.client.ask('vm.list', {});
  await daemon.kill();
  expect(await daemon.exec('web', 'echo', 'still here')).toBe('still here');
  await daemon.start();
  expect(await daemon.client.ask('vm.list', {})).toEqual(before);
  await daemon.client.run('vm.resume', { vm: 'db' });
  expect(await daemon.exec('db', 'echo', 'goes on')).toBe('goes on');
});

test('a daemon that is killed leaves a machine that does not answer as it is, and can end it', async () => {
  const before = await daemon.client.ask('vm.list', {});
  process.kill(await pidOf('web'), 'SIGSTOP');
  await daemon.kill();
  await daemon.start();
  expect(await daemon.client.ask('vm.list', {})).toEqual(before);
  process.kill(await pidOf('web'), 'SIGCONT');
  expect(await daemon.exec('web', 'echo', 'still here')).toBe('still here');
  process.kill(await pidOf('web'), 'SIGSTOP');
  const pausing = daemon.client.run('vm.pause', { vm: 'web' });
  pausing.catch(() => undefined);
  await expect.poll(states).toContain('web pausing');
  await daemon.client.run('vm.stop', { vm: 'web', timeoutMs: 0 });
  await expect(pausing).rejects.toMatchObject({ code: 'ended' });
  expect([await states(), (await daemon.machine('web')).end?.kind]).toEqual([['db running', 'web stopped'], 'killed']);
  await daemon.client.run('vm.start', { vm: 'web' });
});

test('forks of a machine go on from where it is, in its process, each found by its name, and end with it', async () => {
  const forks = async (): Promise<string[]> =>
    ((await daemon.machine('db')).forks ?? []).map(({ name, state }) => `${name} ${state}`);
  await daemon.exec('db', 'sh', '-c', 'echo here >/tmp/state');
  const forked = await daemon.ringfence('fork', 'db', '--count', '3', '--name', 'first');
  expect([forked.code, forked.stdout.toString(), forked.stderr]).toEqual([0, 'first\ndb-1\ndb-2\n', '']);
  for (const name of ['first', 'db-1', 'db-2'])
    expect(await daemon.exec(name, 'sh', '-c', 'uname -n; cat /tmp/state')).toBe(`${name}\nhere`);
  await daemon.exec('first', 'sh', '-c', 'echo other >/tmp/state');
  expect(await daemon.exec('db', 'cat', '/tmp/state')).toBe('here');
  await daemon.kill();
  // One that ends meanwhile leaves its name to others.
  expect((await daemon.ringfence('stop', 'db-2')).code).toBe(0);
  await daemon.start();
  expect([await forks(), await states()]).toEqual([
    ['db-1 running', 'first running'],
    ['db running', 'web running'],
  ]);
  await expect(daemon.exec('db-2', 'true')).rejects.toMatchObject({ code: 'not-found' });
  await expect(daemon.client.ask('vm.rename', { vm: 'db', name: 'db-2' })).rejects.toMatchObject({
    code: 'name-taken',
  });
  expect(JSON.parse((await daemon.ringfence('fork', '--json', 'db')).stdout.toString())).toMatchObject({
    kind: 'vm.fork',
    state: 'done',
    made: ['db-2'],
  });
  await expect(daemon.create('db-1')).rejects.toMatchObject({ code: 'name-taken' });
  await expect(daemon.client.run('vm.fork', { vm: 'db', names: ['first'] })).rejects.toMatchObject({
    code: 'name-taken',
  });
  await expect(daemon.client.run('vm.fork', { vm: 'db', names: ['x', 'x'], count: 2 })).rejects.toMatchObject({
    code: 'bad-argument',
  });
  const moved = await daemon.ringfence('migrate', 'db', '127.0.0.1:7411');
  expect([moved.code, moved.stderr]).toEqual([
    1,
    expect.stringContaining('the virtual machine "db" has 3 forks, which cannot move; it moves when they have ended'),
  ]);
  expect((await daemon.ringfence('stop', 'first')).code).toBe(0);
  await expect.poll(forks, { timeout: 30_000 }).toEqual(['db-1 running', 'db-2 running']);
  await expect(daemon.exec('first', 'true')).rejects.toMatchObject({ code: 'not-found' });
  const listed = (await daemon.ringfence('ls')).stdout.toString();
  expect(listed).toMatch(/^db-2 +running, fork of db +tiny /m);
  expect(listed).not.toContain('first');
  expect(await daemon.client.ask('host.metrics', {})).toContain('ringfence_machine_forks{name="db"} 2');
  const happened = (await daemon.ringfence('events', '--after', '0', '--no-follow')).stdout.toString();
  expect(happened).toMatch(/ vm\.fork-ended db fork=first how=stopped$/m);
  expect(await daemon.exec('db', 'cat', '/tmp/state')).toBe('here');
  await daemon.client.run('vm.reset', { vm: 'db' });
  await expect(daemon.exec('db-1', 'true')).rejects.toMatchObject({ code: 'not-found' });
  expect((await daemon.machine('db')).forks).toBeUndefined();
}, 120_000);

test('forks of a machine with a disk each write to it for themselves, and its own is whole when their process is killed', async () => {
  const disk = join(daemon.machinesFolder, 'web/disks/disk0.qcow2');
  const write = (name: string, text: string): Promise<string> =>
    daemon.exec(name, 'sh', '-c', `echo ${text} | dd of=/dev/vda seek=8 conv=fsync 2>/dev/null`);
  const read = (name: string): Promise<string> =>
    daemon.exec(name, 'sh', '-c', 'dd if=/dev/vda skip=8 count=1 iflag=direct 2>/dev/null | head -n 1');
  await write('web', 'before');
  expect((await daemon.ringfence('fork', 'web', '--count', '2', '--name', 'one', 'two')).stderr).toBe('');
  await Promise.all([write('web', 'of web'), write('one', 'of one')]);
  expect(await Promise.all(['web', 'one', 'two'].map(read))).toEqual(['of web', 'of one', 'before']);
  const cards = await Promise.all(
    ['web', 'one', 'two'].map((name) => daemon.exec(name, 'cat', '/sys/class/net/eth0/address')),
  );
  expect(cards[0]).toBe((await daemon.machine('web')).networks[0]?.mac);
  expect(new Set(cards).size).toBe(3);
  // A snapshot of it meanwhile has what it holds itself.
  await daemon.client.run('snapshot.create', { vm: 'web', name: 'forked' });
  await write('two', 'of two');
  expect(await Promise.all(['web', 'one', 'two'].map(read))).toEqual(['of web', 'of one', 'of two']);
  const pid = await pidOf('web');
  // One that was open a moment ago may be closed by now.
  const targetOf = (fd: string): string => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return '';
    }
  };
  const images = readdirSync(`/proc/${pid}/fd`).filter((fd) => targetOf(fd).includes('ringfence-snapshot-'));
  // Of each fork, and what their machine has changed since.
  expect(images).toHaveLength(3);
  process.kill(pid, 'SIGKILL');
  await expect.poll(states, { timeout: 30_000 }).toEqual(['db running', 'web stopped']);
  expect(readdirSync(join(daemon.machinesFolder, 'web/disks')).filter((name) => !name.startsWith('.'))).toEqual([
    'disk0.qcow2',
  ]);
  execFileSync('qemu-img', ['check', '-q', disk]);
  await expect(daemon.exec('one', 'true')).rejects.toMatchObject({ code: 'not-found' });
  await daemon.client.run('vm.start', { vm: 'web' });
  expect(await read('web')).toBe('of web');
  await daemon.client.run('snapshot.remove', { vm: 'web', snapshot: 'forked' });
}, 120_000);

test('a guest that restarts itself is started again, one that switches off is stopped', async () => {
  const before = await pidOf('db');
  await daemon.exec('db', 'reboot', '-f').catch(() => undefined);
  await expect
    .poll(
      async () => {
        // Of one moment: it is running still when it is asked for the first time.
        const { state, pid } = await daemon.machine('db');
        return [state, pid !== before];
      },
      { timeout: 60_000 },
    )
    .toEqual(['running', true]);
  await daemon.exec('db', 'poweroff', '-f').catch(() => undefined);
  await expect.poll(async () => (await daemon.machine('db')).end?.kind, { timeout: 60_000 }).toBe('poweroff');
});

test('who asks a machine while it is started waits for it', async () => {
  const starting = daemon.client.run('vm.start', { vm: 'db' });
  await expect
    .poll(() => daemon.exec('db', 'echo', 'here').catch(() => 'not yet'), { timeout: 60_000, interval: 5 })
    .toBe('here');
  await starting;
  await daemon.client.run('vm.stop', { vm: 'db' });
});

test('a copy of its folder is another machine', async () => {
  const copy = join(daemon.folder, 'copy');
  await daemon.ringfence('stop', 'web');
  cpSync(join(daemon.machinesFolder, 'web'), copy, { recursive: true });
  const registered = await daemon.ringfence('register', copy, '--name', 'web2');
  expect([registered.code, registered.stdout.toString()]).toEqual([0, 'web2\n']);
  await Promise.all(['web', 'web2'].map((vm) => daemon.client.run('vm.start', { vm })));
  const script = 'uname -n; dd if=/dev/vda bs=18 count=1 2>/dev/null';
  expect(await daemon.exec('web2', 'sh', '-c', script)).toBe('web2\nwritten by a guest');
});

test('what is not possible is said with its code, to people and as JSON', async () => {
  const people = await daemon.ringfence('start', 'web');
  expect([people.code, people.stderr]).toEqual([
    1,
    'ringfence: the virtual machine "web" is running already (wrong-state)\n',
  ]);
  const json = await daemon.ringfence('rm', '--json', 'web');
  expect([json.code, JSON.parse(json.stdout.toString())]).toEqual([
    1,
    {
      error: {
        code: 'wrong-state',
        message: 'the virtual machine "web" is running, and "rm" is for one that is stopped',
      },
    },
  ]);
  const words = [
    ['exec', 'db', 'true'],
    ['cp', 'db:/etc/hosts', '.'],
    ['console', 'db'],
    ['fork', 'db'],
  ];
  for (const [verb = '', ...rest] of words) {
    const { code, stderr } = await daemon.ringfence(verb, ...rest);
    expect([code, stderr]).toEqual([
      verb === 'exec' ? 125 : 1,
      `ringfence: the virtual machine "db" is stopped, and "${verb}" is for one that is running (wrong-state)\n`,
    ]);
  }
  const forked = await daemon.ringfence('fork', '--json', 'db');
  const byApi = await daemon.client.run('vm.fork', { vm: 'db' }).catch((error: unknown) => error);
  const { code, message } = byApi as ApiError;
  expect([forked.code, JSON.parse(forked.stdout.toString())]).toEqual([1, { error: { code, message } }]);
  const stopped = await daemon.ringfence('stop', '--json', 'db', 'nobody');
  expect([
    stopped.code,
    stopped.stdout
      .toString()
      .match(/"code": "[^"]*"/g)
      ?.toSorted(),
  ]).toEqual([1, ['"code": "not-found"', '"code": "wrong-state"']]);
  const run = await daemon.ringfence('run', '--name', 'web', '--', 'true');
  expect([run.code, run.stderr]).toEqual([125, expect.stringContaining('there is a virtual machine "web" already')]);
});

test('machines are stopped and removed, and nothing is left of them', async () => {
  const stopped = await daemon.ringfence('stop', '--json', 'web');
  expect([stopped.code, stopped.stderr, JSON.parse(stopped.stdout.toString())]).toEqual([
    0,
    '',
    expect.objectContaining({ kind: 'vm.stop', state: 'done' }),
  ]);
  expect((await daemon.ringfence('stop', 'web2')).stdout.toString()).toBe('web2\n');
  expect(daemon.damagedDisks()).toEqual([]);
  expect((await daemon.ringfence('rm', 'web', 'web2', 'db')).code).toBe(0);
  expect(await daemon.client.ask('vm.list', {})).toEqual([]);
  const events = await daemon.ringfence('events', '--after', '0', '--no-follow', '--json');
  const kinds = events.stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { kind: string }).kind);
  expect(kinds).toEqual(
    expect.arrayContaining(['vm.created', 'vm.paused', 'vm.rebooted', 'vm.registered', 'vm.removed']),
  );
  await daemon.stop();
});
