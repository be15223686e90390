/** What a machine is called to have that goes on from a snapshot of another one. */

import { expect, test } from 'vitest';
import type { MachineConfig } from './config.ts';
import { copiedConfig } from './copy-snapshot.ts';

const copied = (...disks: NonNullable<MachineConfig['disks']>): string[] => {
  const { disks: made = [] } = copiedConfig({ ...CONFIG, disks }, 'other', 'copy');
  return made.map(({ file }) => file);
};
const CONFIG: MachineConfig = {
  version: 1,
  id: 'one',
  name: 'vm',
  image: 'tiny',
  suite: 'stable',
  cpus: 1,
  memory: '64M',
};

test('the disks of a copied machine have names of their own, those that are only read the ones they had', () => {
  expect(copied({ file: 'disks/system.qcow2' }, { file: 'disks/disk0.qcow2', readonly: true })).toEqual([
    'disks/system.qcow2',
    'disks/disk0.qcow2',
  ]);
  expect(copied({ file: 'disks/system~0123abcd.qcow2' }, { file: '/data/x.img' })).toEqual([
    'disks/system.qcow2',
    'disks/x.qcow2',
  ]);
  expect(copied({ file: '/data/x.img' }, { file: './disks/x.qcow2', readonly: true }, { file: '/x.raw' })).toEqual([
    'disks/x-2.qcow2',
    './disks/x.qcow2',
    'disks/x-3.qcow2',
  ]);
});
