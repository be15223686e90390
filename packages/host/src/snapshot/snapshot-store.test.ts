import { spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { restoreInto, SnapshotError } from '@ringfence/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SnapshotStore } from './snapshot-store.ts';
import { smallMachine } from './testing/small-machine.ts';

const TAKE_PROCESS = fileURLToPath(new URL('testing/take-process.ts', import.meta.url));
const canMount = spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt']).status === 0;

let folder: string;
let store: SnapshotStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-snapshots-'));
  store = new SnapshotStore(join(folder, 'snapshots'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const names = (): string[] => readdirSync(store.folder).toSorted();
const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof SnapshotError) return error.code;
    throw error;
  }
  return 'nothing';
};

describe('a store of snapshots', () => {
  test('keeps chains: each by its name, restored with what it builds on, and nothing removed that another needs', async () => {
    const first = await smallMachine(300);
    const taken = [await store.take('one', first.request())];
    for (const [n, name] of ['two', 'three'].entries()) {
      first.write(n, 0x40 + n);
      const parent = store.open(n === 0 ? 'one' : 'two');
      taken.push(await store.take(name, { ...first.request(), parent }));
      parent.close();
    }
    expect(taken.map(({ pages }) => pages.own)).toEqual([taken[0]?.pages.own, 1, 1]);
    expect(store.list().map(({ name, parent }) => [name, parent])).toEqual([
      ['one', undefined],
      ['three', taken[1]?.manifest.id],
      ['two', taken[0]?.manifest.id],
    ]);
    const { machine, byte } = await smallMachine(0);
    const opened = store.open('three');
    restoreInto(machine, opened);
    expect([byte(0), byte(1), byte(299)]).toEqual([0x40, 0x41, first.byte(299)]);
    opened.close();
    await expect(store.remove('one')).rejects.toMatchObject({ code: 'in-use' });
    await store.remove('three');
    await store.remove('two');
    expect(names()).toEqual(['one']);
  }, 60_000);

  test('says what is not there, is there already, has no name or misses its parent', async () => {
    const { request } = await smallMachine(2);
    await store.take('one', request());
    const parent = store.open('one');
    await store.take('two', { ...request(), parent });
    parent.close();
    await expect(store.take('one', request())).rejects.toMatchObject({ code: 'exists' });
    expect(codeOf(() => store.open('three'))).toBe('not-found');
    expect(() => store.open('../one')).toThrow('"../one" is no name of a snapshot');
    renameSync(join(store.folder, 'one'), join(folder, 'elsewhere'));
    expect(() => store.open('two')).toThrow(
      /the snapshot "two" cannot be used: it builds on the snapshot [0-9a-f]{32}/,
    );
    expect(names()).toEqual(['two']);
  });

  test('refuses a snapshot with one byte changed or cut off anywhere, with the reason', async () => {
    const { request } = await smallMachine(40);
    await store.take('one', request());
    for (let round = 0; round < 100; round++) {
      const file = ['manifest.json', 'index', 'pages'][round % 3] ?? '';
      const path = join(store.folder, 'one', file);
      const sound = readFileSync(path);
      const at = randomInt(sound.length);
      if (round % 5 === 4) truncateSync(path, at);
      else writeFileSync(path, sound.with(at, (sound[at] ?? 0) ^ (1 << randomInt(8))));
      expect(() => store.open('one'), `${file} at ${at}`).toThrow(/^the snapshot "one" cannot be used: /);
      writeFileSync(path, sound);
    }
    store.open('one').close();
  });

  test.skipIf(!canMount)(
    'whose disk is full while one is written keeps the earlier ones whole, and nothing of it',
    () => {
      mkdirSync(store.folder);
      // A snapshot takes about 900 KB.
      const script = `mount -t tmpfs -o size=1400k tmpfs "$1"; "$2" "$3" "$1" one two; ls -A "$1"; cp -r "$1/one" "$4/one"`;
      const { stdout } = spawnSync('unshare', [
        '-rm',
        'sh',
        '-c',
        script,
        'sh',
        store.folder,
        process.execPath,
        TAKE_PROCESS,
        folder,
      ]);
      expect(stdout.toString()).toMatch(/^one is whole\nunavailable: the snapshot "two" cannot be written: .+\none\n$/);
      new SnapshotStore(folder).open('one').close();
    },
  );

  test('of whom the writer was killed has whole snapshots only, and the next writer clears up', async () => {
    const { request } = await smallMachine(2);
    await store.take('whole', request());
    const child = spawn(process.execPath, [TAKE_PROCESS, store.folder, 'one', 'two', 'three', 'four'], {
      stdio: 'ignore',
    });
    while (!names().some((name) => name.startsWith('.new-'))) await new Promise((resolve) => setTimeout(resolve, 1));
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('exit', resolve));
    for (const { name } of store.list()) store.open(name).close();
    await store.take('after', request());
    expect(names().filter((name) => name.startsWith('.'))).toEqual([]);
  });
});
