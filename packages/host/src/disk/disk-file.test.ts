import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { BlockStoreError, RawBlockStore } from '@ringfence/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blockStore } from '@ringfence/core/testing/block-store';
import { diskLockPath } from './disk-lock.ts';
import { DiskFile } from './disk-file.ts';

const HOLD_DISK = fileURLToPath(new URL('./testing/hold-disk.ts', import.meta.url));

let folder = '';
let files = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-disk-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

function diskFile(content: Uint8Array = new Uint8Array(4096)): string {
  const path = join(folder, `disk${files++}.img`);
  writeFileSync(path, content);
  return path;
}

const writer = (path: string): Promise<DiskFile> => DiskFile.open(path, { readOnly: false });
const reader = (path: string): Promise<DiskFile> => DiskFile.open(path, { readOnly: true });

interface OtherProcess {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  /** The first line it said. */
  readonly said: string;
}

function otherProcess(
  path: string,
  mode: 'read' | 'write',
  options: readonly string[] = [],
  ...more: string[]
): Promise<OtherProcess> {
  const child = spawn(execPath, [...options, HOLD_DISK, path, mode, ...more], { stdio: ['pipe', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('\n')) resolve({ child, said: said.trimEnd() });
    });
    child.on('error', reject);
    child.on('exit', () => reject(new Error(`the process ended without a word: ${said}`)));
  });
}

function ended({ child }: OtherProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.on('exit', () => resolve());
  });
}

blockStore(
  'a raw disk in a file',
  async (content, readOnly) => new RawBlockStore(await DiskFile.open(diskFile(content), { readOnly })),
);

describe('past the page cache', () => {
  /** Not every file system can. */
  const direct = async (path: string): Promise<DiskFile | undefined> =>
    DiskFile.open(path, { readOnly: false, cache: 'none' }).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'unsupported' });
      return undefined;
    });

  test('a file is an array of bytes that grows, whatever its length', async ({ skip }) => {
    for (const length of [4096, 5000, 512, 300_000]) {
      const path = diskFile(new Uint8Array(length).fill(1));
      const file = (await direct(path)) ?? skip('the file system of the test cannot do that');
      let model = Buffer.alloc(length, 1);
      for (let round = 0; round < 40; round++) {
        const at = (round * 7919) % (length + 3000);
        const bytes = 1 + ((round * 104_729) % (round % 7 === 0 ? 600_000 : 6000));
        if (at + bytes > model.length) model = Buffer.concat([model, Buffer.alloc(at + bytes - model.length)]);
        model.fill(round + 2, at, at + bytes);
        await file.write(at, [
          new Uint8Array(bytes >> 1).fill(round + 2),
          new Uint8Array(bytes - (bytes >> 1)).fill(round + 2),
        ]);
        expect(file.sizeBytes).toBe(model.length);
        const back = [new Uint8Array(100), new Uint8Array(model.length)];
        await file.read(0, back);
        expect(Buffer.concat(back).subarray(0, model.length).equals(model)).toBe(true);
      }
      await file.flush();
      await file.close();
      expect(readFileSync(path).equals(model)).toBe(true);
    }
  });

  test('writers of one block do not undo each other', async ({ skip }) => {
    const path = diskFile(new Uint8Array(8192));
    const file = (await direct(path)) ?? skip('the file system of the test cannot do that');
    await Promise.all(
      Array.from({ length: 64 }, (_, part) => file.write(part * 100, [new Uint8Array(100).fill(part + 1)])),
    );
    await file.close();
    const content = readFileSync(path);
    expect(Array.from({ length: 64 }, (_, part) => content[part * 100 + 99])).toEqual(
      Array.from({ length: 64 }, (_, part) => part + 1),
    );
  });
});

test('what was written is in the file', async () => {
  const path = diskFile();
  const disk = await writer(path);
  await disk.write(1024, [Uint8Array.of(1, 2, 3)]);
  await disk.flush();
  await disk.close();
  expect([...readFileSync(path).subarray(1023, 1028)]).toEqual([0, 1, 2, 3, 0]);
});

test('more views than the operating system takes at once are read and written all the same', async () => {
  const disk = await writer(diskFile());
  const views = Array.from({ length: 3000 }, (_, index) => Uint8Array.of(index & 0xff));
  await disk.write(0, views);
  const back = Array.from({ length: 3000 }, () => new Uint8Array(1));
  await disk.read(0, back);
  expect(back).toEqual(views);
  await disk.close();
});

describe('a disk that cannot be opened says why:', () => {
  const refused = async (opening: Promise<DiskFile>): Promise<string> => {
    const error = await opening.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(BlockStoreError);
    return (error as BlockStoreError).message;
  };

  test('it does not exist', async () => {
    const path = join(folder, 'nowhere.img');
    expect(await refused(writer(path))).toBe(`Disk "${path}" does not exist`);
    expect(await refused(reader(join(diskFile(), 'below-a-file')))).toMatch(/does not exist$/);
  });

  test('it is a directory, or nothing that has bytes', async () => {
    expect(await refused(reader(folder))).toBe(`Disk "${folder}" is a directory`);
    expect(await refused(writer('/dev/null'))).toBe('Disk "/dev/null" is not a regular file');
  });

  test('it is empty', async () => {
    const path = diskFile(new Uint8Array(0));
    expect(await refused(writer(path))).toBe(`Disk "${path}" is empty`);
  });

  test('it is read-only', async () => {
    const path = diskFile();
    const other = await otherProcess(path, 'write', ['--permission', '--allow-fs-read=*']);
    expect(other.said).toBe(`Disk "${path}" is read-only`);
  });
});

