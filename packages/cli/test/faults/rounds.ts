/**
 * Kills the daemon, or a machine's process, at a random moment while something is being done, and looks whether everything is right
 * afterwards: nothing lost, nothing half-made, nobody else touched.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { type MachineView, TRANSITIONS, type TransitionName } from '@ringfence/api';
import { ApiError } from '@ringfence/api/errors';
import { SnapshotStore } from '@ringfence/host';
import { RealDaemon } from '../testing/daemon.ts';
import { numbers } from './numbers.ts';
import { processesOf } from './processes.ts';
import type { Rounds } from './snapshot-rounds.ts';

const NAMES = ['one', 'two', 'three'];
/** Those that share a process, where some do. */
const SHARING = ['one', 'two'];
const LABEL = 'shop';
/** The snapshot that each of them has from the beginning, and what it has in memory and on its disk then. */
const FIRST = 'first';
/** Made and removed over and over. */
const PASSING = 'passing';
/** The longest time between the beginning of something and the kill. Most of what is done takes less. */
const LONGEST_WAIT_MS = 1500;
const REST_TIMEOUT_MS = 120_000;
const RESTING = ['stopped', 'running', 'paused'];

/** As `faultRounds`, with machines that share a process. */
export function sharingRounds(options: Rounds): Promise<void> {
  return faultRounds(options, SHARING);
}

/** Rejects with what was found wrong. */
export async function faultRounds({ rounds, seed, say }: Rounds, sharing: readonly string[] = []): Promise<void> {
  const random = numbers(seed);
  await using daemon = new RealDaemon();
  await daemon.start();
  for (const name of NAMES)
    await daemon.create(name, { disks: [{ size: '1M' }], ...(sharing.includes(name) ? { label: LABEL } : {}) });
  await Promise.all(NAMES.map((vm) => daemon.client.run('vm.start', { vm })));
  for (const vm of NAMES) {
    await daemon.exec(vm, 'sh', '-c', put(FIRST));
    await daemon.client.run('snapshot.create', { vm, name: FIRST });
  }
  for (let round = 1; round <= rounds; round++) await oneRound(daemon, round, random, say);
  await daemon.stop();
}

async function oneRound(
  daemon: RealDaemon,
  round: number,
  random: (below: number) => number,
  say: Rounds['say'],
): Promise<void> {
  const before = await machines(daemon);
  const target = NAMES[random(NAMES.length)] ?? '';
  const { state = 'stopped' } = before.get(target) ?? {};
  // Synced, and to be there afterwards whatever happens; in its memory only as long as it runs.
  const text = String(round).padStart(FIRST.length, '0');
  if (state === 'running') await daemon.exec(target, 'sh', '-c', put(text));
  const [work, done] = begin(daemon, target, state, random, `at-${round}`);
  const victim = random(3);
  const waitMs = random(LONGEST_WAIT_MS);
  await sleep(waitMs);
  const killed = new Set<string>();
  if (victim !== 0) {
    const names = [...before.values()].filter(({ pid }) => pid !== undefined);
    const machine = names[random(names.length)];
    if (machine?.pid !== undefined && isAlive(machine.pid)) {
      process.kill(machine.pid, 'SIGKILL');
      // And with it those that it shares its process with.
      for (const { name, pid } of names) if (pid === machine.pid) killed.add(name);
    }
  }
  if (victim !== 1) {
    await daemon.kill();
    await daemon.start();
  }
  const answer = await done.then(
    () => 'done',
    (error: unknown) => (error instanceof ApiError ? error.code : Promise.reject(error)),
  );
  const after = await rested(daemon);
  const what = `round ${round}: ${work} of ${target}, after ${waitMs} ms ${victim !== 1 ? 'the daemon' : ''} ${[...killed].join()} killed: ${answer}`;
  say(`${what}; ${[...after.values()].map(({ name, state: now }) => `${name} ${now}`).join(', ')}`);
  await check(daemon, before, after, new Set([...killed, target, PASSING]), what);
  await checkContent(daemon, target, state === 'running' ? text : undefined, work, answer, what);
  if (random(4) === 0)
    for (const name of NAMES) await daemon.client.run('vm.start', { vm: name }).catch(() => undefined);
}

/** Begins something that the state allows; gives what, and a promise of its end. */
function begin(
  daemon: RealDaemon,
  target: string,
  state: MachineView['state'],
  random: (below: number) => number,
  snapshot: string,
): [string, Promise<unknown>] {
  const allowed = (['start', 'stop', 'pause', 'resume', 'reset', 'restore'] as const).filter((name: TransitionName) =>
    (TRANSITIONS[name].from as readonly string[]).includes(state),
  );
  const choice = random(allowed.length + (state === 'running' || state === 'paused' ? 3 : 1));
  if (choice > allowed.length) {
    const parent = choice % 2 === 0 ? { parent: FIRST } : {};
    const taking = daemon.client.run('snapshot.create', { vm: target, name: snapshot, ...parent });
    taking.catch(() => undefined);
    return ['snapshot', taking];
  }
  const operation = allowed[choice];
  if (operation === undefined) {
    const passing = (async () => {
      await daemon.client.run('vm.remove', { vm: PASSING }).catch(() => undefined);
      await daemon.create(PASSING, { disks: [{ size: '8M' }] });
    })();
    passing.catch(() => undefined);
    return ['create', passing];
  }
  const running =
    operation === 'restore'
      ? daemon.client.run('snapshot.restore', { vm: target, snapshot: FIRST })
      : daemon.client.run(`vm.${operation}`, { vm: target });
  running.catch(() => undefined);
  return [operation, running];
}

