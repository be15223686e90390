import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import process from 'node:process';
import { openDisks, parseDiskSpec } from '@ringfence/host';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeFailure } from '../failure.ts';
import { diskCreate, type CreateOptions } from './disk.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-disk-create-'));
});
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

async function look(
  path: string,
): Promise<{ readonly sizeBytes: number | undefined; readonly first: number | undefined }> {
  const opened = await openDisks([parseDiskSpec(`${path},readonly`)]);
  const [disk] = opened.disks;
  const byte = new Uint8Array(1);
  await disk?.store.read(0, [byte]);
  await opened.close();
  return { sizeBytes: disk?.store.sizeBytes, first: byte[0] };
}

test('an empty image has the size that was asked for', async () => {
  expect(await diskCreate(at('empty.qcow2'), { size: '3G' })).toBe(0);
  expect(await look(at('empty.qcow2'))).toEqual({ sizeBytes: 3 * 2 ** 30, first: 0 });
});

test('an image in front of another is as large as that one, or larger, and finds it from wherever it is opened', async () => {
  writeFileSync(at('base:1.img'), new Uint8Array(8192).fill(7));
  mkdirSync(at('vms'));
  const backing = relative(process.cwd(), at('base:1.img'));
  expect(await diskCreate(at('vms/one.qcow2'), { backing })).toBe(0);
  expect(await look(at('vms/one.qcow2'))).toEqual({ sizeBytes: 8192, first: 7 });
  expect(await diskCreate(at('two.qcow2'), { backing: at('vms/one.qcow2'), size: '1M' })).toBe(0);
  expect(await look(relative(process.cwd(), at('two.qcow2')))).toEqual({ sizeBytes: 2 ** 20, first: 7 });
});

describe('what cannot be made is told in a sentence, and is not half there:', () => {
  test.each<[string, CreateOptions, string]>([
    ['without a size', {}, 'how large? give --size SIZE, or --backing FILE'],
    ['a wrong size', { size: 'big' }, '--size "big" is no size of a disk; write it like 512M or 10G'],
    ['too large a size', { size: '8000T' }, 'that is too large'],
    ['no backing file', { backing: 'nowhere.img' }, 'Disk "nowhere.img" does not exist'],
    ['a wrong format', { backing: 'x', backingFormat: 'vmdk' }, '--backing-format is raw or qcow2, not "vmdk"'],
  ])('%s', async (_, options, sentence) => {
    const error = await diskCreate(at('never.qcow2'), options).catch((reason: unknown) => reason);
    expect(describeFailure(error, 1).text).toContain(sentence);
    expect(existsSync(at('never.qcow2'))).toBe(false);
  });

  test('an image where a file is already', async () => {
    writeFileSync(at('there.qcow2'), 'precious');
    const error = await diskCreate(at('there.qcow2'), { size: '1M' }).catch((reason: unknown) => reason);
    expect(describeFailure(error, 1).text).toBe(`Disk "${at('there.qcow2')}" exists already`);
    expect(existsSync(at('there.qcow2'))).toBe(true);
  });
});
