import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { ERRNO, FileError, type FileNode } from '@ringfence/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hostList, readList, writeList, type AccessEntry } from './guest-access-lists.ts';
import { getAttribute, setAttribute } from './node-attributes.ts';
import { squashed } from './owners.ts';
import { SharedTree } from './shared-tree.ts';
import { SystemCalls } from './system-calls.ts';
import { ACCESS, BOTH, DEFAULT, group, mask, others, owner, user } from './testing/access-entries.ts';

let calls: SystemCalls;
let folder = '';
let tree: SharedTree;
let root: FileNode;

beforeAll(async () => {
  calls = (await SystemCalls.start())!;
});
afterAll(() => calls.close());
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-lists-'));
  writeFileSync(join(folder, 'file'), '', { mode: 0o600 });
  const own = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  tree = await SharedTree.open(folder, { calls, owners: squashed(own) });
  root = await tree.root();
});
afterEach(async () => {
  await root.close();
  await tree.close();
  rmSync(folder, { recursive: true });
});

const mode = (name: string): number => statSync(join(folder, name)).mode & 0o777;
const hosts = async (name: string, list = ACCESS): Promise<AccessEntry[]> =>
  readList(await getAttribute(calls, join(folder, name), Buffer.from(list)));
async function on<Result>(name: string, act: (node: FileNode) => Promise<Result>): Promise<Result> {
  const node = await root.hold(Buffer.from(name));
  try {
    return await act(node);
  } finally {
    await node.close();
  }
}
const set = (name: string, list: string, ...entries: AccessEntry[]): Promise<void> =>
  on(name, (node) => node.setAttribute(Buffer.from(list), writeList(entries), 0));
const get = (name: string, list = ACCESS): Promise<AccessEntry[]> =>
  on(name, async (node) => readList(await node.getAttribute(Buffer.from(list))));

