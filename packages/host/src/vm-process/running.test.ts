/** How runs of machines end, as their processes say it, and what is no end of one. */

import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, linkSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { socketPath } from '../control/vm-folder.ts';
import { labelFolderOf } from '../machine-folder/label-folder.ts';
import { machineFolder } from '../machine-folder/layout.ts';
import { addressOf, SHARED_WORD } from './domains.ts';
import { writing } from './permissions.ts';
import { nodeProcesses, type RunningMachine } from './running.ts';
import type { Told } from './testing/pretend-process.ts';

const ID = '01234567-89ab-4cde-8f01-23456789abcd';

let sockets: string;
let folder: string;
let words: readonly string[];
let child: ChildProcess | undefined;
beforeEach(() => {
  sockets = mkdtempSync(join(tmpdir(), 'ringfence-running-'));
  folder = join(sockets, 'machine');
  // As the system shows those of a machine's process.
  words = ['--permission', writing(machineFolder(folder).run)];
});
afterEach(() => {
  child?.kill('SIGKILL');
  child = undefined;
  rmSync(sockets, { recursive: true });
});

async function begun(forks: readonly string[] = []): Promise<void> {
  const program = new URL('./testing/pretend-process.ts', import.meta.url);
  child = fork(program, [socketPath(sockets, 'web'), ID, folder, ...forks, '--', ...words]);
  await once(child, 'message');
  for (const name of forks) linkSync(socketPath(sockets, 'web'), socketPath(sockets, name));
}

const tell = (told: Told): void => void child?.send(told);

async function found(): Promise<RunningMachine | undefined> {
  const machine = { id: ID, name: 'web', folder, pid: undefined };
  return (await nodeProcesses(sockets).find([machine])).get(ID)?.run;
}

test('a process that has no room for another connection has not ended, and says itself how it does', async () => {
  await begun();
  const held: Socket[] = [];
  for (let count = 0; count < 256; count++) {
    const socket = connect(socketPath(sockets, 'web'));
    held.push(socket);
    await once(socket, 'connect');
  }
  const run = await found();
  expect(run?.pid).toBe(child?.pid);
  await sleep(300);
  for (const socket of held) socket.destroy();
  // Longer than it takes to ask again.
  await sleep(1500);
  tell({ kind: 'end' });
  expect(await run?.ended).toEqual({ kind: 'poweroff' });
});

test('a process that is killed is lost, and its name is free', async () => {
  await begun();
  const run = await found();
  child?.kill('SIGKILL');
  expect(await run?.ended).toEqual({ kind: 'lost' });
  expect(existsSync(socketPath(sockets, 'web'))).toBe(false);
});

test('a fork has not ended because it could not be asked, and ends once', async () => {
  await begun(['web-1', 'web-2']);
  const run = await found();
  const ends: string[] = [];
  run!.onForkEnd = (name, how) => ends.push(`${name} ${how}`);
  tell({ kind: 'drop' });
  await sleep(100);
  tell({ kind: 'drop' });
  await sleep(500);
  expect([ends, existsSync(socketPath(sockets, 'web-1'))]).toEqual([[], true]);
  // What is said of it was true when it was asked.
  tell({ kind: 'hold' });
  for (let said: unknown; said !== 'holds';) [said] = (await once(child!, 'message')) as unknown[];
  const asked = once(child!, 'message');
  const status = run!.status();
  await asked;
  tell({ kind: 'end', fork: 'web-1' });
  await expect.poll(() => ends).toEqual(['web-1 poweroff']);
  tell({ kind: 'answer' });
  expect((await status).forks).toEqual(['web-1', 'web-2']);
  await sleep(100);
  expect([ends, [...run!.knownForks.keys()]]).toEqual([['web-1 poweroff'], ['web-2']]);
  expect(['web-1', 'web-2'].map((name) => existsSync(socketPath(sockets, name)))).toEqual([false, true]);
});

test('a fork is found as it was, and by its new name when it is renamed, and its end is told with that', async () => {
  await begun(['web-1', 'web-2']);
  const run = await found();
  expect([...run!.knownForks.values()].map(({ name, found: { state } }) => `${name} ${state}`)).toEqual([
    'web-1 running',
    'web-2 paused',
  ]);
  const ends: string[] = [];
  run!.onForkEnd = (name, how) => ends.push(`${name} ${how}`);
  const first = run!.knownForks.get('web-1')!;
  await expect(first.rename('web-2')).rejects.toMatchObject({ code: 'name-taken' });
  await first.rename('other');
  expect([[...run!.knownForks.keys()], first.name]).toEqual([['web-2', 'other'], 'other']);
  const there = (): boolean[] => ['web-1', 'other'].map((name) => existsSync(socketPath(sockets, name)));
  expect(there()).toEqual([false, true]);
  expect((await run!.status()).forks).toEqual(['other', 'web-2']);
  tell({ kind: 'end', fork: 'other' });
  expect(await first.ended).toBe('poweroff');
  expect([ends, there()]).toEqual([['other poweroff'], [false, false]]);
});

