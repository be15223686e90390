/** Machines as folders, and what is found again of them, with processes that are only pretended. */

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { State } from '@ringfence/api';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ProcessorSettings } from '@ringfence/api';
import { ImageError } from '@ringfence/images';
import { Departures } from '../migration/departures.ts';
import { identityIn } from '../migration/identity.ts';
import { Trust } from '../migration/trust.ts';
import { comingMachine, PretendDaemon, pretendImage } from './testing/pretend.ts';

let daemon: PretendDaemon;
beforeEach(async () => {
  daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40 });
});
afterEach(() => daemon.end());

const folderOf = (name: string): string => daemon.machines.find(name).folder.path;
const inMachines = (): string[] => readdirSync(join(daemon.folder, 'machines')).toSorted();
const states = async (): Promise<string[]> =>
  (await daemon.machines.list()).map(({ name, state }) => `${name} ${state}`);

describe('a machine', () => {
  test('is a folder with what it boots, its disks and a vm.yaml that can be read', async () => {
    await daemon.done(await daemon.machines.create({ name: 'web', memory: '96M', disks: [{ size: '1M' }], cpus: 2 }));
    const path = folderOf('web');
    expect(readdirSync(path).toSorted()).toEqual(['disks', 'image', 'run', 'vm.yaml']);
    expect(readdirSync(join(path, 'image')).toSorted()).toEqual(['image.json', 'initrd', 'kernel']);
    expect(readFileSync(join(path, 'vm.yaml'), 'utf8')).toMatch(/^name: web$[^]*^cpus: 2$[^]*^memory: 96M$/m);
    expect(readFileSync(join(path, 'disks/disk0.qcow2')).subarray(0, 3).toString()).toBe('QFI');
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(await daemon.machines.list()).toMatchObject([
      { name: 'web', state: 'stopped', cpus: 2, memoryBytes: 96 * 2 ** 20, disks: [{ file: 'disks/disk0.qcow2' }] },
    ]);
    // What it boots takes no room of its own.
    expect(statSync(join(path, 'image/kernel')).nlink).toBe(2);
  });

  test('whose folder is copied is another machine, with an identity of its own', async () => {
    await daemon.done(await daemon.machines.create({ name: 'web', disks: [{ size: '1M' }] }));
    const copy = join(daemon.folder, 'copy');
    cpSync(folderOf('web'), copy, { recursive: true });
    await expect(daemon.machines.register(copy)).rejects.toMatchObject({ code: 'name-taken' });
    await daemon.done(await daemon.machines.register(copy, { name: 'web2' }));
    const [one, other] = await daemon.machines.list();
    expect([one?.name, other?.name, other?.folder]).toEqual(['web', 'web2', copy]);
    expect(other?.id).not.toBe(one?.id);
    expect(other?.networks[0]?.mac).not.toBe(one?.networks[0]?.mac);
    expect(readFileSync(join(copy, 'vm.yaml'), 'utf8')).toContain(`id: ${other?.id}`);
    await expect(daemon.machines.register(copy)).rejects.toMatchObject({ code: 'bad-argument' });
    // Files that the daemon did not make stay.
    await daemon.done(daemon.machines.remove('web2'));
    expect([existsSync(copy), existsSync(folderOf('web'))]).toEqual([true, true]);
  });

  test('with many snapshots is no reason for others to wait while they are listed', async () => {
    await daemon.create('web');
    await daemon.done(daemon.machines.start('web'));
    const names = ['a', 'b', 'c', 'd'];
    for (const [n, name] of names.entries()) await daemon.done(daemon.machines.snapshot('web', name, names[n - 1]));
    const listed = daemon.machines.listSnapshots('web');
    const others = new Promise((resolve) => setImmediate(resolve)).then(() => 'others');
    expect(await Promise.race([listed, others])).toBe('others');
    expect((await listed).map(({ name, parent }) => [name, parent])).toEqual(
      names.map((name, n) => [name, names[n - 1]]),
    );
  });

  test('that was moved away keeps its identity when it is taken in again', async () => {
    await daemon.create('web');
    const { id, path } = { id: daemon.machines.find('web').id, path: folderOf('web') };
    await daemon.done(daemon.machines.remove('web', true));
    await daemon.done(await daemon.machines.register(path));
    expect(await daemon.machines.list()).toMatchObject([{ id, name: 'web', folder: path, state: 'stopped' }]);
  });

  test('with a new name has it in its vm.yaml and is found by it; the old one is free', async () => {
    await daemon.create('web');
    await daemon.create('db');
    await expect(daemon.machines.rename('web', 'db')).rejects.toMatchObject({ code: 'name-taken' });
    await expect(daemon.machines.rename('web', 'taken')).rejects.toMatchObject({ code: 'name-taken' });
    expect(await daemon.machines.rename('web', 'www')).toMatchObject({ name: 'www' });
    expect(readFileSync(join(folderOf('www'), 'vm.yaml'), 'utf8')).toContain('name: www');
    await daemon.create('web');
    expect(await states()).toEqual(['db stopped', 'web stopped', 'www stopped']);
    expect(new Set(['db', 'web', 'www'].map(folderOf)).size).toBe(3);
  });
});

