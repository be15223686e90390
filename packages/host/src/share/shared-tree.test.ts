import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process, { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import { FileError, type OpenMode } from '@ringfence/core';
import { ERRNO, OPCODE, entryOf, mounted, struct, type Mounted } from '@ringfence/core/testing/fuse';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { squashed } from './owners.ts';
import { SharedTree } from './shared-tree.ts';
import { AT_FDCWD, SystemCalls, terminated } from './system-calls.ts';

const ROOT = 1;
const isRoot = process.geteuid?.() === 0;
const bytes = (text: string): Buffer => Buffer.from(text);
const BOTH: OpenMode = { access: 'both', append: false, truncate: false, durable: 'no' };
const OWNER = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

let calls: SystemCalls | undefined;
let base = '';
let outside = '';
let folder = '';
let tree: SharedTree;
let share: Mounted;

beforeAll(async () => {
  calls = await SystemCalls.start();
});
afterAll(() => calls?.close());

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'ringfence-share-'));
  outside = join(base, 'outside');
  folder = join(base, 'shared');
  mkdirSync(outside);
  mkdirSync(folder);
  writeFileSync(join(outside, 'secret'), 'SECRET');
  tree = await SharedTree.open(folder, { calls });
  share = await mounted({ tree });
});

afterEach(async () => {
  await share.end();
  await tree.close();
  if (tree.openDescriptors > 0) throw new Error(`${tree.openDescriptors} descriptors were left open`);
  rmSync(base, { recursive: true });
});

const fails = (answer: Promise<unknown>, ...errors: readonly (keyof typeof ERRNO)[]): Promise<void> =>
  expect(answer).rejects.toThrow(new RegExp(`^errno (${errors.map((error) => ERRNO[error]).join('|')})$`));

const content = async (node: number): Promise<string> => {
  const handle = await share.guest.open(node, 0);
  const text = Buffer.from(await share.guest.read(node, handle, 0, 1000)).toString();
  await share.guest.release(node, handle);
  return text;
};

/** A process that makes `here` a symbolic link to `target` and back, as fast as it can, until the end. */
async function raced(target: string): Promise<{ end(): Promise<unknown> }> {
  const swap = fileURLToPath(new URL('testing/swap.ts', import.meta.url));
  const racer = spawn(execPath, [swap, folder, target], { stdio: ['pipe', 'pipe', 'inherit'] });
  await new Promise((resolve) => racer.stdout.once('data', resolve));
  return {
    end() {
      racer.stdin.end();
      return new Promise((resolve) => racer.once('exit', resolve));
    },
  };
}

