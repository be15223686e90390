/** Machines with trust labels: where they lie, what they have to be, and what is refused; with processes that are only pretended. */

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Creation } from '@ringfence/api';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MAXIMUM_LABELLED } from '../machine-folder/label-folder.ts';
import { machineFolder } from '../machine-folder/layout.ts';
import type { Entry } from './entry.ts';
import { Labels } from './labels.ts';
import { comingMachine, PretendDaemon } from './testing/pretend.ts';

let daemon: PretendDaemon;
beforeEach(async () => {
  daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40 });
});
afterEach(() => daemon.end());

const made = async (name: string, label?: string, more: Creation = {}): Promise<void> =>
  daemon.done(
    await daemon.machines.create({ name, network: 'none', ...(label === undefined ? {} : { label }), ...more }),
  );
const started = async (name: string): Promise<void> => daemon.done(daemon.machines.start(name));
const folderOf = (name: string): string => daemon.machines.find(name).folder.path;
const inFolder = (...path: string[]): string => join(daemon.folder, 'machines', ...path);
function edit(name: string, from: string | RegExp, to: string): void {
  const { yaml } = daemon.machines.find(name).folder;
  writeFileSync(yaml, readFileSync(yaml, 'utf8').replace(from, to));
}

describe('a machine with a label', () => {
  test('lies in the folder of its label, under the first number that is free', async () => {
    await made('web', 'shop');
    await made('db', 'shop');
    await made('other', 'bank');
    await made('alone');
    expect(['web', 'db', 'other', 'alone'].map(folderOf)).toEqual([
      inFolder('@shop', '1'),
      inFolder('@shop', '2'),
      inFolder('@bank', '1'),
      inFolder('alone'),
    ]);
    await daemon.done(daemon.machines.remove('web'));
    await daemon.done(daemon.machines.remove('other'));
    expect([existsSync(inFolder('@shop', '1')), existsSync(inFolder('@bank'))]).toEqual([false, false]);
    await made('cache', 'shop');
    expect(folderOf('cache')).toBe(inFolder('@shop', '1'));
    expect(await daemon.machines.inspect('cache')).toMatchObject({ label: 'shop' });
  });

  test('is found again with it', async () => {
    await made('web', 'shop');
    await started('web');
    await daemon.again();
    expect(daemon.state('web')).toBe('running');
    expect(await daemon.machines.inspect('web')).toMatchObject({ label: 'shop' });
  });

  test('that was to come when the daemon was killed leaves no folder of its label, but where others have it', async () => {
    await made('web', 'shop');
    for (const label of ['shop', 'bank']) {
      const { folder } = await daemon.machines.moves.expect(comingMachine(`from-${label}`, { label }));
      for (const path of [folder.path, join(dirname(folder.path), 'memory')]) mkdirSync(path, { recursive: true });
      writeFileSync(join(dirname(folder.path), 'process.log'), 'said');
    }
    await daemon.again();
    expect((await daemon.machines.list()).map(({ name }) => name)).toEqual(['web']);
    expect(readdirSync(inFolder())).toEqual(['@shop']);
    expect(readdirSync(inFolder('@shop')).toSorted()).toEqual(['1', 'memory', 'process.log']);
  });

  test('is refused when it is not like the others of its label, and nothing is left of it', async () => {
    await made('web', 'shop', { cpus: 2 });
    for (const more of [{}, { cpus: 2, engine: 'interpreter' }] satisfies Creation[])
      await expect(made('db', 'shop', more)).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(made('db', 'shop')).rejects.toThrow(
      'the virtual machine "db" is to have cpus 1, and "web" has 2: all of the label "shop" have the same',
    );
    expect((await daemon.machines.list()).map(({ name }) => name)).toEqual(['web']);
    expect(existsSync(inFolder('@shop', '2'))).toBe(false);
    await made('db', 'bank');
  });

  test('is compared with those of its label whose vm.yaml can be read', async () => {
    await made('web', 'shop', { cpus: 2 });
    await made('db', 'shop', { cpus: 2 });
    writeFileSync(daemon.machines.find('web').folder.yaml, 'nothing');
    await expect(made('late', 'shop')).rejects.toThrow('"late" is to have cpus 1, and "db" has 2');
  });

  test('is made while the folder of its label goes with the last one before it', async () => {
    const entries: Pick<Entry, 'folder'>[] = [];
    const labels = new Labels(() => entries as Entry[], inFolder());
    const [one, other] = ['1', '2'].map((number) => ({ folder: machineFolder(inFolder('@shop', number)) }));
    mkdirSync(inFolder('@shop', 'memory'), { recursive: true });
    labels.clear(one!);
    expect(existsSync(inFolder('@shop'))).toBe(false);
    entries.push(other!);
    mkdirSync(inFolder('@shop'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(existsSync(inFolder('@shop'))).toBe(true);
  });

  test('is refused when there are as many of its label as there can be', async () => {
    for (let number = 1; number <= MAXIMUM_LABELLED; number++) await made(`m-${number}`, 'shop');
    await expect(made('more', 'shop')).rejects.toThrow(
      'there are 64 virtual machines of the label "shop" already, which is the most',
    );
    await made('more', 'bank');
    await daemon.done(daemon.machines.remove('m-7', true));
    await expect(made('other', 'shop')).rejects.toMatchObject({
      code: 'too-many',
      message: `all 64 folders that virtual machines of the label "shop" can have are there, 1 of them without a machine, as "rm --keep-files" leaves them: remove such a one from ${inFolder('@shop')}, or move it elsewhere`,
    });
    renameSync(inFolder('@shop', '7'), inFolder('kept'));
    await made('other', 'shop');
  });

  test('does not start when all of its label would have more memory than one process has', async () => {
    for (const name of ['one', 'two', 'three']) await made(name, 'shop', { memory: '1500M' });
    await started('one');
    await started('two');
    await expect(started('three')).rejects.toThrow(
      expect.objectContaining({
        code: 'no-memory',
        message: expect.stringMatching(/"three" .* 1\.5 GiB .* 3\.7 GiB .* "shop" have 2\.9 GiB$/) as string,
      }),
    );
    await expect(daemon.done(daemon.machines.fork('one'))).rejects.toMatchObject({ code: 'no-memory' });
    await daemon.done(daemon.machines.stop('one'));
    await started('three');
  });

  test('does not start when its label would have more than one processor reserved, which is what they take turns on', async () => {
    await made('one', 'shop', { cpu: { reservation: 60 } });
    await made('two', 'shop', { cpu: { reservation: 50 } });
    await started('one');
    await expect(started('two')).rejects.toMatchObject({
      code: 'no-processors',
      message:
        'the virtual machine "two" is to have 50 % of a processor reserved, and of the one that machines of the label "shop" take turns on 60 % are reserved already',
    });
    await daemon.machines.changeProcessors('two', { reservation: 40 });
    await started('two');
    await expect(daemon.machines.changeProcessors('one', { reservation: 61 })).rejects.toMatchObject({
      code: 'no-processors',
    });
  });
});

describe('a label is given when a machine is made:', () => {
  test('one that is written into its vm.yaml, changed there or removed, is refused when it starts', async () => {
    await made('alone');
    edit('alone', 'cpus:', 'label: shop\ncpus:');
    await expect(started('alone')).rejects.toMatchObject({ code: 'forbidden' });
    await made('web', 'shop');
    for (const text of ['label: bank', '']) {
      edit('web', /label: \S+/, text);
      await expect(started('web')).rejects.toMatchObject({ code: 'forbidden' });
      edit('web', text || /\n\n/, text === '' ? '\nlabel: shop\n' : 'label: shop');
    }
    await started('web');
  });

  test('a folder that comes from elsewhere and says one is refused, and so is one that lies where machines of a label do', async () => {
    await made('web', 'shop');
    const copy = join(daemon.folder, 'copy');
    await daemon.done(daemon.machines.remove('web', true));
    renameSync(inFolder('@shop', '1'), copy);
    await expect(daemon.machines.register(copy)).rejects.toMatchObject({
      code: 'forbidden',
      message:
        'the vm.yaml of the virtual machine "web" says that its label is "shop", and its folder is none of that label: whom a machine trusts is said with "ringfence create --label"',
    });
    const yaml = join(copy, 'vm.yaml');
    writeFileSync(yaml, readFileSync(yaml, 'utf8').replace('label: shop\n', ''));
    renameSync(copy, inFolder('@shop', '1'));
    await expect(daemon.machines.register(inFolder('@shop', '1'))).rejects.toMatchObject({ code: 'forbidden' });
    renameSync(inFolder('@shop', '1'), copy);
    await daemon.done(await daemon.machines.register(copy));
    expect(daemon.state('web')).toBe('stopped');
  });

  test('a folder is none of a label because it lies somewhere among its files, and its files lie nowhere else', async () => {
    await made('web', 'shop');
    await daemon.done(daemon.machines.remove('web', true));
    await expect(daemon.machines.register(inFolder('@shop', '1'), { allowOutside: true })).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('all of its files lie in its folder'),
    });
    for (const place of [inFolder('@shop', '65'), inFolder('@shop', '2', 'disks', 'x')]) {
      mkdirSync(dirname(place), { recursive: true });
      renameSync(inFolder('@shop', '1'), place);
      await expect(daemon.machines.register(place)).rejects.toMatchObject({
        code: 'forbidden',
        message: expect.stringContaining('lies among the files of machines of the label "shop"'),
      });
      renameSync(place, inFolder('@shop', '1'));
    }
    await daemon.done(await daemon.machines.register(inFolder('@shop', '1')));
    expect(await daemon.machines.inspect('web')).toMatchObject({ label: 'shop' });
  });

  test('its disks are in its folder, whatever its vm.yaml says', async () => {
    await made('web', 'shop', { disks: [{ size: '1M' }] });
    const secret = join(daemon.folder, 'secret');
    writeFileSync(secret, Buffer.alloc(512));
    edit('web', 'disks/disk0.qcow2', secret);
    await expect(started('web')).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('it is a short word', async () => {
    await made('web', 'shop');
    edit('web', 'label: shop', 'label: ../bank');
    await expect(started('web')).rejects.toMatchObject({ code: 'not-a-machine' });
  });
});
