/** Folders that are taken in: copies, and those of strangers. */

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { diskLockPath } from '../disk/disk-lock.ts';
import { newDisk } from '../machine-folder/new-disk.ts';
import { Departures } from '../migration/departures.ts';
import { identityIn } from '../migration/identity.ts';
import { Trust } from '../migration/trust.ts';
import { PretendDaemon } from './testing/pretend.ts';

let daemon: PretendDaemon;
/** A copy of a machine that is there. */
let copy = '';
beforeEach(async () => {
  daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40 });
  await daemon.done(await daemon.machines.create({ name: 'web', network: 'none', disks: [{ size: '1M' }] }));
  copy = copyTo('copy');
});
afterEach(() => daemon.end());

function copyTo(name: string): string {
  const to = join(daemon.folder, name);
  cpSync(daemon.machines.find('web').folder.path, to, { recursive: true });
  return to;
}

const names = async (): Promise<string[]> => (await daemon.machines.list()).map(({ name }) => name);
const change = (from: string, to: string): void => {
  const yaml = join(copy, 'vm.yaml');
  writeFileSync(yaml, readFileSync(yaml, 'utf8').replace(from, to));
};
const taken = async (path: string, name: string, allowOutside = false): Promise<void> =>
  daemon.done(await daemon.machines.register(path, { name, allowOutside }));

describe('many at once', () => {
  test('one folder is one machine, whoever else asks for it, and their names are free', async () => {
    const asked = Array.from({ length: 30 }, (_, index) => taken(copy, `race${index}`));
    const results = await Promise.allSettled(asked);
    const refused = results.filter((each) => each.status === 'rejected');
    expect(refused.map(({ reason }) => (reason as { code: string }).code)).toEqual(Array(29).fill('bad-argument'));
    const [name = '', ...others] = (await names()).filter((each) => each !== 'web');
    expect(others).toEqual([]);
    expect((await daemon.store.machines()).length).toBe(2);
    for (const free of ['race0', 'race29'].filter((each) => each !== name)) await daemon.create(free);
  });

  test('copies of one machine that is not there are machines of their own', async () => {
    const folders = ['one', 'two', 'three'].map(copyTo);
    await daemon.done(daemon.machines.remove('web'));
    await Promise.all(folders.map((folder, index) => taken(folder, `m${index}`)));
    const ids = (await daemon.machines.list()).map(({ id }) => id);
    expect([ids.length, new Set(ids).size]).toEqual([3, 3]);
  });
});

test('a name that looks like an id is none, and an id finds its machine whatever others are called', async () => {
  const { id } = daemon.machines.find('web');
  await expect(daemon.machines.create({ name: id })).rejects.toMatchObject({ code: 'bad-argument' });
  await expect(daemon.machines.rename('web', id)).rejects.toMatchObject({ code: 'bad-argument' });
  await expect(taken(copy, id)).rejects.toMatchObject({ code: 'bad-argument' });
  expect(daemon.machines.find(id).name).toBe('web');
});

describe('what is no file', () => {
  test.skipIf(process.platform === 'win32').each(['vm.yaml', 'image/kernel', 'image/image.json', 'run/end.json'])(
    'a pipe in the place of %s is refused and keeps nobody waiting',
    async (file) => {
      rmSync(join(copy, file), { force: true });
      execFileSync('mkfifo', [join(copy, file)]);
      const asked = Array.from({ length: 8 }, (_, index) => taken(copy, `vm${index}`));
      for (const each of await Promise.allSettled(asked)) expect(each.status).toBe('rejected');
      await expect(taken(copy, 'again')).rejects.toMatchObject({ code: 'not-a-machine' });
      expect(await names()).toEqual(['web']);
    },
  );

  test('a pipe that came into the folder of a machine that is there is not waited for either', async () => {
    const { folder, stored } = daemon.machines.find('web');
    execFileSync('mkfifo', [folder.end, folder.leaving, folder.marks, folder.arrived]);
    rmSync(folder.yaml);
    execFileSync('mkfifo', [folder.yaml]);
    await daemon.store.putMachine({ ...stored!, state: 'running' });
    await daemon.again();
    expect(await daemon.machines.list()).toMatchObject([{ name: 'web', state: 'stopped' }]);
  });

  test('a text that is longer than any is refused', async () => {
    writeFileSync(join(copy, 'vm.yaml'), ' '.repeat(300_000));
    await expect(taken(copy, 'long')).rejects.toMatchObject({ code: 'not-a-machine' });
  });
});

