/** What becomes of a machine's disks where it comes to. */

import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { MachineConfig } from '../machine-folder/config.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { parseVmYaml, vmYamlOf } from '../machine-folder/vm-yaml.ts';
import { arrivingDisks, leavingDisks, removeMarks } from './moved-disks.ts';
import type { MovedDisk } from './protocol.ts';

const SIZE = 1024 * 1024;

let path: string;
let here: MachineFolder;
let there: MachineFolder;
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'ringfence-moved-'));
  [here, there] = [machineFolder(join(path, 'here')), machineFolder(join(path, 'there'))];
  for (const folder of [here, there])
    for (const each of [folder.path, folder.image, folder.disks]) mkdirSync(each, { recursive: true });
});
afterEach(() => rmSync(path, { recursive: true }));

const configOf = (...disks: NonNullable<MachineConfig['disks']>): MachineConfig => ({
  version: 1,
  id: '6f4fb0b4-6b0e-4b3c-9f2b-2f5f0f0b7a11',
  name: 'db',
  image: 'tiny',
  suite: 'stable',
  cpus: 1,
  memory: '128M',
  disks,
});
const arriving = (
  config: MachineConfig,
  disks: readonly MovedDisk[],
  files: Parameters<typeof arrivingDisks>[3]['files'] = [],
) => arrivingDisks(there, vmYamlOf(config), config, { disks, files });
const digest = (text: string): string => createHash('sha256').update(text.padEnd(SIZE, '.')).digest('hex');
const put = (place: string, text: string): string => {
  writeFileSync(place, text.padEnd(SIZE, '.'));
  return place;
};
const infoOf = (image: string): { format: string; 'virtual-size': number; 'backing-filename'?: string } =>
  JSON.parse(execFileSync('qemu-img', ['info', '--output=json', image], { encoding: 'utf8' })) as never;

test('an image behind a disk that is the same on both sides is not sent, one with other content is', async () => {
  const base = put(join(path, 'base.img'), 'base');
  const front = put(join(here.disks, 'disk0.qcow2'), 'front');
  const chain = [
    { path: front, format: 'qcow2' },
    { path: base, format: 'raw' },
  ] as const;
  const leaving = await leavingDisks(here, [
    { readOnly: false, sizeBytes: SIZE, isTemporary: false, chain: [...chain] },
  ]);
  expect(leaving.disks).toMatchObject([{ format: 'qcow2', behind: [{ path: base, sha256: digest('base') }] }]);
  const config = configOf({ file: 'disks/disk0.qcow2' });

  const same = await arriving(config, leaving.disks);
  expect([same.behind, leaving.sent(same.behind)]).toEqual([[0], [{ layers: 1, isBlank: false, isShared: false }]]);
  await same.make();
  const made = join(there.disks, 'disk0.qcow2');
  expect(infoOf(made)).toMatchObject({ format: 'qcow2', 'virtual-size': SIZE, 'backing-filename': base });
  expect([same.disks.specs, same.disks.writable.includes(made), same.disks.readable.includes(base)]).toEqual([
    [`${made},format=qcow2`],
    true,
    true,
  ]);

  rmSync(made);
  put(base, 'else');
  const other = await arriving(config, leaving.disks);
  expect([other.behind, leaving.sent(other.behind)]).toEqual([[1], [{ layers: 2, isBlank: true, isShared: false }]]);
  await other.make();
  expect(infoOf(made)['backing-filename']).toBeUndefined();
  expect(other.disks.readable.includes(base)).toBe(false);
});

test('the image of the machine itself stands behind its disk as it did, and what else is in its folder is sent', async () => {
  const image = put(join(here.image, 'disk.qcow2'), 'image');
  const middle = put(join(here.disks, 'middle.qcow2'), 'middle');
  const chain = [{ path: join(here.disks, 'system.qcow2'), format: 'qcow2' }, { path: middle, format: 'qcow2' }, { path: image, format: 'raw' }] as const; // prettier-ignore
  put(chain[0].path, 'front');
  const { disks } = await leavingDisks(here, [
    { readOnly: false, sizeBytes: SIZE, isTemporary: false, chain: [...chain] },
  ]);
  const files = [{ folder: 'image', name: 'disk.qcow2', bytes: SIZE, sha256: digest('image') }] as const;
  const { behind, make } = await arriving(configOf({ file: 'disks/system.qcow2' }), disks, files);
  expect(behind).toEqual([1]);
  put(join(there.image, 'disk.qcow2'), 'image');
  await make();
  expect(infoOf(join(there.disks, 'system.qcow2'))['backing-filename']).toBe('../image/disk.qcow2');
});

test('a disk from anywhere else comes into the folder, as vm.yaml says there', async () => {
  const outside = join(path, 'data, mine.raw');
  const disk: MovedDisk = { format: 'raw', sizeBytes: SIZE, bytes: 0, behind: [] };
  const { yaml, make, disks } = await arriving(configOf({ file: outside }, { file: '../../../etc/shadow' }), [
    disk,
    disk,
  ]);
  await make();
  const files = (parseVmYaml(yaml, 'vm.yaml').disks ?? []).map(({ file }) => join(there.path, file));
  expect(files.map((file) => [file.startsWith(`${there.disks}/`), infoOf(file)['virtual-size']])).toEqual([
    [true, SIZE],
    [true, SIZE],
  ]);
  expect([disks.specs.length, new Set(files).size, existsSync(outside)]).toEqual([2, 2, false]);
});