describe('what cannot be', () => {
  test.each([
    ['a name that is none', { name: 'No' }, 'bad-argument'],
    ['a name of a machine that runs elsewhere', { name: 'taken' }, 'name-taken'],
    ['too many processors', { cpus: 99 }, 'bad-argument'],
    ['too little memory', { memory: '1K' }, 'bad-argument'],
    ['a disk of no size', { disks: [{}] }, 'bad-argument'],
    ['a disk of a size that is none', { disks: [{ size: 'big' }] }, 'bad-argument'],
    ['ports without a network', { network: 'none' as const, publish: ['80:80'] }, 'bad-argument'],
    ['ports that are none', { publish: ['ssh'] }, 'bad-argument'],
  ])('%s is refused at once, and nothing is there', async (_what, wanted, code) => {
    await expect(daemon.machines.create({ name: 'web', ...wanted })).rejects.toMatchObject({ code });
    expect([await states(), inMachines(), await daemon.store.machines()]).toEqual([[], [], []]);
    // The name is nobody's.
    await daemon.create('web');
  });

  test('words that the image does not know are what is wrong, and not the image', async () => {
    const load = (): Promise<never> => Promise.reject(new ImageError('bad-argument', '"../x" is no name of a suite.'));
    Object.assign(daemon.image, { load });
    const making = await daemon.machines.create({ name: 'web', suite: '../x' });
    await expect(daemon.done(making)).rejects.toMatchObject({ code: 'bad-argument' });
    expect(await states()).toEqual([]);
  });

  test('a disk behind which there is nothing ends the making, and nothing is there', async () => {
    const making = await daemon.machines.create({ name: 'web', disks: [{ backing: '/nowhere.qcow2' }] });
    await expect(daemon.done(making)).rejects.toMatchObject({ code: 'unavailable' });
    expect([await states(), inMachines(), await daemon.store.machines()]).toEqual([[], [], []]);
  });

  test('a name that is taken, a machine that is not there', async () => {
    await daemon.create('web');
    await expect(daemon.machines.create({ name: 'web' })).rejects.toMatchObject({ code: 'name-taken' });
    expect(() => daemon.machines.start('wbe')).toThrow('there is no virtual machine "wbe"; there is "web"');
  });

  test.each([
    ['nowhere', 'not-found', 'no such file'],
    ['.', 'not-a-machine', 'has no vm.yaml'],
    ['state.db', 'not-a-machine', 'is no folder'],
  ])('the folder %s is none', async (path, code, words) => {
    await expect(daemon.machines.register(join(daemon.folder, path))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(words) as string,
    });
  });

  test('a vm.yaml that says what cannot be is told with its line, and the machine does not start', async () => {
    await daemon.create('web');
    const yaml = join(folderOf('web'), 'vm.yaml');
    writeFileSync(yaml, readFileSync(yaml, 'utf8').replace('cpus: 1', 'cpus: 0'));
    const problem = expect.stringMatching(/vm\.yaml, line 7: the field "cpus" "0" is no number/) as string;
    expect(await daemon.machines.list()).toMatchObject([{ name: 'web', problem }]);
    await expect(daemon.done(daemon.machines.start('web'))).rejects.toMatchObject({
      code: 'not-a-machine',
      message: problem,
    });
    expect(await states()).toEqual(['web stopped']);
  });

  test('a restore for which there is not memory enough leaves the machine as it runs', async () => {
    await daemon.end();
    // All there is, its run has.
    daemon = await PretendDaemon.begin({ freeMemoryBytes: () => (daemon.processes.runs.size > 0 ? 0 : 2 ** 40) });
    await daemon.create('web');
    await daemon.done(daemon.machines.start('web'));
    await daemon.done(daemon.machines.snapshot('web', 'first'));
    const { run } = daemon.machines.find('web');
    const restoring = await daemon.machines.restore('web', 'first');
    await expect(daemon.done(restoring)).rejects.toMatchObject({ code: 'no-memory' });
    expect([await states(), daemon.machines.find('web').run === run]).toEqual([['web running'], true]);
    // What it gives back counts.
    const usage = await run?.usage();
    if (run !== undefined && usage !== undefined)
      run.usage = () => Promise.resolve({ ...usage, residentBytes: 2 ** 40 });
    await daemon.done(await daemon.machines.restore('web', 'first'));
  });

  test('more memory than there is now', async () => {
    await daemon.end();
    daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 20 });
    await daemon.create('web');
    await expect(daemon.done(daemon.machines.start('web'))).rejects.toMatchObject({ code: 'no-memory' });
    await expect(daemon.machines.create({ memory: '999G' })).rejects.toMatchObject({ code: 'bad-argument' });
  });
});