describe('nothing leads out of the folder:', () => {
  test('symbolic links are told, and followed by nobody', async () => {
    symlinkSync(outside, join(folder, 'out'));
    symlinkSync(join(outside, 'secret'), join(folder, 'file'));
    const { guest } = share;
    for (const [name, target] of [
      ['out', outside],
      ['file', join(outside, 'secret')],
    ] as const) {
      const { node, mode } = await guest.lookup(ROOT, name);
      expect(mode & 0o170000).toBe(0o120000);
      expect(Buffer.from(await guest.ask(OPCODE.READLINK, node, struct())).toString()).toBe(target);
      await fails(guest.lookup(node, 'secret'), 'ENOTDIR');
      await fails(guest.open(node, 0), 'EINVAL');
      await fails(guest.openFolder(node), 'ENOTDIR');
      await fails(guest.ask(OPCODE.MKDIR, node, struct(0o755, 0, 'made')), 'ENOTDIR');
      await fails(guest.ask(OPCODE.UNLINK, node, struct('secret')), 'ENOTDIR');
      await fails(guest.ask(OPCODE.RENAME, ROOT, struct(BigInt(node), 'file', 'moved')), 'ENOTDIR');
    }
    // What is made through such a name is not made at its target.
    await fails(guest.create(ROOT, 'out'), 'ESTALE');
    await fails(guest.create(ROOT, 'file', 2 | 0o1000), 'ESTALE');
    expect(readdirSync(outside)).toEqual(['secret']);
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('SECRET');
  });

  test('changes of a link change the link', async () => {
    symlinkSync(join(outside, 'secret'), join(folder, 'link'));
    const before = statSync(join(outside, 'secret'), { bigint: true });
    const { node } = await share.guest.lookup(ROOT, 'link');
    const times = struct(0x30, 0, 0n, 0n, 0n, 5n, 6n, 0n, 0, 0, 0, 0, 0, 0, 0, 0);
    await share.guest.ask(OPCODE.SETATTR, node, times);
    await fails(
      share.guest.ask(OPCODE.SETATTR, node, struct(1, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0o777, 0, 0, 0, 0)),
      'EOPNOTSUPP',
    );
    await fails(
      share.guest.ask(OPCODE.SETATTR, node, struct(8, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0)),
      'EINVAL',
    );
    const after = statSync(join(outside, 'secret'), { bigint: true });
    expect([after.mode, after.size, after.mtimeNs]).toEqual([before.mode, before.size, before.mtimeNs]);
    expect(lstatSync(join(folder, 'link')).mtimeMs).toBe(6000);
  });

  test('a name is one name, whoever asks the tree', async () => {
    const root = await tree.root();
    for (const name of ['..', '.', '', 'a/b', '../outside', '/etc', 'a\0b'])
      await expect(root.look(bytes(name)), name).rejects.toThrow(FileError);
    await root.close();
  });

  test('a folder that turns into a link and back, all the time, while it is walked', { timeout: 60_000 }, async () => {
    mkdirSync(join(folder, 'here'));
    writeFileSync(join(folder, 'here/secret'), 'inside');
    const race = await raced(outside);
    const seen = { inside: 0, link: 0, failed: 0 };
    const until = performance.now() + 3000;
    const { guest } = share;
    for (let round = 0; performance.now() < until; round++) {
      try {
        const here = await guest.lookup(ROOT, 'here');
        if ((here.mode & 0o170000) === 0o120000) seen.link++;
        // Whatever it is by now.
        const file = await guest.lookup(here.node, 'secret');
        expect(await content(file.node)).toBe('inside');
        seen.inside++;
        await guest.ask(OPCODE.MKDIR, here.node, struct(0o755, 0, `made ${round}`));
        await guest.ask(OPCODE.RMDIR, here.node, struct(`made ${round}`));
        await guest.forget(file.node, 1);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('errno')) throw error;
        seen.failed++;
      }
    }
    await race.end();
    expect(readdirSync(outside)).toEqual(['secret']);
    // Both were met, so the race was one.
    expect(seen.link).toBeGreaterThan(0);
    expect(seen.failed).toBeGreaterThan(0);
  });

  test('a hard link to a symbolic link is one to the link, with system calls and without', async () => {
    symlinkSync(join(outside, 'secret'), join(folder, 'link'));
    const plain = await SharedTree.open(folder);
    const withoutCalls = await mounted({ tree: plain });
    for (const { guest } of [share, withoutCalls]) {
      const { node } = await guest.lookup(ROOT, 'link');
      expect(entryOf(await guest.ask(OPCODE.LINK, ROOT, struct(BigInt(node), 'hard'))).mode & 0o170000).toBe(0o120000);
      expect(lstatSync(join(folder, 'hard')).ino).toBe(lstatSync(join(folder, 'link')).ino);
      expect(statSync(join(outside, 'secret')).nlink).toBe(1);
      await guest.ask(OPCODE.UNLINK, ROOT, struct('hard'));
    }
    await withoutCalls.end();
    await plain.close();
  });

  test('a file that turns into a link and back, all the time, while it is linked', { timeout: 60_000 }, async () => {
    writeFileSync(join(folder, 'here'), 'inside');
    const race = await raced(join(outside, 'secret'));
    const seen = { file: 0, link: 0 };
    while (Math.min(seen.file, seen.link) < 30) {
      try {
        const here = await share.guest.lookup(ROOT, 'here');
        await share.guest.ask(OPCODE.LINK, ROOT, struct(BigInt(here.node), 'hard'));
        const made = lstatSync(join(folder, 'hard'));
        if (made.isSymbolicLink()) seen.link++;
        else seen.file++;
        if (made.isFile()) expect(readFileSync(join(folder, 'hard'), 'utf8')).toBe('inside');
        await share.guest.ask(OPCODE.UNLINK, ROOT, struct('hard'));
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('errno')) throw error;
      }
      expect(statSync(join(outside, 'secret')).nlink).toBe(1);
    }
    await race.end();
    expect([readdirSync(outside), statSync(join(outside, 'secret')).nlink]).toEqual([['secret'], 1]);
  });

  test('pipes, sockets and devices are never opened', async () => {
    await calls?.call('mknodat', [AT_FDCWD, terminated(join(folder, 'pipe')), 0o010644, 0n]);
    const { node, mode } = await share.guest.lookup(ROOT, 'pipe');
    expect(mode & 0o170000).toBe(0o010000);
    // Opening a pipe for writing would wait for a reader.
    for (const flags of [0, 1, 2, 0o1001]) await fails(share.guest.open(node, flags), 'EINVAL');
    await fails(share.guest.create(ROOT, 'pipe'), 'ESTALE');
    const device = await SharedTree.open('/dev');
    const root = await device.root();
    const zero = await root.hold(bytes('zero'));
    await expect(zero.open(BOTH)).rejects.toThrow('EINVAL');
    await Promise.all([zero.close(), root.close()]);
    await device.close();
  });

  test('a descriptor is not closed under who uses it, and not used after that', async () => {
    writeFileSync(join(folder, 'a'), 'content');
    const root = await tree.root();
    const looking = Array.from({ length: 20 }, () => root.look(bytes('a')));
    const closing = root.close();
    for (const look of looking) expect((await look).sizeBytes).toBe(7);
    await closing;
    await expect(root.look(bytes('a'))).rejects.toThrow('EBADF');
  });
});