describe('a folder that leads outside of itself', () => {
  let secret = '';
  beforeEach(() => {
    secret = join(daemon.folder, 'secret.img');
    writeFileSync(secret, Buffer.alloc(4096, 1));
  });

  const ways: [string, () => void | Promise<void>][] = [
    ['by a disk', () => change('disks/disk0.qcow2', secret)],
    ['by a disk with dots', () => change('disks/disk0.qcow2', 'disks/../../secret.img')],
    [
      'by what stands behind a disk',
      async () => {
        rmSync(join(copy, 'disks/disk0.qcow2'));
        await newDisk(join(copy, 'disks/disk0.qcow2'), { backing: secret });
        rmSync(diskLockPath(secret));
      },
    ],
    [
      'by a link',
      () => {
        rmSync(join(copy, 'image/initrd'));
        symlinkSync(secret, join(copy, 'image/initrd'));
      },
    ],
    ['by a link to where nothing is yet', () => symlinkSync('../../new', join(copy, 'run/process.log'))],
    [
      'by a folder',
      () => {
        rmSync(join(copy, 'run'), { recursive: true });
        symlinkSync('..', join(copy, 'run'));
      },
    ],
  ];
  test.each(ways)('%s is refused, and taken in when that is said', async (_way, make) => {
    await make();
    await expect(taken(copy, 'copy')).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('--outside') as string,
    });
    expect([await names(), (await daemon.store.machines()).length]).toEqual([['web'], 1]);
    // It was not even opened: that leaves a lock beside it.
    expect(existsSync(diskLockPath(secret))).toBe(false);
    await taken(copy, 'copy', true);
    await daemon.done(daemon.machines.start('copy'));
  });

  test('since it was taken in is not started, whatever daemon runs', async () => {
    await taken(copy, 'copy');
    await daemon.done(daemon.machines.start('copy'));
    await daemon.done(daemon.machines.stop('copy'));
    change('disks/disk0.qcow2', secret);
    await expect(daemon.done(daemon.machines.start('copy'))).rejects.toMatchObject({ code: 'forbidden' });
    await daemon.again();
    await expect(daemon.done(daemon.machines.start('copy'))).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('by a snapshot’s file is not restored, and what that leads to not read', async () => {
    await taken(copy, 'copy');
    await daemon.done(daemon.machines.start('copy'));
    await daemon.done(daemon.machines.snapshot('copy', 'first'));
    const { folder } = daemon.machines.find('copy');
    const [file = ''] = readdirSync(join(folder.snapshots, 'first')).filter((name) => name !== 'manifest.json');
    rmSync(join(folder.snapshots, 'first', file));
    symlinkSync(secret, join(folder.snapshots, 'first', file));
    await expect(daemon.done(await daemon.machines.restore('copy', 'first'))).rejects.toMatchObject({
      code: 'forbidden',
    });
    // It goes on as it was.
    expect(daemon.state('copy')).toBe('running');
  });

  test('a link that stays inside is nobody’s matter', async () => {
    symlinkSync('initrd', join(copy, 'image/other'));
    await taken(copy, 'copy');
  });
});

test('what earlier runs have left in it is not believed', async () => {
  const other = join(daemon.folder, '.other.ringfence-mark');
  writeFileSync(other, '');
  const notes = {
    'leaving.json': { migration: 'm', host: '127.0.0.1', port: 9, fingerprint: 'f'.repeat(64) },
    'marks.json': [{ path: '/x', mark: other }],
    'copying.json': {},
    'run/arrived.json': { migration: 'm' },
    'run/end.json': { kind: 'moved', at: '2100-01-01T00:00:00.000Z' },
    'run/restoring.json': { snapshot: 's', disks: ['disks/disk0.qcow2'], before: [] },
  };
  mkdirSync(join(copy, 'run'), { recursive: true });
  for (const [file, note] of Object.entries(notes)) writeFileSync(join(copy, file), JSON.stringify(note));
  const state = join(daemon.folder, 'identity');
  mkdirSync(state);
  const departures = new Departures({ identity: identityIn(state), trust: new Trust(state), version: '1' });
  await taken(copy, 'copy');
  expect(Object.keys(notes).filter((file) => existsSync(join(copy, file)))).toEqual([]);
  expect(departures.leavingOf(daemon.machines.find('copy').folder)).toBeUndefined();
  await daemon.again();
  expect((await daemon.machines.list()).map(({ name, state: now }) => `${name} ${now}`)).toEqual([
    'copy stopped',
    'web stopped',
  ]);
  expect(existsSync(other)).toBe(true);
});