describe('processors', () => {
  const made = async (name: string, cpu: ProcessorSettings): Promise<void> =>
    daemon.done(await daemon.machines.create({ name, network: 'none', cpu }));

  beforeEach(async () => {
    await daemon.end();
    daemon = await PretendDaemon.begin({ processorCapacity: 150 });
  });

  test('that are reserved are refused to others before they start, with the figures', async () => {
    await made('one', { reservation: 80 });
    await made('two', { reservation: 80 });
    await daemon.done(daemon.machines.start('one'));
    await expect(daemon.done(daemon.machines.start('two'))).rejects.toMatchObject({
      code: 'no-processors',
      message: expect.stringMatching(/"two" is to have 80 % .*150 % .* 80 % are reserved/) as string,
    });
    expect(daemon.state('two')).toBe('stopped');
    await daemon.done(daemon.machines.pause('one'));
    await expect(daemon.done(daemon.machines.start('two'))).rejects.toMatchObject({ code: 'no-processors' });
    await daemon.done(daemon.machines.stop('one'));
    await daemon.done(daemon.machines.start('two'));
  });

  test('that cannot be are refused when the machine is made', async () => {
    await expect(made('one', { reservation: 120 })).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(made('one', { reservation: 50, limit: 40 })).rejects.toMatchObject({
      code: 'bad-argument',
      message: 'cpu.limit of 40 % is less than the reservation of 50 %',
    });
    const much = daemon.machines.create({ name: 'one', network: 'none', cpus: 2, cpu: { reservation: 160 } });
    await expect(much).rejects.toMatchObject({ code: 'no-processors' });
    expect(await daemon.machines.list()).toEqual([]);
  });

  test('are changed while a machine runs, and what is not named stays', async () => {
    await made('one', { shares: 500, limit: 50 });
    await daemon.done(daemon.machines.start('one'));
    const view = await daemon.machines.changeProcessors('one', { limit: null, reservation: 20 });
    expect(view.cpu).toEqual({ shares: 500, reservation: 20 });
    expect(daemon.processes.runs.get(view.id)?.asked).toEqual({ settings: { shares: 500, reservation: 20 } });
    await expect(daemon.machines.changeProcessors('one', { reservation: 200 })).rejects.toMatchObject({
      code: 'bad-argument',
    });
    expect((await daemon.machines.list())[0]?.cpu).toEqual({ shares: 500, reservation: 20 });
  });

  test('that one has reserved that comes from another daemon must be there before it does', async () => {
    await made('one', { reservation: 80 });
    await daemon.done(daemon.machines.start('one'));
    const refused = daemon.machines.moves.expect(comingMachine('two', { cpu: { reservation: 80 } }));
    await expect(refused).rejects.toMatchObject({ code: 'no-processors' });
    expect(await states()).toEqual(['one running']);
    const entry = await daemon.machines.moves.expect(comingMachine('two', { cpu: { reservation: 70 } }));
    expect(daemon.machines.processors.reserved()).toBe(150);
    await daemon.machines.moves.notArrived(entry);
    expect(daemon.machines.processors.reserved()).toBe(80);
  });

  test('are left to the kernel where no machine is to have another part than the others', async () => {
    for (const name of ['one', 'two']) {
      await made(name, {});
      await daemon.done(daemon.machines.start(name));
    }
    for (let look = 0; look < 3; look++) await daemon.machines.processors.look();
    for (const run of daemon.processes.runs.values()) expect(run.asked).toEqual({});
  });

  test('are divided also with one that has just begun, and with one that answers late', async () => {
    for (const name of ['one', 'two']) {
      await made(name, { shares: 2000 });
      await daemon.done(daemon.machines.start(name));
    }
    const { processors } = daemon.machines;
    const [one, two] = [...daemon.processes.runs.values()];
    if (one === undefined || two === undefined) throw new Error('there are two machines');
    await processors.look();
    await processors.look();
    expect(one.asked?.grant).toBeCloseTo(0.75, 1);
    expect(two.asked?.grant).toBeCloseTo(0.75, 1);
    // Busy from here on.
    const beganMs = performance.now();
    const busy: typeof one.processors = (input) => {
      one.asked = input;
      const us = Math.round(1000 * (performance.now() - beganMs));
      return Promise.resolve({ usedUs: us, heldUs: us, bucketUs: 0, waitedUs: 0, stolenUs: 0 });
    };
    one.processors = busy;
    two.processors = busy;
    for (let look = 0; look < 3; look++) await processors.look();
    two.processors = () => new Promise(() => undefined);
    await processors.look();
    await processors.look();
    expect(one.asked?.grant).toBeCloseTo(0.75, 1);
  });

  test('are reserved still when the next daemon comes', async () => {
    await made('one', { reservation: 80 });
    await made('two', { reservation: 80 });
    await daemon.done(daemon.machines.start('one'));
    await daemon.again();
    expect(daemon.machines.processors.reserved()).toBe(80);
    await expect(daemon.done(daemon.machines.start('two'))).rejects.toMatchObject({ code: 'no-processors' });
  });
});