describe('files', () => {
  test('of more than 4 GiB, with holes', async () => {
    const { entry, handle } = await share.guest.create(ROOT, 'large');
    const at = 5 * 1024 ** 3 + 3;
    await share.guest.write(entry.node, handle, at, bytes('far'));
    expect(Buffer.from(await share.guest.read(entry.node, handle, at - 2, 100)).toString()).toBe('\0\0far');
    const { size, blocks } = statSync(join(folder, 'large'));
    expect([size, blocks < 1000]).toEqual([at + 3, true]);
    if (calls === undefined) return;
    const seek = async (offset: bigint, whence: number): Promise<bigint> =>
      Buffer.from(
        await share.guest.ask(OPCODE.LSEEK, entry.node, struct(BigInt(handle), offset, whence, 0)),
      ).readBigUInt64LE();
    expect(await seek(0n, 3)).toBeGreaterThan(BigInt(at - 10_000));
    expect(await seek(0n, 4)).toBe(0n);
    await share.guest.ask(OPCODE.FALLOCATE, entry.node, struct(BigInt(handle), 0n, 8192n, 0, 0));
    expect(statSync(join(folder, 'large')).blocks).toBeGreaterThan(blocks);
  });

  test('names of any bytes are the same on both sides', async () => {
    const name = Buffer.from([0xff, 0x0a, 0xc3, 0x28, 0x20, 0x01]);
    writeFileSync(Buffer.concat([bytes(`${folder}/`), name]), 'x');
    expect((await share.guest.lookup(ROOT, name)).size).toBe(1);
    const long = Buffer.alloc(255, 0xe9);
    await share.guest.ask(OPCODE.RENAME, ROOT, struct(1n, name, Uint8Array.of(0), long, Uint8Array.of(0)));
    expect(readdirSync(folder, { encoding: 'buffer' })).toEqual([long]);
    const handle = await share.guest.openFolder(ROOT);
    expect((await share.guest.list(ROOT, handle, 0)).map((entry) => entry.name)).toEqual([
      '.',
      '..',
      long.toString('latin1'),
    ]);
  });

  test('ten thousand in one folder are all there', { timeout: 60_000 }, async () => {
    const names = Array.from({ length: 10_000 }, (_, index) => `entry-${index}`);
    for (const name of names) writeFileSync(join(folder, name), '');
    const handle = await share.guest.openFolder(ROOT);
    const seen: string[] = [];
    for (let offset = 0; ;) {
      const some = await share.guest.list(ROOT, handle, offset, 65_536, true);
      if (some.length === 0) break;
      offset = some.at(-1)?.next ?? 0;
      seen.push(...some.map(({ name }) => name));
    }
    expect(seen.toSorted()).toEqual(['.', '..', ...names].toSorted());
  });

  test('are made with the permissions asked for, whatever the umask of this process is', async () => {
    const umask = process.umask(0o077);
    try {
      await share.guest.create(ROOT, 'file', 2, 0o664);
      await share.guest.ask(OPCODE.MKDIR, ROOT, struct(0o1777, 0o002, 'folder'));
      expect([statSync(join(folder, 'file')).mode, statSync(join(folder, 'folder')).mode]).toEqual([0o100664, 0o41775]);
    } finally {
      process.umask(umask);
    }
  });

  test.skipIf(!isRoot)(
    'of a guest of root’s belong to who made them, and in a folder with set-group-ID to its group',
    async () => {
      const make = (opcode: number, body: Uint8Array): Promise<{ readonly body: Uint8Array; readonly errno: number }> =>
        share.guest.raw({ opcode, node: ROOT, uid: 1000, gid: 1001 }, body);
      await make(OPCODE.MKDIR, struct(0o755, 0, 'folder'));
      await make(OPCODE.SYMLINK, struct('link', 'x'));
      await make(OPCODE.CREATE, struct(0o102, 0o100644, 0, 0, 'file'));
      const owners = (name: string): number[] => [lstatSync(join(folder, name)).uid, lstatSync(join(folder, name)).gid];
      expect(['folder', 'link', 'file'].map(owners)).toEqual([
        [1000, 1001],
        [1000, 1001],
        [1000, 1001],
      ]);
      chmodSync(folder, 0o2777);
      await make(OPCODE.MKDIR, struct(0o755, 0, 'inherits'));
      expect([owners('inherits'), statSync(join(folder, 'inherits')).mode & 0o7777]).toEqual([[1000, 0], 0o2755]);
    },
  );

  test('times go through to the last digit that there is', async () => {
    const { entry } = await share.guest.create(ROOT, 'file');
    const set = (valid: number, ...times: readonly [bigint, bigint, number, number]): Promise<Uint8Array> =>
      share.guest.ask(
        OPCODE.SETATTR,
        entry.node,
        struct(valid, 0, 0n, 0n, 0n, times[0], times[1], 0n, times[2], times[3], 0, 0, 0, 0, 0, 0),
      );
    const now = (): [bigint, bigint] => {
      const { atimeNs, mtimeNs } = statSync(join(folder, 'file'), { bigint: true });
      return [atimeNs, mtimeNs];
    };
    await set(0x30, 1_700_000_000n, 4_000_000_000n, 123_456_000, 999_999_000);
    const unit = BigInt(tree.timeUnitNs);
    expect(now().map((time) => (time / unit) * unit)).toEqual([1_700_000_000_123_456_000n, 4_000_000_000_999_999_000n]);
    await set(0x20, 0n, -5n, 0, 500_000_000);
    expect(now()[1]).toBe(-4_500_000_000n);
    await set(0x1b0, 0n, 0n, 0, 0);
    expect(Math.abs(Number(now()[1] / 1_000_000n) - Date.now())).toBeLessThan(5000);
  });

  test('what the host does is seen', async () => {
    writeFileSync(join(folder, 'a'), 'one');
    const { node } = await share.guest.lookup(ROOT, 'a');
    writeFileSync(join(folder, 'a'), 'longer');
    utimesSync(join(folder, 'a'), 1, 2);
    expect((await share.guest.attributes(node)).size).toBe(6);
    rmSync(join(folder, 'a'));
    await fails(share.guest.attributes(node), 'ENOENT', 'ESTALE');
    await fails(share.guest.lookup(ROOT, 'a'), 'ENOENT');
  });

  test('other file systems of the host are the guest’s too', async () => {
    const whole = await SharedTree.open('/');
    const { guest, end } = await mounted({ tree: whole, readOnly: true });
    expect((await guest.lookup(ROOT, 'proc')).flags).toBe(1);
    await end();
    await whole.close();
  });
});