test.each([
  { isDone: true, called: 'other' },
  { isDone: false, called: 'web-1' },
])('a fork of which nobody heard whether it was renamed is reached by the name that it has: $called', async (how) => {
  await begun(['web-1', 'web-2']);
  const run = await found();
  const first = run!.knownForks.get('web-1')!;
  const heard = once(child!, 'message');
  tell({ kind: 'lose', isDone: how.isDone });
  await heard;
  await first.rename('other').catch((error: unknown) => expect(how.isDone, String(error)).toBe(false));
  const names = ['web-1', 'other'];
  const there = names.map((name) => existsSync(socketPath(sockets, name)));
  expect([first.name, there]).toEqual([how.called, names.map((name) => name === how.called)]);
  await run!.status();
  expect([...run!.knownForks.keys()].toSorted()).toEqual([how.called, 'web-2'].toSorted());
});

test('a fork of which it is not known what it is called keeps its name until its process says another one', async () => {
  await begun(['web-1', 'web-2']);
  const run = await found();
  const first = run!.knownForks.get('web-1')!;
  const renames: string[] = [];
  run!.onForkRename = (from, to) => renames.push(`${from} ${to}`);
  const heard = once(child!, 'message');
  tell({ kind: 'lose', isDone: true, isSilent: true });
  await heard;
  await expect(first.rename('other')).rejects.toMatchObject({ code: 'timeout' });
  const there = (): boolean[] => ['web-1', 'other'].map((name) => existsSync(socketPath(sockets, name)));
  expect([first.name, there()]).toEqual(['web-1', [true, false]]);
  tell({ kind: 'speak' });
  await expect.poll(() => renames, { timeout: 5000 }).toEqual(['web-1 other']);
  expect([first.name, there()]).toEqual(['other', [false, true]]);
});

test('of a status that is asked for while a fork is renamed no fork comes to be', async () => {
  await begun(['web-1', 'web-2']);
  const run = await found();
  const first = run!.knownForks.get('web-1')!;
  const renamed = first.rename('other');
  while (first.name === 'web-1') await run!.status();
  await renamed;
  expect([...run!.knownForks.keys()].toSorted()).toEqual(['other', 'web-2']);
});

test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)(
  'a process of somebody else is no machine’s, whatever it was started with',
  async () => {
    child = spawn('/bin/sh', ['-c', 'echo; sleep 30; :', 'sh', ...words], { uid: 65_534, detached: true });
    await once(child.stdout!, 'data');
    expect(await found()).toBeUndefined();
    process.kill(-child.pid!);
    child = spawn('/bin/sh', ['-c', 'echo; sleep 30; :', 'sh', ...words], { detached: true });
    await once(child.stdout!, 'data');
    expect((await found())?.pid).toBe(child.pid);
    process.kill(-child.pid!);
  },
);

test('a process that machines of a label share, and that does not answer, ends with none of them, but with the last', async () => {
  const [red, blue] = [join(sockets, '@paint', '1'), join(sockets, '@paint', '2')];
  const rights = [red, blue].map((each) => writing(machineFolder(each).run));
  child = spawn('/bin/sh', ['-c', 'echo; read -r _', 'sh', '--permission', ...rights, SHARED_WORD]);
  await once(child.stdout!, 'data');
  const silent = createServer();
  await once(silent.listen(socketPath(sockets, addressOf(labelFolderOf(red)))), 'listening');
  const processes = nodeProcesses(sockets);
  const machines = [red, blue].map((path, index) => ({
    id: `${index}`,
    name: `m${index}`,
    folder: path,
    pid: undefined,
  }));
  const there = await processes.find(machines);
  expect([...there.values()].map(({ status, isShared }) => ({ status, isShared }))).toEqual(
    machines.map(() => ({ status: undefined, isShared: true })),
  );
  const { run } = there.get('0')!;
  await Promise.all([
    processes.endLeftover(machines[0]!),
    expect(run.kill()).rejects.toMatchObject({ code: 'timeout' }),
  ]);
  expect(child.exitCode ?? child.signalCode).toBeNull();
  await run.kill(() => true);
  await expect.poll(() => child?.signalCode).toBe('SIGKILL');
  silent.close();
}, 60_000);