describe('a daemon that was killed', () => {
  test('finds what runs, stands still, boots and has ended, each as it is', async () => {
    for (const name of ['runs', 'stands', 'ended', 'booting', 'rests']) await daemon.create(name);
    for (const name of ['runs', 'stands', 'ended']) await daemon.done(daemon.machines.start(name));
    await daemon.done(daemon.machines.pause('stands'));
    daemon.processes.failing = undefined;
    const { id } = daemon.machines.find('ended');
    const gone = daemon.processes.runs.get(id);
    // The process goes while nobody looks.
    daemon.processes.runs.delete(id);
    const { id: bootingId, folder } = daemon.machines.find('booting');
    await daemon.store.putMachine({ ...daemon.machines.find('booting').stored!, state: 'starting', pid: 7 });
    await daemon.processes.start('booting', bootingId);
    expect([gone?.pid, folder.path]).toEqual([expect.any(Number), expect.any(String)]);
    await daemon.again();
    await daemon.operations.settled(5000);
    expect(await states()).toEqual([
      'booting running',
      'ended stopped',
      'rests stopped',
      'runs running',
      'stands paused',
    ]);
    expect(daemon.machines.find('ended').end).toMatchObject({ kind: 'lost' });
    await daemon.done(daemon.machines.resume('stands'));
    await daemon.done(daemon.machines.stop('runs'));
    expect(daemon.failures).toEqual([]);
  });

  test('believes what a process wrote of its end', async () => {
    await daemon.create('web');
    await daemon.done(daemon.machines.start('web'));
    const { id, folder } = daemon.machines.find('web');
    daemon.processes.runs.delete(id);
    writeFileSync(folder.end, JSON.stringify({ kind: 'poweroff', at: new Date().toISOString() }));
    await daemon.again();
    expect(daemon.machines.find('web').end).toMatchObject({ kind: 'poweroff' });
    // An older one says nothing of this run.
    await daemon.done(daemon.machines.start('web'));
    daemon.processes.runs.delete(id);
    writeFileSync(folder.end, JSON.stringify({ kind: 'poweroff', at: '2001-01-01T00:00:00.000Z' }));
    await daemon.again();
    expect(daemon.machines.find('web').end).toMatchObject({ kind: 'lost' });
  });

  test('starts again what restarted itself meanwhile', async () => {
    await daemon.create('web');
    await daemon.done(daemon.machines.start('web'));
    const { id, folder } = daemon.machines.find('web');
    daemon.processes.runs.delete(id);
    writeFileSync(folder.end, JSON.stringify({ kind: 'reboot', at: new Date().toISOString() }));
    await daemon.again();
    await daemon.operations.settled(5000);
    expect(await states()).toEqual(['web running']);
  });

  test('comes back with a machine that was to go on from a snapshot that is gone, and with the others', async () => {
    await daemon.done(await daemon.machines.create({ name: 'broken', network: 'none', disks: [{ size: '1M' }] }));
    await daemon.create('web');
    for (const name of ['broken', 'web'])
      await daemon.store.putMachine({ ...daemon.machines.find(name).stored!, state: 'restoring' });
    const note = { snapshot: 'gone', disks: ['disks/disk0.qcow2'], before: [] };
    writeFileSync(join(folderOf('broken'), 'run/restoring.json'), JSON.stringify(note));
    await daemon.again();
    expect(await states()).toEqual(['broken stopped', 'web stopped']);
    expect(daemon.failures).toMatchObject([{ code: 'not-found' }]);
    await daemon.done(daemon.machines.start('broken'));
  });

  test('leaves nothing half-made, and half-removed neither', async () => {
    await daemon.create('whole');
    await daemon.create('gone');
    const whole = daemon.machines.find('whole').stored!;
    const gone = daemon.machines.find('gone').stored!;
    await daemon.store.putMachine({ ...whole, state: 'creating' });
    await daemon.store.putMachine({ ...gone, state: 'removing' });
    rmSync(join(gone.folder, 'vm.yaml'));
    const half = { ...whole, id: 'half', name: 'half', folder: join(daemon.folder, 'machines/half') };
    await daemon.store.putMachine({ ...half, state: 'creating' });
    mkdirSync(join(daemon.folder, 'machines/.new-half/disks'), { recursive: true });
    await daemon.again();
    expect([await states(), inMachines()]).toEqual([['whole stopped'], ['whole']]);
  });

  test('leaves nothing of a copy that has not gone on from its snapshot yet, and all of one that has', async () => {
    await daemon.create('web');
    await daemon.done(daemon.machines.start('web'));
    await daemon.done(daemon.machines.snapshot('web', 'first'));
    const copies = ['made', 'rests', 'restoring', 'runs', 'stopped'];
    const left = new Map<string, State>(Object.entries({ made: 'creating', restoring: 'restoring' }));
    const folders = new Map<string, string>();
    for (const name of copies) {
      await daemon.done(await daemon.machines.restore('web', 'first', name));
      const { stored, folder, id } = daemon.machines.find(name);
      expect(existsSync(folder.copying)).toBe(false);
      writeFileSync(folder.copying, '{}');
      folders.set(name, folder.path);
      if (name === 'runs') continue;
      daemon.processes.runs.delete(id);
      const state = left.get(name) ?? 'stopped';
      const startedAt = name === 'stopped' ? stored!.startedAt : undefined;
      await daemon.store.putMachine({ ...stored!, state, startedAt, pid: undefined });
    }
    await daemon.again();
    expect([await states(), inMachines()]).toEqual([
      ['runs running', 'stopped stopped', 'web running'],
      ['runs', 'stopped', 'web'],
    ]);
    for (const name of ['runs', 'stopped'])
      expect(existsSync(join(folders.get(name) ?? '', 'copying.json'))).toBe(false);
  });

  test('says of what was under way that it was broken off', async () => {
    await daemon.create('web');
    const begun = daemon.operations.begin('vm.start', { id: '1', name: 'web' }, () => new Promise(() => undefined));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await daemon.again();
    expect(daemon.operations.get(begun.id)).toMatchObject({ state: 'failed', error: { code: 'interrupted' } });
  });
});

