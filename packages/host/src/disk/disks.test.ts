import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createQcow2 } from '@ringfence/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HostError } from '../failure.ts';
import { DiskFile } from './disk-file.ts';
import { parseDiskSpec } from './disk-spec.ts';
import { openDisks } from './disks.ts';
import type { OpenDisks } from './disks.ts';
import { HolePuncher } from './hole-puncher.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-disks-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);
const open = (...specs: readonly string[]): Promise<OpenDisks> => openDisks(specs.map((text) => parseDiskSpec(text)));

async function image(name: string, backing?: string, format: 'raw' | 'qcow2' = 'qcow2'): Promise<string> {
  const file = await DiskFile.create(at(name));
  await createQcow2(file, {
    sizeBytes: 1 << 20,
    ...(backing === undefined ? {} : { backing: { name: backing, format } }),
  });
  await file.close();
  return at(name);
}

async function firstBytes({ disks }: OpenDisks): Promise<string> {
  const bytes = new Uint8Array(5);
  await disks[0]?.store.read(0, [bytes]);
  return new TextDecoder().decode(bytes);
}

test('an image, what stands behind it by a relative name, and where it is written', async () => {
  writeFileSync(at('base.img'), 'hello'.padEnd(4096));
  await image('top.qcow2', 'base.img', 'raw');
  symlinkSync(at('top.qcow2'), at('link.qcow2'));
  const disks = await open(at('top.qcow2'));
  expect(await firstBytes(disks)).toBe('hello');
  await disks.disks[0]?.store.write(0, [new TextEncoder().encode('J')]);
  await disks.close();
  const again = await open(`${at('link.qcow2')},readonly`);
  expect(await firstBytes(again)).toBe('Jello');
  expect(again.disks[0]?.store.readOnly).toBe(true);
  await again.close();
  expect(readFileSync(at('base.img'), 'utf8').slice(0, 5)).toBe('hello');
});

test('a base is shared by readers, and nobody writes to it while it stands behind an image', async () => {
  writeFileSync(at('shared.img'), 'hello'.padEnd(4096));
  await image('one.qcow2', 'shared.img', 'raw');
  await image('two.qcow2', 'shared.img', 'raw');
  const both = await open(at('one.qcow2'), at('two.qcow2'));
  await expect(open(at('shared.img'))).rejects.toThrow('is in use by another virtual machine');
  await both.close();
  await (await open(at('shared.img'))).close();
});

test('a snapshot is written to and leaves nothing behind', async () => {
  writeFileSync(at('snap.img'), 'hello'.padEnd(4096));
  const files = readdirSync(tmpdir()).filter((name) => name.startsWith('ringfence-snapshot'));
  const disks = await open(`${at('snap.img')},snapshot,cache=writethrough,bus=mmio`);
  expect(disks.disks[0]).toMatchObject({ serial: 'disk0', cache: 'writethrough', bus: 'mmio' });
  await disks.disks[0]?.store.write(0, [new TextEncoder().encode('J')]);
  expect(await firstBytes(disks)).toBe('Jello');
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith('ringfence-snapshot'))).toEqual(files);
  await disks.close();
  expect(readFileSync(at('snap.img'), 'utf8').slice(0, 5)).toBe('hello');
});

describe('what cannot be gets a sentence, and all disks are closed again:', () => {
  const refused = async (...specs: readonly string[]): Promise<string> => {
    const error = await open(...specs).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HostError);
    return (error as HostError).message;
  };

  test('a disk that does not exist', async () => {
    const good = await image('good.qcow2');
    expect(await refused(good, at('none.img'))).toBe(
      `Disk "${at('none.img')}" does not exist; an empty one of 1 GiB is made by: truncate -s 1G FILE`,
    );
    await (await open(good)).close();
  });

  test('a backing file that does not exist', async () => {
    const path = await image('orphan.qcow2', 'gone.img', 'raw');
    expect(await refused(path)).toBe(
      `Disk "${path}" cannot use its backing file "gone.img": disk "${at('gone.img')}" does not exist`,
    );
    await expect(DiskFile.open(path, { readOnly: false }).then((file) => file.close())).resolves.toBeUndefined();
  });

  test('an image that stands behind itself', async () => {
    const path = await image('circle.qcow2', 'circle.qcow2');
    expect(await refused(path)).toContain('is an image that stands behind itself');
  });

  test('an image that was cut short', async () => {
    const path = await image('cut.qcow2');
    writeFileSync(path, readFileSync(path).subarray(0, 1000));
    expect(await refused(path)).toBe(
      `Disk "${path}" is damaged: it has a refcount table that goes beyond the end of its file`,
    );
  });

  test('a raw disk that is called qcow2', async () => {
    writeFileSync(at('raw.img'), new Uint8Array(4096));
    expect(await refused(`${at('raw.img')},format=qcow2`)).toBe(
      `Disk "${at('raw.img')}" cannot be used: it is no qcow2 image`,
    );
  });

  test('more disks than there are slots', async () => {
    expect(await refused(...Array.from({ length: 9 }, () => 'x,bus=mmio'))).toBe(
      '9 disks are too many for mmio, which has room for 8',
    );
  });
});

test.skipIf(!HolePuncher.isPossible).each(['', ',cache=none'])(
  'what a guest discards is given back to the computer, and reads as zero%s',
  async (setting) => {
    writeFileSync(at('holes.raw'), new Uint8Array(1 << 20).fill(1));
    const specs = [`${at('holes.raw')},format=raw${setting}`, (await image('holes.qcow2')) + setting];
    const opened = await open(...specs);
    const { disks } = opened;
    for (const { store } of disks) {
      const path = at(disks[0]?.store === store ? 'holes.raw' : 'holes.qcow2');
      await store.write(0, [new Uint8Array(1 << 20).fill(1)]);
      await store.flush();
      const before = statSync(path).blocks * 512;
      await store.discard(0, 1 << 19);
      await store.writeZeroes(1 << 19, 1 << 18, true);
      await store.flush();
      // The file system may need a block or two to keep track of the holes.
      expect(before - statSync(path).blocks * 512).toBeGreaterThan((1 << 19) + (1 << 17));
      const seen = new Uint8Array(1 << 20);
      await store.read(0, [seen]);
      expect([seen.lastIndexOf(0), seen.indexOf(1)]).toEqual([(1 << 19) + (1 << 18) - 1, (1 << 19) + (1 << 18)]);
    }
    await opened.close();
    rmSync(at('holes.qcow2'));
  },
);

test("a disk that was another process's is known with what stands behind it when it is taken back", async () => {
  writeFileSync(at('far.img'), 'hello'.padEnd(4096));
  const front = await image('near.qcow2', 'far.img', 'raw');
  const spec = parseDiskSpec(`${front},format=qcow2`);
  const disks = await openDisks([spec], new Map([[0, { sizeBytes: 1 << 20, discardGranularityBytes: undefined }]]));
  const [disk] = disks.disks;
  expect(disk?.chain.map(({ path }) => path)).toEqual([front]);
  await disk?.takeBack();
  expect(disk?.chain.map(({ path, format }) => [path, format])).toEqual([
    [front, 'qcow2'],
    [at('far.img'), 'raw'],
  ]);
  expect(await firstBytes(disks)).toBe('hello');
  await disks.close();
});
