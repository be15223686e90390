import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { ERRNO, FileError, type FileNode } from '@ringfence/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readList, writeList, type AccessEntry } from './guest-access-lists.ts';
import { getAttribute, setAttribute } from './node-attributes.ts';
import { SharedTree } from './shared-tree.ts';
import { SystemCalls } from './system-calls.ts';
import { ACCESS, BOTH, DEFAULT, group, mask, others, owner, user } from './testing/access-entries.ts';

/** Stands for whoever runs Ringfence and is not root, whom Linux would let do everything. */
const USER = 12_345;
const rest = (permissions: number): AccessEntry[] => [group(0), mask(permissions), others(0)];
const KEPT = 'user.ringfence.posix_acl_access';
const isRoot = process.geteuid?.() === 0;

let calls: SystemCalls;
let folder = '';
let tree: SharedTree;
let root: FileNode;

beforeAll(async () => {
  calls = (await SystemCalls.start())!;
});
afterAll(() => calls.close());
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-own-'));
  if (isRoot) {
    chownSync(folder, USER, USER);
    process.setegid?.(USER);
    process.seteuid?.(USER);
  }
  tree = await SharedTree.open(folder, { calls });
  root = await tree.root();
});
afterEach(async () => {
  await root.close();
  await tree.close();
  if (isRoot) {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
  rmSync(folder, { recursive: true });
});

const mode = (...names: string[]): number => statSync(join(folder, ...names)).mode & 0o7777;
async function on<Result>(name: string, act: (node: FileNode) => Promise<Result>, parent = root): Promise<Result> {
  const node = await parent.hold(Buffer.from(name));
  try {
    return await act(node);
  } finally {
    await node.close();
  }
}
const setIn = (node: FileNode, list: string, entries: readonly AccessEntry[]): Promise<void> =>
  node.setAttribute(Buffer.from(list), writeList(entries), 0);
const getIn = async (node: FileNode, list = ACCESS): Promise<AccessEntry[]> =>
  readList(await node.getAttribute(Buffer.from(list)));

test.each(['000', '200', '444'])(
  'a file of mode %s can be given a list, which can be read, changed and removed',
  async (octal) => {
    const bits = Number.parseInt(octal, 8);
    writeFileSync(join(folder, 'file'), '');
    chmodSync(join(folder, 'file'), bits);
    const list = [owner(bits >> 6), user(5, 4), ...rest(4)];
    await on('file', async (node) => {
      await setIn(node, ACCESS, list);
      expect(mode('file')).toBe((bits & 0o700) | 0o040);
      expect(await getIn(node)).toEqual(list);
      await setIn(node, ACCESS, [owner(bits >> 6), user(6, 0), ...rest(0)]);
      expect((await getIn(node))[1]).toEqual(user(6, 0));
      expect(mode('file')).toBe(bits & 0o700);
      await node.removeAttribute(Buffer.from(ACCESS));
      await expect(getIn(node)).rejects.toMatchObject({ errno: ERRNO.ENODATA });
      expect(mode('file')).toBe(bits & 0o700);
    });
    chmodSync(join(folder, 'file'), 0o600);
    await expect(getAttribute(calls, join(folder, 'file'), Buffer.from(KEPT))).rejects.toMatchObject({
      errno: ERRNO.ENODATA,
    });
  },
);

test('modes that others want meanwhile are what a file has in the end', async () => {
  writeFileSync(join(folder, 'file'), '');
  await on('file', async (node) => {
    await setIn(node, ACCESS, [owner(0), user(5, 4), ...rest(4)]);
    const looks = Array.from({ length: 20 }, () => getIn(node));
    await Promise.all([...looks, node.change({ mode: 0o240 })]);
    for (const look of looks) expect((await look)[1]).toEqual(user(5, 4));
  });
  expect(mode('file')).toBe(0o240);
});

describe('in a folder whose list names users of the guest', () => {
  const wanted = [owner(7), user(1000, 7), ...rest(7)];
  const creation = { mode: 0o444, umask: 0o022, owner: { uid: 0, gid: 0 } };
  beforeEach(async () => {
    mkdirSync(join(folder, 'sub'));
    await on('sub', (sub) => setIn(sub, DEFAULT, wanted));
  });

  test('files and folders that nobody may write to can be made, and inherit it', async () => {
    await on('sub', async (sub) => {
      const file = await sub.createFile(Buffer.from('file'), creation, BOTH);
      await file.write(0, [Buffer.from('object')]);
      await file.close();
      await sub.createFolder(Buffer.from('folder'), { ...creation, mode: 0o555 });
      expect(await on('file', getIn, sub)).toEqual([owner(4), user(1000, 7), group(0), mask(4), others(0)]);
      expect((await on('folder', getIn, sub))[1]).toEqual(user(1000, 7));
      expect(await on('folder', (node) => getIn(node, DEFAULT), sub)).toEqual(wanted);
    });
    expect([mode('sub', 'file'), mode('sub', 'folder')]).toEqual([0o440, 0o550]);
  });

  test('that can be written to and not read, files can be made, too', async () => {
    chmodSync(join(folder, 'sub'), 0o300);
    await on('sub', async (sub) => {
      await (await sub.createFile(Buffer.from('file'), creation, BOTH)).close();
      expect((await on('file', getIn, sub))[1]).toEqual(user(1000, 7));
    });
    expect(mode('sub')).toBe(0o300);
  });

  test('nothing is left of what cannot be given its list', async () => {
    const call = calls.call.bind(calls);
    calls.call = (name, words, filled) =>
      name === 'setxattr' ? Promise.reject(new FileError('ENOSPC')) : call(name, words, filled);
    try {
      await on('sub', async (sub) => {
        await expect(sub.createFile(Buffer.from('file'), creation, BOTH)).rejects.toMatchObject({
          errno: ERRNO.ENOSPC,
        });
        await expect(sub.createFolder(Buffer.from('folder'), creation)).rejects.toMatchObject({ errno: ERRNO.ENOSPC });
      });
    } finally {
      calls.call = call;
    }
    expect(readdirSync(join(folder, 'sub'))).toEqual([]);
  });
});

test.skipIf(!isRoot)('in a folder of another user that can be written to and not read, files can be made', async () => {
  process.seteuid?.(0);
  mkdirSync(join(folder, 'box'));
  await setAttribute(calls, join(folder, 'box'), Buffer.from(DEFAULT), writeList([owner(7), ...rest(7)]), 0);
  chmodSync(join(folder, 'box'), 0o733);
  process.seteuid?.(USER);
  await on('box', async (box) => {
    await (
      await box.createFile(Buffer.from('file'), { mode: 0o644, umask: 0, owner: { uid: 0, gid: 0 } }, BOTH)
    ).close();
    // Its list is its owner's to change.
    await expect(setIn(box, ACCESS, [owner(7), user(5, 7), ...rest(7)])).rejects.toMatchObject({ errno: ERRNO.EPERM });
  });
  expect(existsSync(join(folder, 'box', 'file'))).toBe(true);
});

test('what somebody on the host wrote into the attribute counts for nothing but named entries, and goes with the next list', async () => {
  writeFileSync(join(folder, 'file'), '');
  const list = [owner(6), ...rest(4)];
  await on('file', async (node) => {
    await setIn(node, ACCESS, list);
    for (const value of [Buffer.from('nonsense'), writeList([owner(7), mask(7)])]) {
      await setAttribute(calls, join(folder, 'file'), Buffer.from(KEPT), value, 0);
      expect(await getIn(node)).toEqual(list);
      await setIn(node, ACCESS, list);
      await expect(getAttribute(calls, join(folder, 'file'), Buffer.from(KEPT))).rejects.toMatchObject({
        errno: ERRNO.ENODATA,
      });
    }
  });
});