test('a disk that is only read is there, comes as a file, or the machine does not come', async () => {
  const outside = put(join(path, 'tools.img'), 'tools');
  const inside = put(join(here.disks, 'data.img'), 'data');
  const opened = [outside, inside].map((each) => ({
    readOnly: true,
    sizeBytes: SIZE,
    isTemporary: false,
    chain: [{ path: each, format: 'raw' as const }],
  }));
  const { disks, files, sent } = await leavingDisks(here, opened);
  expect(files).toMatchObject([{ folder: 'disks', name: 'data.img', sha256: digest('data') }]);
  const config = configOf({ file: outside, readonly: true }, { file: 'disks/data.img', readonly: true });
  const { behind, disks: has } = await arriving(config, disks, files);
  expect([behind, has.writable, sent(behind).map(({ layers }) => layers)]).toEqual([[0, 0], [], [0, 0]]);
  put(outside, 'others');
  await expect(arriving(config, disks, files)).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('is only read, and what it is made of is not there, or is another'),
  });
});

test('disks that do not fit, or are not those of its vm.yaml, are refused before anything is made', async () => {
  const disk: MovedDisk = { format: 'qcow2', sizeBytes: SIZE, bytes: 2 ** 60, behind: [] };
  await expect(arriving(configOf({ file: 'disks/a.qcow2' }), [disk])).rejects.toMatchObject({ code: 'no-space' });
  await expect(arriving(configOf(), [disk])).rejects.toMatchObject({ code: 'protocol' });
});

test('a disk that both reach is not sent, when it is the same file there', async () => {
  const outside = put(join(path, 'data.raw'), 'data');
  const opened = [
    {
      readOnly: false,
      sizeBytes: SIZE,
      discardBytes: 4096,
      isTemporary: false,
      chain: [{ path: outside, format: 'raw' as const }],
    },
  ];
  const config = configOf({ file: outside });
  let disks: readonly MovedDisk[];
  {
    await using leaving = await leavingDisks(here, opened, true);
    ({ disks } = leaving);
    const { behind, absent, yaml, make } = await arriving(config, disks);
    await make();
    expect([leaving.sent(behind), absent, yaml]).toMatchObject([
      [{ layers: 0, isShared: true }],
      { 0: { sizeBytes: SIZE, discardBytes: 4096 } },
      vmYamlOf(config),
    ]);
  }
  // As on a computer that has another file of that name.
  await expect(arriving(config, disks)).rejects.toMatchObject({
    code: 'unsupported',
    message: `its disk ${outside} is not the same file there; without --shared-disks it is copied`,
  });
  expect(readdirSync(path).filter((name) => name.endsWith('-mark'))).toEqual([]);
  put(join(here.disks, 'disk0.raw'), 'own');
  const own = [{ ...opened[0]!, chain: [{ path: join(here.disks, 'disk0.raw'), format: 'raw' as const }] }];
  await expect(leavingDisks(here, own, true)).rejects.toMatchObject({ code: 'bad-argument' });
});

test('a file that is no mark of a disk shows nobody a disk', async () => {
  const secret = put(join(path, 'secret'), 'mine');
  const uuid = '0b0e9a5e-0f43-4f0c-8a53-6f4a3f0b7c11';
  const marks = [secret, put(join(path, 'else'), ''), join(path, `.secret.${uuid}.ringfence-mark`)];
  // One of the right name that holds something.
  put(marks[2]!, 'something');
  for (const mark of marks) {
    const disk: MovedDisk = { format: 'raw', sizeBytes: SIZE, bytes: 0, behind: [], shared: { path: secret, mark } };
    await expect(arriving(configOf({ file: secret }), [disk])).rejects.toMatchObject({ code: 'unsupported' });
  }
});

test('what a daemon that was killed has put beside a disk is removed by the next one, and no other file is', async () => {
  const outside = put(join(path, 'data.raw'), 'data');
  const opened = [
    { readOnly: false, sizeBytes: SIZE, isTemporary: false, chain: [{ path: outside, format: 'raw' as const }] },
  ];
  const leaving = await leavingDisks(here, opened, true);
  const { mark = '' } = leaving.disks[0]?.shared ?? {};
  expect(existsSync(mark)).toBe(true);
  await removeMarks(here);
  expect([existsSync(mark), existsSync(here.marks)]).toEqual([false, false]);
  writeFileSync(here.marks, JSON.stringify([{ path: outside, mark: outside }]));
  await removeMarks(here);
  expect([existsSync(outside), existsSync(here.marks)]).toEqual([true, false]);
});

test('a disk that is too large to move is named', async () => {
  const front = put(join(here.disks, 'huge.qcow2'), 'huge');
  const opened = [
    { readOnly: false, sizeBytes: 2 ** 41, isTemporary: false, chain: [{ path: front, format: 'qcow2' as const }] },
  ];
  await expect(leavingDisks(here, opened)).rejects.toMatchObject({
    code: 'unsupported',
    message: `its disk ${front} is of 2 TiB; more than 1 TiB does not move`,
  });
});
