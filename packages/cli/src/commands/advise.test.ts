import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { EXIT } from '../exit-codes.ts';
import { advise } from './advise.ts';

let folder = '';
let written = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-advise-'));
  written = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const HOST = { cpus: [], hostCpus: '10', hostMemory: '16G', cpuFactor: '1' };

test('a table for people says what each machine needs and what fits', async () => {
  const load = file('a.csv', 'time,name,cpu_cores,memory_bytes\n600,small,0.5,1073741824\n600,large,9,1073741824\n');
  expect(await advise([load], HOST)).toBe(EXIT.OK);
  expect(written).toContain('small    1        0.50  1      1 GiB  1280M');
  expect(written).toContain('1 of 2 fit on a host of 10 processors and 16 GiB: small.');
  expect(written).toContain('Not even alone: large, for lack of processors.');
});

test('files of one machine are put together, and JSON has every figure', async () => {
  const files = [
    file('cpu.csv', 'time,name,cpu_cores\n600,a,0.5\n'),
    file('memory.csv', 'time,name,memory_bytes\n600,a,1073741824\n'),
  ];
  expect(await advise(files, { ...HOST, json: true })).toBe(EXIT.OK);
  const said = JSON.parse(written) as Readonly<Record<string, unknown>>;
  expect(said).toMatchObject({
    host: { cpus: 10 },
    cpuFactor: 1,
    machines: [{ name: 'a', vcpus: 1, memoryBytes: 1_342_177_280 }],
    fitting: ['a'],
    hosts: [['a']],
  });
});

test.each([
  ['a file that is not there', ['nothing.csv'], {}, 'nothing.csv cannot be read: there is no such file or folder'],
  ['processors that are none', [], { cpus: ['a'] }, '--cpus "a" is not of the form NAME=NUMBER'],
  ['a host without processors', [], { hostCpus: '0' }, '--host-cpus "0" is no number above 0'],
  ['a disk of no speed', [], { hostDisk: 'fast' }, '--host-disk "fast" is no number above 0'],
  ['a host without memory', [], { hostMemory: 'much' }, '--host-memory "much" is no size; write it like 64G'],
])('%s is refused with a sentence', async (_what, names, options, sentence) => {
  const paths = names.length > 0 ? names.map((name) => join(folder, name)) : [file('a.csv', 'time,cpu_cores\n1,1\n')];
  await expect(advise(paths, { ...HOST, ...options })).rejects.toThrow(sentence);
  expect(written).toBe('');
});

describe('the machines of docs/advice.md, on a host of 12 processors and 16 GiB', () => {
  const records = ['web.sar', 'db.sar', 'batch.csv'].map((name) =>
    fileURLToPath(new URL(`../../../host/src/advice/testing/${name}`, import.meta.url)),
  );
  const host = { cpus: [], hostCpus: '12', hostMemory: '16G' };

  test.each([
    ['processors alone', {}, ['web', 'db', 'batch'], [], [['batch', 'db', 'web']]],
    [
      'a disk of 0.3 MB/s',
      { hostDisk: '0.3' },
      ['web', 'batch'],
      [{ name: 'db', lacks: 'disk throughput' }],
      [['batch', 'db'], ['web']],
    ],
    [
      'a disk of 20 operations a second',
      { hostIops: '20' },
      ['web', 'batch'],
      [{ name: 'db', lacks: 'disk operations' }],
      [['batch', 'db'], ['web']],
    ],
    [
      'a network of 0.5 Mbit/s',
      { hostNetwork: '0.5' },
      ['db', 'batch'],
      [{ name: 'web', lacks: 'network throughput' }],
      [['batch', 'web'], ['db']],
    ],
    [
      'a disk and a network that are just enough',
      { hostDisk: '0.4096', hostIops: '25', hostNetwork: '0.516096' },
      ['web', 'db', 'batch'],
      [],
      [expect.anything()],
    ],
  ])('are bound by %s as it is calculated there', async (_what, limits, fitting, left, hosts) => {
    expect(await advise(records, { ...host, ...limits, json: true })).toBe(EXIT.OK);
    const said = JSON.parse(written) as Readonly<Record<'fitting' | 'left' | 'hosts', unknown[]>>;
    expect(new Set(said.fitting)).toEqual(new Set(fitting));
    expect([said.left, said.hosts]).toEqual([left, hosts]);
  });

  test('a table says which limits were told', async () => {
    await advise(records, { ...host, hostDisk: '0.3', hostNetwork: '100' });
    expect(written).toContain(
      '2 of 3 fit on a host of 12 processors and 16 GiB, 0.3 MB/s of disks, 100 Mbit/s of network: ',
    );
    expect(written).toContain('Not beside them: db, for lack of disk throughput.');
  });
});