describe('the host’s user is not root:', () => {
  test('its files are the guest’s root’s, and nobody else gets any', async () => {
    const own = await SharedTree.open(folder, { owners: squashed(OWNER), calls });
    const { guest, end } = await mounted({ tree: own });
    const { entry } = await guest.create(ROOT, 'a');
    expect([entry.uid, statSync(join(folder, 'a')).uid]).toEqual([0, OWNER.uid]);
    const chown = (uid: number): Promise<Uint8Array> =>
      guest.ask(OPCODE.SETATTR, entry.node, struct(6, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, uid, uid, 0));
    await chown(0);
    await fails(chown(1000), 'EPERM');
    const { body } = await guest.raw({ opcode: OPCODE.MKDIR, node: ROOT, uid: 1000, gid: 1000 }, struct(0o755, 0, 'b'));
    expect(entryOf(body).uid).toBe(0);
    const other = squashed({ uid: OWNER.uid + 1, gid: OWNER.gid });
    expect(other.toGuest(OWNER)).toEqual({ uid: 65_534, gid: 0 });
    await end();
    await own.close();
  });
});

describe('what Node has no function for', () => {
  const attribute = (name: string): Uint8Array => struct(1000, 0, name);

  test('is there, on a Linux of today', () => {
    expect(calls).toBeDefined();
  });

  test.skipIf(isRoot && process.env['TMPDIR'] === '/dev/shm')('extended attributes are the host’s', async () => {
    const { entry } = await share.guest.create(ROOT, 'a');
    const { node } = entry;
    await share.guest.ask(OPCODE.SETXATTR, node, struct(5, 0, 0, 0, 'user.word', bytes('value')));
    expect(Buffer.from(await share.guest.ask(OPCODE.GETXATTR, node, attribute('user.word'))).toString()).toBe('value');
    expect([...(await share.guest.ask(OPCODE.GETXATTR, node, struct(0, 0, 'user.word')))]).toEqual([
      5, 0, 0, 0, 0, 0, 0, 0,
    ]);
    expect(Buffer.from(await share.guest.ask(OPCODE.LISTXATTR, node, struct(1000, 0))).toString()).toBe('user.word\0');
    await fails(share.guest.ask(OPCODE.GETXATTR, node, struct(2, 0, 'user.word')), 'ERANGE');
    await fails(share.guest.ask(OPCODE.SETXATTR, node, struct(1, 1, 0, 0, 'user.word', bytes('x'))), 'EEXIST');
    await share.guest.ask(OPCODE.REMOVEXATTR, node, struct('user.word'));
    await fails(share.guest.ask(OPCODE.GETXATTR, node, attribute('user.word')), 'ENODATA');
    const large = Buffer.alloc(3000, 7);
    await share.guest.ask(OPCODE.SETXATTR, node, struct(large.length, 0, 0, 0, 'user.large', large));
    const back = await share.guest.ask(OPCODE.GETXATTR, node, struct(4000, 0, 'user.large'));
    expect(Buffer.from(back).equals(large)).toBe(true);
  });

  test('attributes that mean something to the host’s kernel are not the guest’s to give', async () => {
    const { entry } = await share.guest.create(ROOT, 'a');
    for (const name of ['security.capability', 'trusted.overlay.opaque', 'system.nfs4_acl', 'user.', 'xyz'])
      await fails(share.guest.ask(OPCODE.SETXATTR, entry.node, struct(1, 0, 0, 0, name, bytes('x'))), 'EOPNOTSUPP');
    for (const type of [0o020000, 0o060000])
      await fails(share.guest.ask(OPCODE.MKNOD, ROOT, struct(type | 0o666, 0x103, 0, 0, 'device')), 'EPERM');
  });

  test('renames keep or exchange', async () => {
    writeFileSync(join(folder, 'a'), 'A');
    writeFileSync(join(folder, 'b'), 'B');
    const [a, b] = [await share.guest.lookup(ROOT, 'a'), await share.guest.lookup(ROOT, 'b')];
    await fails(share.guest.ask(OPCODE.RENAME2, ROOT, struct(1n, 1, 0, 'a', 'b')), 'EEXIST');
    await share.guest.ask(OPCODE.RENAME2, ROOT, struct(1n, 2, 0, 'a', 'b'));
    expect([readFileSync(join(folder, 'a'), 'utf8'), readFileSync(join(folder, 'b'), 'utf8')]).toEqual(['B', 'A']);
    expect([await content(a.node), await content(b.node)]).toEqual(['A', 'B']);
    expect((await share.guest.lookup(ROOT, 'b')).node).toBe(a.node);
    await fails(share.guest.ask(OPCODE.RENAME2, ROOT, struct(1n, 4, 0, 'a', 'b')), 'EINVAL');
  });

  test('pipes and sockets can be made', async () => {
    const made = entryOf(await share.guest.ask(OPCODE.MKNOD, ROOT, struct(0o010640, 0, 0, 0, 'pipe')));
    expect(made.mode).toBe(0o010640);
    await share.guest.ask(OPCODE.MKNOD, ROOT, struct(0o140600, 0, 0, 0, 'socket'));
    expect([lstatSync(join(folder, 'pipe')).isFIFO(), lstatSync(join(folder, 'socket')).isSocket()]).toEqual([
      true,
      true,
    ]);
  });

  test('a part of a file is copied on the host', async () => {
    writeFileSync(join(folder, 'a'), 'from a to b');
    const { node } = await share.guest.lookup(ROOT, 'a');
    const from = await share.guest.open(node, 0);
    const { entry, handle } = await share.guest.create(ROOT, 'b');
    const body = struct(BigInt(from), 5n, BigInt(entry.node), BigInt(handle), 2n, 100n, 0n);
    expect([...(await share.guest.ask(OPCODE.COPY_FILE_RANGE, node, body))].slice(0, 4)).toEqual([6, 0, 0, 0]);
    expect(readFileSync(join(folder, 'b'), 'utf8')).toBe('\0\0a to b');
  });

  test('without it the share does what Node can, and says so', async () => {
    const plain = await SharedTree.open(folder);
    expect([plain.timeUnitNs, plain.hasAttributes, plain.hasAccessLists]).toEqual([1000, false, false]);
    const { guest, end } = await mounted({ tree: plain });
    const { entry, handle } = await guest.create(ROOT, 'a');
    await fails(guest.ask(OPCODE.GETXATTR, entry.node, attribute('user.x')), 'ENOSYS');
    await fails(guest.ask(OPCODE.LISTXATTR, entry.node, struct(0, 0)), 'ENOSYS');
    await fails(guest.ask(OPCODE.FALLOCATE, entry.node, struct(BigInt(handle), 0n, 1n, 0, 0)), 'ENOSYS');
    await fails(guest.ask(OPCODE.LSEEK, entry.node, struct(BigInt(handle), 0n, 3, 0)), 'ENOSYS');
    await fails(guest.ask(OPCODE.MKNOD, ROOT, struct(0o010640, 0, 0, 0, 'pipe')), 'EPERM');
    await fails(guest.ask(OPCODE.RENAME2, ROOT, struct(1n, 1, 0, 'a', 'b')), 'ENOSYS');
    const set = struct(0x30, 0, 0n, 0n, 0n, 1_700_000_000n, -2n, 0n, 123_456_789, 250_000_000, 0, 0, 0, 0, 0, 0);
    await guest.ask(OPCODE.SETATTR, entry.node, set);
    const { atimeNs, mtimeNs } = statSync(join(folder, 'a'), { bigint: true });
    expect([atimeNs / 1000n, mtimeNs]).toEqual([1_700_000_000_123_456n, -1_750_000_000n]);
    await end();
    await plain.close();
  });
});

