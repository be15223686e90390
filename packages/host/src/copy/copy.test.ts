/** Copies by the rules of docker cp, where the guest is this computer; what `diff -r` and `stat` say of it. */

import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentFileStatus, AgentTreeStep } from '@ringfence/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostError } from '../failure.ts';
import type { GuestCalls } from '../guest/calls.ts';
import { LocalGuest } from '../guest/testing/local-guest.ts';
import { copyBetweenGuests, copyFromGuest, copyIntoGuest } from './copy.ts';
import { readTree } from './read-tree.ts';
import { writeTree } from './write-tree.ts';

let folder = '';
const here = (name: string): string => join(folder, 'here', name);
const there = (name: string): string => join(folder, 'there', name);
let guest: LocalGuest;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-copy-'));
  mkdirSync(here(''));
  mkdirSync(there(''));
  guest = new LocalGuest(there(''));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A folder with one of each. */
function makeTree(at: string): void {
  mkdirSync(join(at, 'deep/er'), { recursive: true });
  writeFileSync(join(at, 'deep/er/file'), 'content\n');
  writeFileSync(join(at, 'empty'), '');
  writeFileSync(join(at, 'large'), Buffer.alloc(300_000, 'large '));
  writeFileSync(join(at, 'sparse'), 'begin');
  truncateSync(join(at, 'sparse'), 5_000_000);
  writeFileSync(join(at, 'program'), '#!/bin/sh\n');
  chmodSync(join(at, 'program'), 0o4755);
  linkSync(join(at, 'large'), join(at, 'larger'));
  symlinkSync('../nowhere', join(at, 'link'));
  writeFileSync(join(at, 'ü\n'), 'odd name');
  utimesSync(join(at, 'empty'), 1_000_000_000, 1_000_000_000);
  chmodSync(join(at, 'deep'), 0o555);
}