describe('a list that names users of the guest', () => {
  const list = [owner(6), user(1000, 6), user(1001, 0), group(0), mask(6), others(0)];

  test('comes back as it was, and names nobody on the host', async () => {
    await set('file', ACCESS, ...list);
    expect(await get('file')).toEqual(list);
    expect(await hosts('file')).toEqual([owner(6), group(0), mask(6), others(0)]);
    // The group of the host has what its entry says, not what the mode seems to.
    expect(mode('file')).toBe(0o660);
  });

  test('follows the mode, as the mode follows it', async () => {
    await set('file', ACCESS, ...list);
    await on('file', (node) => node.change({ mode: 0o740 }));
    expect(await get('file')).toEqual([owner(7), user(1000, 6), user(1001, 0), group(0), mask(4), others(0)]);
  });

  test('goes, and the mode stays', async () => {
    await set('file', ACCESS, ...list);
    await on('file', (node) => node.removeAttribute(Buffer.from(ACCESS)));
    await expect(get('file')).rejects.toMatchObject({ errno: ERRNO.ENODATA });
    await set('file', ACCESS, owner(6), group(4), others(4));
    await expect(get('file')).rejects.toMatchObject({ errno: ERRNO.ENODATA });
    expect(mode('file')).toBe(0o644);
    expect(await on('file', (node) => node.listAttributes())).toHaveLength(0);
  });

  test('stays whole where the host does not remove it', async () => {
    await set('file', ACCESS, ...list);
    const call = calls.call.bind(calls);
    calls.call = (name, words, filled) => {
      const isHosts = name === 'removexattr' && Buffer.from(words[1] as Uint8Array).includes(ACCESS);
      return isHosts ? Promise.reject(new FileError('EIO')) : call(name, words, filled);
    };
    try {
      const removal = on('file', (node) => node.removeAttribute(Buffer.from(ACCESS)));
      await expect(removal).rejects.toMatchObject({ errno: ERRNO.EIO });
    } finally {
      calls.call = call;
    }
    expect(await get('file')).toEqual(list);
  });

  test('is what new entries of a folder begin with', async () => {
    mkdirSync(join(folder, 'sub'));
    const wanted = [owner(7), user(1000, 7), group(0), mask(7), others(0)];
    await set('sub', DEFAULT, ...wanted);
    const creation = { mode: 0o640, umask: 0o077, owner: { uid: 1000, gid: 1000 } };
    await on('sub', async (sub) => {
      await (await sub.createFile(Buffer.from('made'), creation, BOTH)).close();
      await sub.createFolder(Buffer.from('below'), { ...creation, mode: 0o755 });
      await sub.createSpecial(Buffer.from('pipe'), 0o010000, creation);
    });
    expect(await get('sub', DEFAULT)).toEqual(wanted);
    expect(await on('sub', (sub) => inside(sub, 'made', ACCESS))).toEqual([
      owner(6),
      user(1000, 7),
      group(0),
      mask(4),
      others(0),
    ]);
    expect(await on('sub', (sub) => inside(sub, 'below', DEFAULT))).toEqual(wanted);
    expect((await on('sub', (sub) => inside(sub, 'below', ACCESS)))[1]).toEqual(user(1000, 7));
  });

  test('cannot be got at by the name that it has on the host', async () => {
    await set('file', ACCESS, ...list);
    const name = Buffer.from('user.ringfence.posix_acl_access');
    expect(await getAttribute(calls, join(folder, 'file'), name)).toHaveLength(20);
    await on('file', async (node) => {
      expect(Buffer.from(await node.listAttributes()).toString()).toBe(`${ACCESS}\0`);
      await expect(node.getAttribute(name)).rejects.toMatchObject({ errno: ERRNO.EOPNOTSUPP });
      await expect(node.setAttribute(name, writeList([user(7, 7)]), 0)).rejects.toMatchObject({
        errno: ERRNO.EOPNOTSUPP,
      });
      await expect(node.removeAttribute(name)).rejects.toMatchObject({ errno: ERRNO.EOPNOTSUPP });
    });
  });

  test('is refused where it is none, and what was there stays', async () => {
    await set('file', ACCESS, ...list);
    const wrong = [Buffer.of(2, 0, 0), Buffer.of(1, 0, 0, 0), writeList([{ tag: 3, permissions: 7, id: 0 }])];
    for (const value of [...wrong, writeList([user(5, 7)])])
      await on('file', (node) =>
        expect(node.setAttribute(Buffer.from(ACCESS), value, 0)).rejects.toMatchObject({ errno: ERRNO.EINVAL }),
      );
    expect(await get('file')).toEqual(list);
  });
});

test('users of the host whom a list of the host names are not the guest’s to see or to lose', async () => {
  const host = [owner(6), user(4321, 4), group(0), mask(4), others(0)];
  await setAttribute(calls, join(folder, 'file'), Buffer.from(ACCESS), writeList(host), 0);
  expect(await get('file')).toEqual([owner(6), group(0), mask(4), others(0)]);
  await set('file', ACCESS, owner(7), user(1000, 7), group(5), mask(7), others(0));
  expect(await hosts('file')).toEqual([owner(7), user(4321, 4), group(5), mask(7), others(0)]);
  await set('file', ACCESS, owner(7), group(5), others(0));
  expect(await hosts('file')).toEqual([owner(7), user(4321, 4), group(5), mask(5), others(0)]);
  await on('file', (node) => node.removeAttribute(Buffer.from(ACCESS)));
  expect(await hosts('file')).toHaveLength(5);
});

test('a list for the host has a mask when it names somebody, and only then', () => {
  expect(hostList([owner(7), group(5), others(0)], [])).toEqual([owner(7), group(5), others(0)]);
  expect(hostList([owner(7), user(1, 1), group(5), mask(1), others(0)], [])).toEqual([
    owner(7),
    group(5),
    mask(1),
    others(0),
  ]);
  expect(hostList([owner(7), group(5), others(0)], [user(9, 4)])).toContainEqual(mask(5));
});

async function inside(parent: FileNode, name: string, list: string): Promise<AccessEntry[]> {
  const node = await parent.hold(Buffer.from(name));
  try {
    return readList(await node.getAttribute(Buffer.from(list)));
  } finally {
    await node.close();
  }
}