describe('a folder that cannot be shared', () => {
  const errno = async (path: string): Promise<number | undefined> => {
    const error = await SharedTree.open(path).catch((reason: unknown) => reason);
    return error instanceof FileError ? error.errno : undefined;
  };

  test('is not there, or none', async () => {
    expect([await errno(join(base, 'nothing')), await errno(join(outside, 'secret'))]).toEqual([
      ERRNO.ENOENT,
      ERRNO.ENOTDIR,
    ]);
  });

  test('and one whose name is taken by another afterwards is still the one that was shared', async () => {
    writeFileSync(join(folder, 'mine'), '');
    execFileSync('mv', [folder, `${folder}.moved`]);
    symlinkSync(outside, folder);
    await fails(share.guest.lookup(ROOT, 'secret'), 'ENOENT');
    await share.guest.lookup(ROOT, 'mine');
  });
});

test('reading through a tree that is only read leaves the time of access as it was', async () => {
  const path = join(folder, 'old');
  writeFileSync(path, 'text');
  utimesSync(path, 1_000_000_000, 1_000_000_001);
  const reader = await SharedTree.open(folder, { calls, readOnly: true });
  const there = await mounted({ tree: reader, readOnly: true });
  const { node } = await there.guest.lookup(ROOT, 'old');
  const handle = await there.guest.open(node, 0);
  expect(Buffer.from(await there.guest.read(node, handle, 0, 100)).toString()).toBe('text');
  await there.guest.release(node, handle);
  expect(statSync(path).atimeMs).toBe(1e12);
  await there.end();
  await reader.close();
});