function difference(a: string, b: string): string {
  try {
    return execFileSync('diff', ['-r', '--no-dereference', a, b], { encoding: 'utf8' });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

test.each(['in', 'out'])('a folder goes %s with all that is in it', async (way) => {
  const from = way === 'in' ? here : there;
  const to = way === 'in' ? there : here;
  makeTree(from('tree'));
  if (way === 'in') await copyIntoGuest(guest, here('tree'), '/copy');
  else await copyFromGuest(guest, '/tree', here('copy'));
  expect(difference(from('tree'), to('copy'))).toBe('');
  expect(statSync(to('copy/empty')).mtimeMs).toBe(1_000_000_000_000);
  expect(statSync(to('copy/deep')).mode & 0o7777).toBe(0o555);
  // Who did not ask for it gets no program that runs as another user.
  expect(statSync(to('copy/program')).mode & 0o7777).toBe(0o755);
  expect(statSync(to('copy/large')).ino).toBe(statSync(to('copy/larger')).ino);
  expect(statSync(to('copy/sparse')).blocks).toBeLessThan(500);
  chmodSync(from('tree/deep'), 0o755);
  chmodSync(to('copy/deep'), 0o755);
});

test('a file goes to a new name, over a file, and into a folder', async () => {
  writeFileSync(here('a'), 'one');
  await copyIntoGuest(guest, here('a'), 'new');
  expect(readFileSync(there('new'), 'utf8')).toBe('one');
  writeFileSync(here('a'), 'two');
  await copyIntoGuest(guest, here('a'), '/new');
  expect(readFileSync(there('new'), 'utf8')).toBe('two');
  mkdirSync(there('folder'));
  await copyIntoGuest(guest, here('a'), '/folder');
  expect(readFileSync(there('folder/a'), 'utf8')).toBe('two');
  await copyFromGuest(guest, '/folder/a', here(''));
  expect(readFileSync(here('a'), 'utf8')).toBe('two');
});

test('a folder goes into one that is there, or with /. what is in it does', async () => {
  mkdirSync(here('src'));
  writeFileSync(here('src/a'), 'a');
  mkdirSync(there('dst'));
  writeFileSync(there('dst/kept'), 'kept');
  await copyIntoGuest(guest, here('src'), '/dst');
  await copyIntoGuest(guest, `${here('src')}/.`, '/dst');
  expect(
    execFileSync('find', ['.'], { cwd: there('dst'), encoding: 'utf8' })
      .split('\n')
      .toSorted(),
  ).toEqual(['', '.', './a', './kept', './src', './src/a']);
});

test('a link is copied as one, and what it leads to when that is asked for', async () => {
  writeFileSync(there('real'), 'real');
  symlinkSync('real', there('link'));
  await copyFromGuest(guest, '/link', here('link'));
  expect(readlinkSync(here('link'))).toBe('real');
  await copyFromGuest(guest, '/link', here('file'), { follow: true });
  expect(readFileSync(here('file'), 'utf8')).toBe('real');
});

test('what is no file, folder or link is left out and told', async () => {
  mkdirSync(here('run'));
  execFileSync('mkfifo', [here('run/pipe')]);
  writeFileSync(here('run/file'), '');
  const leftOut: string[] = [];
  const onLeftOut = (path: string): void => void leftOut.push(path);
  await copyIntoGuest(guest, here('run'), '/run', { onLeftOut });
  expect(leftOut).toEqual([here('run/pipe')]);
  expect(readdirSync(there('run'))).toEqual(['file']);
});

test('from one guest into another', async () => {
  const other = new LocalGuest(here(''));
  makeTree(there('tree'));
  await copyBetweenGuests(guest, '/tree', other, '/copy');
  expect(difference(there('tree'), here('copy'))).toBe('');
  chmodSync(there('tree/deep'), 0o755);
  chmodSync(here('copy/deep'), 0o755);
});

test('no device of one guest gets into another', async () => {
  mkdirSync(there('run'));
  const status = await guest.stat('/run');
  const hostile: Pick<GuestCalls, 'stat' | 'copyOut'> = {
    stat: (path, options) => guest.stat(path, options),
    async *copyOut() {
      yield* guest.copyOut('/run');
      yield { kind: 'entry', path: [Buffer.from('disk\u001b[2J')], status: { ...status, kind: 'block-device' } };
    },
  };
  const other = new LocalGuest(here(''));
  const taken: string[] = [];
  other.copyIn = async (_path, steps) => {
    for await (const step of steps) taken.push(step.kind === 'entry' ? step.status.kind : step.kind);
  };
  const leftOut: string[] = [];
  await copyBetweenGuests({ ...hostile, exec: other.exec, copyIn: other.copyIn }, '/run', other, '/copy', {
    onLeftOut: (path) => leftOut.push(path),
  });
  expect([taken, leftOut]).toEqual([['folder'], ['/copy/disk\u{fffd}[2J']]);
});

describe('a folder that a guest shares', () => {
  test('gives it nothing else of this computer when it puts a link in the place of a folder that is read', async () => {
    mkdirSync(here('secret'));
    writeFileSync(here('secret/key'), 'stolen');
    mkdirSync(here('shared/sub'), { recursive: true });
    writeFileSync(here('shared/sub/key'), 'harmless');
    const read: AgentTreeStep[] = [];
    const reading = (async () => {
      for await (const step of readTree(here('shared'))) {
        read.push(step);
        const isFolder = step.kind === 'entry' && step.path.length === 1;
        if (!isFolder) continue;
        renameSync(here('shared/sub'), here('shared/old'));
        symlinkSync(here('secret'), here('shared/sub'));
      }
    })();
    await expect(reading).rejects.toThrow('shared/sub" cannot be read');
    expect(read.filter(({ kind }) => kind === 'data')).toEqual([]);
  });

  test('gives it nothing else when it puts a link in the place of a folder that is being read', async () => {
    mkdirSync(here('secret'));
    mkdirSync(here('shared/sub'), { recursive: true });
    for (const name of ['a', 'b']) {
      writeFileSync(here(`secret/${name}`), 'stolen');
      writeFileSync(here(`shared/sub/${name}`), 'mine');
    }
    let content = '';
    for await (const step of readTree(here('shared'))) {
      if (step.kind === 'data') content += Buffer.from(step.bytes).toString();
      if (step.kind !== 'entry' || Buffer.from(step.path.at(-1) ?? []).toString() !== 'a') continue;
      renameSync(here('shared/sub'), here('shared/old'));
      symlinkSync(here('secret'), here('shared/sub'));
    }
    expect(content).toBe('minemine');
  });

  test.each(['file', 'folder'])(
    'is not left by a link that is called as the %s that is copied into it',
    async (kind) => {
      mkdirSync(here('shared'));
      mkdirSync(here('home'));
      writeFileSync(here('home/key'), 'mine');
      if (kind === 'folder') mkdirSync(there('name'));
      writeFileSync(there(kind === 'folder' ? 'name/key' : 'name'), 'of the guest');
      symlinkSync(kind === 'folder' ? here('home') : here('home/key'), here('shared/name'));
      const copy = copyFromGuest(guest, '/name', here('shared'));
      if (kind === 'folder') await expect(copy).rejects.toThrow('there is something else in its place');
      else await copy;
      expect(readFileSync(here('home/key'), 'utf8')).toBe('mine');
      if (kind === 'file') expect(readFileSync(here('shared/name'), 'utf8')).toBe('of the guest');
    },
  );
});

test('a link that the user names is followed', async () => {
  writeFileSync(there('a'), 'new');
  writeFileSync(here('real'), 'old');
  symlinkSync(here('real'), here('link'));
  await copyFromGuest(guest, '/a', here('link'));
  expect([readFileSync(here('real'), 'utf8'), readlinkSync(here('link'))]).toEqual(['new', here('real')]);
});

test('a copy that breaks off leaves the file that was there, and nothing of its own', async () => {
  writeFileSync(there('a'), 'new');
  writeFileSync(here('a'), 'old');
  const steps = async function* (): AsyncGenerator<AgentTreeStep> {
    yield* guest.copyOut('/a');
    throw new HostError('ended', 'the machine ended');
  };
  await expect(writeTree(here('a'), steps())).rejects.toThrow('the machine ended');
  expect([readdirSync(here('')), readFileSync(here('a'), 'utf8')]).toEqual([['a'], 'old']);
});

test('a name that would steer the terminal is told without that', async () => {
  mkdirSync(there('run'));
  const root = await guest.stat('/run');
  const name = Buffer.from('\u001b[2J');
  const write = (status: AgentFileStatus, onLeftOut: (path: string) => void): Promise<void> =>
    writeTree(
      here('run'),
      (async function* (): AsyncGenerator<AgentTreeStep> {
        yield { kind: 'entry', path: [], status: root };
        yield { kind: 'entry', path: [name], status };
      })(),
      { onLeftOut },
    );
  const leftOut: string[] = [];
  await write({ ...root, kind: 'fifo' }, (path) => leftOut.push(path));
  expect(leftOut).toEqual([here('run/\u{fffd}[2J')]);
  // Node's own words name the file, too.
  await expect(write({ ...root, kind: 'file', sizeBytes: Number.MAX_SAFE_INTEGER }, () => undefined)).rejects.toThrow(
    /^"[^\p{Cc}]*" cannot be written: [^\p{Cc}]*$/u,
  );
});

describe('what cannot be gets a sentence:', () => {
  test('a source that is not there', async () => {
    await expect(copyIntoGuest(guest, here('none'), '/x')).rejects.toThrow(
      `there is no file or folder "${here('none')}" to copy`,
    );
    await expect(copyFromGuest(guest, '/none', here('x'))).rejects.toMatchObject({ errno: 'ENOENT' });
  });

  test('a folder above the destination that is not there', async () => {
    writeFileSync(there('a'), '');
    await expect(copyFromGuest(guest, '/a', here('none/x'))).rejects.toThrow(
      `"${here('none')}" cannot be written: there is no such file or folder`,
    );
  });

  test('a device in the place of a file', async () => {
    writeFileSync(there('a'), '');
    await expect(copyFromGuest(guest, '/a', '/dev/null')).rejects.toThrow(
      '"/dev/null" is no file, and is not replaced',
    );
  });
});

describe('a copy that a guest made up', () => {
  const status = (kind: AgentFileStatus['kind'], more: Partial<AgentFileStatus> = {}): AgentFileStatus => ({
    kind,
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtimeNs: 0n,
    sizeBytes: 0,
    device: { major: 0, minor: 0 },
    target: new Uint8Array(0),
    ...more,
  });
  const entry = (path: string, of: AgentFileStatus): AgentTreeStep => ({
    kind: 'entry',
    path: path === '' ? [] : path.split('|').map((name) => Buffer.from(name)),
    status: of,
  });
  const write = (...steps: readonly AgentTreeStep[]): Promise<void> =>
    writeTree(
      here('out'),
      (async function* () {
        yield* steps;
      })(),
    );
  const bytes = Buffer.from('stolen');
  const data: AgentTreeStep = { kind: 'data', offsetBytes: 0, bytes };
  const file = status('file', { sizeBytes: bytes.length });

  test.each([
    [
      'a link, then something in it',
      entry('evil', status('symlink', { target: Buffer.from('..') })),
      entry('evil|x', file),
    ],
    ['a folder that never came', entry('a|x', file)],
    ['a name that is a path', entry('../x', file)],
    ['a name that leads up', entry('..', file)],
    ['a second root', entry('', file)],
    [
      'a link to a file that it has not made',
      { kind: 'hard-link', path: [Buffer.from('x')], to: [Buffer.from('secret')] },
    ],
  ] as [string, ...AgentTreeStep[]][])('reaches nothing outside of its folder: %s', async (_what, ...steps) => {
    mkdirSync(here('out'));
    writeFileSync(here('out/secret'), 'secret');
    await expect(write(entry('', status('folder')), ...steps, data)).rejects.toThrow(
      /makes no sense|cannot be written|EINVAL/,
    );
    expect(spawnSync('grep', ['-r', 'stolen', folder], { encoding: 'utf8' }).stdout).toBe('');
  });

  test('does not follow a link that is in its way', async () => {
    mkdirSync(here('out'));
    symlinkSync(there(''), here('out/folder'));
    writeFileSync(there('file'), 'kept');
    symlinkSync(there('file'), here('out/file'));
    await expect(write(entry('', status('folder')), entry('folder', status('folder')))).rejects.toThrow(
      'there is something else in its place',
    );
    await write(entry('', status('folder')), entry('file', file), data);
    expect([readFileSync(there('file'), 'utf8'), readFileSync(here('out/file'), 'utf8')]).toEqual(['kept', 'stolen']);
  });

  test('with more in a file than it said is refused', async () => {
    await expect(write(entry('', status('file')), data)).rejects.toThrow('the guest sent a copy that makes no sense');
  });
});