describe('a machine with forks', () => {
  test('names them to who inspects it, and is not moved before they have ended', async () => {
    const departures = new Departures({
      identity: identityIn(daemon.folder),
      trust: new Trust(daemon.folder),
      version: '0',
    });
    const moving = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40, departures });
    try {
      await moving.create('web');
      await moving.done(moving.machines.start('web'));
      await moving.done(moving.machines.fork('web', ['other'], 2));
      expect(await moving.machines.inspect('web')).toMatchObject({
        forks: ['other', 'web-1'].map((name) => ({ name, state: 'running' })),
      });
      const to = { host: '127.0.0.1', port: 1 };
      await expect(moving.done(moving.machines.moves.migrate('web', to, {}))).rejects.toMatchObject({
        code: 'unsupported',
        message: 'the virtual machine "web" has 2 forks, which cannot move; it moves when they have ended',
      });
      expect(moving.state('web')).toBe('running');
      for (const run of moving.processes.runs.values()) run.made = [];
      // Nobody listens there: it was tried.
      await expect(moving.done(moving.machines.moves.migrate('web', to, {}))).rejects.toMatchObject({
        code: 'unavailable',
      });
    } finally {
      await moving.end();
    }
  });
});

test('events are told in their order, those that were and those that come', async () => {
  await daemon.create('web');
  const stop = new AbortController();
  const seen: string[] = [];
  const following = (async () => {
    for await (const { seq, kind } of daemon.events.list(0, true, stop.signal)) {
      seen.push(`${seq} ${kind}`);
      if (kind === 'vm.started') stop.abort();
    }
  })();
  await daemon.done(daemon.machines.start('web'));
  await following;
  expect(seen).toEqual(['1 vm.created', '2 vm.starting', '3 vm.started']);
});

const canMount = process.platform === 'linux' && process.getuid?.() === 0;
test.skipIf(!canMount)(
  'where a disk is full, nothing half-made stays, and the next one is made when there is room',
  async () => {
    const small = join(daemon.folder, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', small]);
    try {
      // Files of another file system are copied: they do not fit.
      const image = pretendImage(join(daemon.folder, 'large'), 3 * 2 ** 20);
      const full = await PretendDaemon.begin({
        freeMemoryBytes: () => 2 ** 40,
        folder: small,
        imageNamed: () => image,
      });
      try {
        for (let round = 0; round < 3; round++) {
          const making = await full.machines.create({ name: 'web', network: 'none' });
          await expect(full.done(making)).rejects.toMatchObject({ code: 'no-space' });
          expect([readdirSync(small), await full.machines.list(), await full.store.machines()]).toEqual([[], [], []]);
        }
        Object.assign(image, { load: pretendImage(join(daemon.folder, 'little')).load });
        await full.create('web');
        expect(readdirSync(small)).toEqual(['web']);
      } finally {
        await full.end();
      }
    } finally {
      execFileSync('umount', [small]);
    }
  },
);
