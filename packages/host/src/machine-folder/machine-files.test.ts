import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { parseDiskSpec } from '../disk/disk-spec.ts';
import { openDisks } from '../disk/disks.ts';
import { machineFolder } from './layout.ts';
import { machineDisks } from './machine-files.ts';
import type { MachineConfig } from './config.ts';

let folder = '';

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('a guest cannot make an image of its raw disk, which the next start would believe', async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-machine-files-'));
  mkdirSync(join(folder, 'disks'));
  const path = join(folder, 'disks/data.img');
  writeFileSync(path, Buffer.alloc(1024 ** 2, 1));
  const config = { disks: [{ file: 'disks/data.img' }] } as unknown as MachineConfig;
  const { specs } = await machineDisks(machineFolder(folder), config, { mayLeadOutside: false });
  const {
    disks: [disk],
  } = await openDisks(specs.map((spec) => parseDiskSpec(spec)));
  const header = Buffer.alloc(512);
  header.write('QFI\xfb', 'latin1');
  await expect(disk?.store.write(0, [header])).rejects.toMatchObject({ name: 'BlockStoreError' });
  await disk?.store.write(512, [header]);
  await disk?.store.close();
  expect(readFileSync(path).readUInt32BE(0)).toBe(0x0101_0101);
});