test('a read-only disk where no lock can be made is read without', async () => {
  const path = diskFile();
  const other = await otherProcess(path, 'read', ['--permission', '--allow-fs-read=*']);
  expect(other.said).toBe('open');
  other.child.stdin.end();
  await ended(other);
});

test('a file that shrinks under its machine fails the read', async () => {
  const path = diskFile();
  const disk = await writer(path);
  truncateSync(path, 100);
  await expect(disk.read(0, [new Uint8Array(512)])).rejects.toThrow(
    `Disk "${path}" has become shorter while it was in use`,
  );
  await disk.close();
});

test('a file grows by being written to, and its gap and what is behind its end read as zero', async () => {
  const file = await writer(diskFile(new Uint8Array(100).fill(1)));
  await file.write(200, [Uint8Array.of(2, 3)]);
  expect(file.sizeBytes).toBe(202);
  const back = [new Uint8Array(101).fill(9), new Uint8Array(103).fill(9)];
  await file.read(99, back);
  expect(Buffer.concat(back)).toEqual(Buffer.from([1, ...new Uint8Array(100), 2, 3, ...new Uint8Array(101)]));
  await file.close();
});

test('a new file is made only where there is none, and a temporary one leaves nothing behind', async () => {
  const path = join(folder, 'new.qcow2');
  const file = await DiskFile.create(path);
  await file.write(0, [Uint8Array.of(1)]);
  await expect(DiskFile.create(path)).rejects.toThrow(`Disk "${path}" exists already`);
  await expect(writer(path)).rejects.toThrow(/is in use/);
  await file.close();
  expect([...readFileSync(path)]).toEqual([1]);
  const hidden = join(folder, 'hidden');
  const temporary = await DiskFile.temporary(hidden, 'snapshot');
  expect(existsSync(hidden)).toBe(false);
  await temporary.write(5, [Uint8Array.of(7)]);
  const back = new Uint8Array(1);
  await temporary.read(5, [back]);
  expect(back[0]).toBe(7);
  await temporary.close();
});

test("a closed disk answers with an error and not with somebody else's bytes", async () => {
  const disk = await writer(diskFile());
  await disk.close();
  await expect(disk.read(0, [new Uint8Array(1)])).rejects.toThrow(BlockStoreError);
  await expect(disk.write(0, [new Uint8Array(1)])).rejects.toThrow(BlockStoreError);
});

describe('the lock', () => {
  const LOCKED = /is in use by another virtual machine$/;

  test('keeps a second writer out, by whatever path it comes, until the first closes', async () => {
    const path = diskFile();
    const link = `${path}.link`;
    symlinkSync(path, link);
    const disk = await writer(path);
    await expect(writer(link)).rejects.toMatchObject({
      code: 'locked',
      message: `Disk "${link}" is in use by another virtual machine`,
    });
    await disk.close();
    const next = await writer(link);
    await next.close();
  });

  test('lets readers share, and keeps them and writers apart', async () => {
    const path = diskFile();
    const readers = [await reader(path), await reader(path)];
    await expect(writer(path)).rejects.toThrow(LOCKED);
    for (const each of readers) await each.close();
    const disk = await writer(path);
    await expect(reader(path)).rejects.toThrow(/is being written by another virtual machine$/);
    await disk.close();
  });

  test('is an empty file beside the disk, and a disk without one gets none when it cannot be opened', async () => {
    const path = diskFile();
    const disk = await writer(path);
    await disk.close();
    expect(readFileSync(diskLockPath(path))).toHaveLength(0);
    const empty = diskFile(new Uint8Array(0));
    await expect(writer(empty)).rejects.toThrow(BlockStoreError);
    expect(existsSync(diskLockPath(empty))).toBe(false);
  });

  test('holds between processes, and falls when its process is killed', async () => {
    const path = diskFile();
    const other = await otherProcess(path, 'write');
    expect(other.said).toBe('open');
    await expect(writer(path)).rejects.toThrow(LOCKED);
    other.child.kill('SIGKILL');
    await ended(other);
    const disk = await writer(path);
    expect((await otherProcess(path, 'write')).said).toMatch(LOCKED);
    await disk.close();
  });

  test('has one holder at a time, however many processes want it', async () => {
    const path = diskFile();
    const others = await Promise.all([1, 2, 3].map(() => otherProcess(path, 'write', [], '40')));
    expect(others.map(({ said }) => said)).toEqual(['0 collisions', '0 collisions', '0 collisions']);
  });
});