/** The text in memory and on the disk. */
function put(text: string): string {
  return `printf ${text} | dd of=/dev/vda conv=fsync 2>/dev/null; printf ${text} >/tmp/memory`;
}

const LOOK = `dd if=/dev/vda bs=${FIRST.length} count=1 2>/dev/null; echo; cat /tmp/memory 2>/dev/null`;

/** What was synced is there, memory and disk are of one moment, and each snapshot is whole. */
async function checkContent(
  daemon: RealDaemon,
  target: string,
  text: string | undefined,
  work: string,
  answer: string,
  what: string,
): Promise<void> {
  const { folder } = await daemon.machine(target);
  const snapshots = new SnapshotStore(join(folder, 'snapshots'));
  const names = readdirSync(snapshots.folder).filter((name) => !name.startsWith('.digests'));
  assert.deepEqual(
    names.toSorted(),
    snapshots
      .list()
      .map(({ name }) => name)
      .toSorted(),
    `${what}: half a snapshot`,
  );
  for (const name of names) {
    await snapshots.verify(name);
    execFileSync('qemu-img', ['check', '-q', join(snapshots.folder, name, 'disk0.qcow2')]);
    if (name !== FIRST) await daemon.client.run('snapshot.remove', { vm: target, snapshot: name });
  }
  if (work === 'snapshot' && answer === 'done') assert.equal(names.length, 2, `${what}: the snapshot is not there`);
  const disks = readdirSync(join(folder, 'disks')).filter((name) => name.endsWith('.qcow2'));
  assert.equal(disks.length, 1, `${what}: ${disks.join()}`);
  if ((await daemon.machine(target)).state !== 'running') return;
  const [onDisk = '', inMemory] = (await daemon.exec(target, 'sh', '-c', LOOK)).split('\n');
  if (inMemory !== undefined) assert.equal(inMemory, onDisk, `${what}: memory and disk are not of one moment`);
  if (work === 'restore' && answer === 'done') assert.equal(onDisk, FIRST, what);
  if (text !== undefined) assert([text, ...(work === 'restore' ? [FIRST] : [])].includes(onDisk), `${what}: ${onDisk}`);
}

async function machines(daemon: RealDaemon): Promise<Map<string, MachineView>> {
  return new Map((await daemon.client.ask('vm.list', {})).map((machine) => [machine.name, machine]));
}

/** Waits until nothing is being done any more. */
async function rested(daemon: RealDaemon): Promise<Map<string, MachineView>> {
  for (const until = performance.now() + REST_TIMEOUT_MS; ;) {
    const found = await machines(daemon);
    const all = [...found.values()];
    const restless = all.filter(
      // The daemon hears of a process's end a moment after it; and of the end of the last machine of a shared one before.
      (machine) =>
        !RESTING.includes(machine.state) || !isDeepStrictEqual(processesOf(wordOf(machine)), expected(machine, all)),
    );
    if (restless.length === 0) return found;
    assert(performance.now() < until, `still ${restless.map(({ name, state }) => `${name} ${state}`).join(', ')}`);
    await sleep(50);
  }
}

async function check(
  daemon: RealDaemon,
  before: ReadonlyMap<string, MachineView>,
  after: ReadonlyMap<string, MachineView>,
  touched: ReadonlySet<string>,
  what: string,
): Promise<void> {
  for (const name of NAMES) assert(after.has(name), `${what}: ${name} is lost`);
  for (const [name, machine] of after) {
    const { state, pid, problem } = machine;
    assert.equal(problem, undefined, `${what}: ${name}`);
    const was = before.get(name);
    if (!touched.has(name)) assert.deepEqual([state, pid], [was?.state, was?.pid], `${what}: ${name} was touched`);
    assert.deepEqual(
      processesOf(wordOf(machine)),
      expected(machine, [...after.values()]),
      `${what}: the processes of ${name}, which is ${state}`,
    );
    if (state === 'running') assert.equal(await daemon.exec(name, 'echo', what), what);
  }
  const running = [...after.values()].filter(({ state }) => state !== 'stopped').map(({ name }) => `${name}.sock`);
  const sockets = readdirSync(join(daemon.folder, 'run/ringfence')).filter((file) => /^[^@].*\.sock$/.test(file));
  assert.deepEqual(sockets.toSorted(), running.toSorted(), `${what}: the sockets`);
  const folders = readdirSync(daemon.machinesFolder).flatMap((name) =>
    name === `@${LABEL}`
      ? readdirSync(join(daemon.machinesFolder, name)).flatMap((each) =>
          /^[a-z]/.test(each) ? [] : [join(name, each)],
        )
      : [name],
  );
  const wanted = [...after.values()].map(({ folder }) => relative(daemon.machinesFolder, folder));
  assert.deepEqual(folders.toSorted(), wanted.toSorted(), `${what}: the folders`);
}

/** By which its processes are found: one that is shared may write in the folders of all of its label. */
function wordOf({ id, label, folder }: MachineView): string {
  return label === undefined ? id : `--allow-fs-write=${join(folder, 'run')}`;
}

/** What processes there are to be: one of its own, or that of all of its label while one of these runs. */
function expected(machine: MachineView, all: readonly MachineView[]): (number | undefined)[] {
  const { label } = machine;
  const sharing = label === undefined ? [machine] : all.filter((other) => other.label === label);
  return [...new Set(sharing.flatMap(({ state, pid }) => (state === 'stopped' ? [] : [pid])))];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
