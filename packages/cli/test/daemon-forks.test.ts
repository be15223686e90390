/** What is done with forks of a daemon's machine, with real guests. */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RealDaemon } from './testing/daemon.ts';

let daemon: RealDaemon;
beforeAll(async () => {
  daemon = new RealDaemon();
  await daemon.start();
  await daemon.create('web', { disks: [{ size: '16M' }], network: 'user' });
  await daemon.client.run('vm.start', { vm: 'web' });
  await daemon.client.run('vm.fork', { vm: 'web', names: ['one', 'two'] });
});
afterAll(() => daemon[Symbol.asyncDispose]());

const forks = async (): Promise<string[]> =>
  ((await daemon.machine('web')).forks ?? []).map(({ name, state }) => `${name} ${state}`);
const uptime = async (name: string): Promise<number> =>
  Number.parseFloat(await daemon.exec(name, 'cat', '/proc/uptime'));
const ringfence = async (...words: string[]): Promise<[code: number | null, stdout: string, stderr: string]> => {
  const { code, stdout, stderr } = await daemon.ringfence(...words);
  return [code, stdout.toString(), stderr];
};

test('a fork is paused and goes on by itself: no time passes in it, and its machine and the others run on', async () => {
  const [before, beganMs] = [await uptime('one'), performance.now()];
  expect(await ringfence('pause', 'one')).toEqual([0, 'one\n', '']);
  const pausedMs = performance.now();
  await sleep(2000);
  for (const words of [
    ['exec', 'one', 'true'],
    ['cp', 'one:/etc/hosts', daemon.folder],
  ])
    expect(await ringfence(...words)).toEqual([
      words[0] === 'exec' ? 125 : 1,
      '',
      'ringfence: the virtual machine "one" is paused; resume it first (wrong-state)\n',
    ]);
  expect((await ringfence('fork', 'one'))[2]).toContain(
    'is paused, and "fork" is for one that is running (wrong-state)',
  );
  expect(await Promise.all(['web', 'two'].map((name) => daemon.exec(name, 'echo', 'on')))).toEqual(['on', 'on']);
  // A daemon that comes after finds it so.
  await daemon.kill();
  await daemon.start();
  expect(await forks()).toEqual(['one paused', 'two running']);
  const [, listed] = await ringfence('ls');
  expect(listed).toMatch(/^one +paused, fork of web +tiny /m);
  const resumedMs = performance.now();
  expect(await ringfence('resume', 'one')).toEqual([0, 'one\n', '']);
  const passedS = (await uptime('one')) - before;
  // Beside what it stood still; the guest tells hundredths.
  expect(passedS).toBeLessThan((performance.now() - beganMs - (resumedMs - pausedMs)) / 1000 + 0.1);
});

test('that its machine is paused says nothing of a fork', async () => {
  await daemon.client.run('vm.pause', { vm: 'web' });
  expect([await daemon.exec('one', 'echo', 'on'), await forks()]).toEqual(['on', ['one running', 'two running']]);
  await daemon.client.run('vm.resume', { vm: 'web' });
});

test('a fork is called something else, also while it is paused, and the name before is free', async () => {
  await daemon.client.run('vm.pause', { vm: 'two' });
  expect(await ringfence('rename', 'two', 'zwei')).toEqual([0, 'zwei\n', '']);
  expect((await ringfence('exec', 'zwei', 'true'))[2]).toContain('"zwei" is paused; resume it first');
  await daemon.client.run('vm.resume', { vm: 'zwei' });
  expect(await daemon.exec('zwei', 'hostname')).toBe('two');
  await expect(daemon.exec('two', 'true')).rejects.toMatchObject({ code: 'not-found' });
  await expect(daemon.client.ask('vm.rename', { vm: 'zwei', name: 'one' })).rejects.toMatchObject({
    code: 'name-taken',
  });
  await daemon.kill();
  await daemon.start();
  expect(await forks()).toEqual(['one running', 'zwei running']);
  expect((await daemon.client.ask('vm.rename', { vm: 'zwei', name: 'two' })).forkOf).toBe('web');
});

test('a fork is forked, disks and card and all, and what is made of it lives on when it ends', async () => {
  const write = (name: string, text: string): Promise<string> =>
    daemon.exec(name, 'sh', '-c', `echo ${text} | dd of=/dev/vda seek=8 conv=fsync 2>/dev/null`);
  const read = (name: string): Promise<string> =>
    daemon.exec(name, 'sh', '-c', 'dd if=/dev/vda skip=8 count=1 iflag=direct 2>/dev/null | head -n 1');
  await Promise.all([write('web', 'of web'), write('one', 'of one')]);
  await daemon.exec('one', 'sh', '-c', 'echo of one >/tmp/note');
  expect(await ringfence('fork', 'one', '--name', 'three')).toEqual([0, 'three\n', '']);
  expect([await read('three'), await daemon.exec('three', 'sh', '-c', 'cat /tmp/note; hostname')]).toEqual([
    'of one',
    'of one\nthree',
  ]);
  const card = (name: string): Promise<string> => daemon.exec(name, 'cat', '/sys/class/net/eth0/address');
  const cards = await Promise.all(['web', 'one', 'three'].map(card));
  expect(new Set(cards).size).toBe(3);
  expect((await daemon.machine('three')).networks).toEqual([{ mode: 'user', mac: cards[2], publish: [] }]);
  await daemon.client.run('vm.stop', { vm: 'one' });
  await write('three', 'of three');
  expect([await read('three'), await read('web'), await forks()]).toEqual([
    'of three',
    'of web',
    ['three running', 'two running'],
  ]);
});

test('a snapshot of a fork is its machine’s, and others go on from it, with what the fork had written', async () => {
  const note = (name: string): Promise<string> =>
    daemon.exec(
      name,
      'sh',
      '-c',
      'cat /tmp/note; echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda skip=8 count=1 2>/dev/null | head -n 1',
    );
  expect((await ringfence('snapshot', 'three', 'of-three'))[0]).toBe(0);
  expect((await daemon.client.ask('snapshot.list', { vm: 'web' })).map(({ name }) => name)).toEqual(['of-three']);
  await daemon.client.run('snapshot.restore', { vm: 'web', snapshot: 'of-three', as: 'other' });
  expect(await note('other')).toBe('of one\nof three');
  expect(await daemon.exec('other', 'cat', '/sys/class/net/eth0/address')).toBe(
    (await daemon.machine('other')).networks[0]?.mac,
  );
  await daemon.client.run('snapshot.restore', { vm: 'web', snapshot: 'of-three' });
  expect([await note('web'), await forks()]).toEqual(['of one\nof three', []]);
  expect(daemon.damagedDisks()).toEqual([]);
});
