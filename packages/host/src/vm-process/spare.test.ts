/** Processes that wait for machines, as the daemon has them; they are only pretended. */

import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { machineFolder } from '../machine-folder/layout.ts';
import { SpareProcesses, type SpareWish } from './spare.ts';
import type { spawnProcess } from './spawn.ts';

/** One that is ready at once, or never. */
class PretendChild extends EventEmitter {
  readonly connected = true;
  isKilled = false;

  kill(): void {
    this.isKilled = true;
    this.emit('exit', null, 'SIGKILL');
  }
}

let state: string;
let children: PretendChild[];
/** What fails next. */
let failing: Error | undefined;
let failures: unknown[];
let spares: SpareProcesses;
let spawned: typeof spawnProcess;
beforeEach(() => {
  vi.useFakeTimers();
  state = mkdtempSync(join(tmpdir(), 'ringfence-spares-'));
  [children, failures, failing] = [[], [], undefined];
  spawned = (_permissions, { log }) => {
    if (failing !== undefined) throw failing;
    const child = new PretendChild();
    writeSync(log, `process ${children.push(child)}\n`);
    return child as unknown as ChildProcess;
  };
  spares = new SpareProcesses(state, join(state, 'spare.log'), {
    onFailure: (error) => void failures.push(error),
    spawn: spawned,
  });
});
afterEach(() => {
  spares.close();
  vi.useRealTimers();
  rmSync(state, { recursive: true });
});

const nothing = { specs: [], readable: [], writable: [] };
const ready = (): unknown => children.at(-1)?.emit('message', { kind: 'ready' });

test('two that are there at once each have what they said in the log of their own machine', () => {
  spares.begin();
  ready();
  const first = spares.take()!;
  vi.advanceTimersByTime(1000);
  ready();
  const second = spares.take()!;
  const logs = [second, first].map((spare) => {
    mkdirSync(spare.folder.run, { recursive: true });
    expect(spare.use(spare.folder, nothing)).toBeDefined();
    return readFileSync(spare.folder.processLog, 'utf8');
  });
  expect(logs).toEqual(['process 2\n', 'process 1\n']);
  expect(readdirSync(state).filter((name) => name.startsWith('spare.log'))).toEqual([]);
});

test('one whose log cannot be the machine’s ends, and the machine has a process of its own', () => {
  spares.begin();
  ready();
  const spare = spares.take()!;
  expect(spare.use(spare.folder, nothing)).toBeUndefined();
  expect(children[0]?.isKilled).toBe(true);
  // What it said is left for people.
  expect(readFileSync(join(state, 'spare.log'), 'utf8')).toBe('process 1\n');
});

test('that none can be started ends no daemon, and is tried again', () => {
  failing = new Error('spawn ENOMEM');
  spares.begin();
  expect(failures).toEqual([failing]);
  expect(readdirSync(state)).toEqual([]);
  failing = undefined;
  vi.advanceTimersByTime(60_000);
  ready();
  expect(spares.take()).toBeDefined();
  // In a timer, where nobody else would hear of it.
  failing = new Error('spawn EMFILE');
  vi.advanceTimersByTime(1000);
  expect(failures.at(-1)).toBe(failing);
});

test('the next one is put off while others want the processors, and for a second more, but not for ever', () => {
  let isBusy = true;
  const busy = new SpareProcesses(state, join(state, 'busy.log'), { spawn: spawned, isBusy: () => isBusy });
  busy.begin();
  expect(children.length).toBe(1);
  ready();
  busy.take();
  vi.advanceTimersByTime(5000);
  expect(children.length).toBe(1);
  isBusy = false;
  vi.advanceTimersByTime(1000);
  expect(children.length).toBe(1);
  vi.advanceTimersByTime(1000);
  expect(children.length).toBe(2);
  isBusy = true;
  ready();
  busy.take();
  vi.advanceTimersByTime(32_000);
  expect(children.length).toBe(3);
  // What has lasted for so long already puts off no other one.
  ready();
  busy.take();
  vi.advanceTimersByTime(1000);
  expect(children.length).toBe(4);
  busy.close();
});

const wish = (key: string): SpareWish => ({ key, message: { kind: 'spare' }, readable: [] });

test('one waits for what was wanted last, and is for nothing else', () => {
  spares.begin(wish('one'));
  ready();
  expect(spares.take('other')).toBeUndefined();
  spares.begin(wish('one'));
  expect(children.length).toBe(1);
  spares.begin(wish('other'));
  expect(children[0]?.isKilled).toBe(true);
  // One that was ready too late is not wanted any more.
  spares.begin(wish('third'));
  children[1]?.emit('message', { kind: 'ready' });
  expect([spares.take('third'), children[1]?.isKilled]).toEqual([undefined, true]);
  ready();
  expect(spares.take('third')).toBeDefined();
});

test('when none is wanted any more the one that waits ends, and no other one comes', () => {
  spares.begin(wish('one'));
  ready();
  spares.end();
  vi.advanceTimersByTime(120_000);
  expect([children.length, children[0]?.isKilled]).toEqual([1, true]);
});

test('one with a place has the folder of the machine that uses it, as long as that needs nothing else', () => {
  const places = join(state, 'places');
  mkdirSync(places);
  const machine = machineFolder(join(state, 'web'));
  mkdirSync(machine.run, { recursive: true });
  const spawn: typeof spawnProcess = () => children[children.push(new PretendChild()) - 1] as unknown as ChildProcess;
  const parked = new SpareProcesses(places, join(state, 'parked.log'), { spawn, hasPlaces: true });
  parked.begin(wish('one'));
  ready();
  const first = parked.take('one')!;
  expect(first.use(machine, { ...nothing, writable: [join(machine.disks, 'disk0.qcow2')] })).toBeUndefined();
  vi.advanceTimersByTime(1000);
  ready();
  const second = parked.take('one')!;
  expect(second.use(machine, nothing)).toBeDefined();
  expect(readlinkSync(second.place ?? '')).toBe(machine.path);
  expect(existsSync(machine.processLog)).toBe(true);
  parked.close();
});

test('nothing is left of those of a daemon that was killed', () => {
  for (const name of ['spare.log.12345678', 'state.db']) writeFileSync(join(state, name), '');
  spares.clear();
  expect([existsSync(join(state, 'spare.log.12345678')), existsSync(join(state, 'state.db'))]).toEqual([false, true]);
});
