/**
 * An attribute that Ringfence keeps beside a file of its own user. Attributes of the name space `user.` go by the file's mode, as its
 * data does (xattr(7)): the owner of a file of mode 0444 cannot set one, and of mode 0200 not read one. The owner may change the mode,
 * so the file lets its owner read and write for as long as that takes. Group and others, and with them the mask of a list, stay as they are.
 */

import { chmod, stat } from 'node:fs/promises';
import process from 'node:process';
import { ERRNO, FileError, SET_GROUP_ID } from '@ringfence/core';
import { fileError } from './file-error.ts';
import { getAttribute, removeAttribute, setAttribute } from './node-attributes.ts';
import type { SharedTree } from './shared-tree.ts';

const PERMISSIONS = 0o7777;
const OWNER_READS_AND_WRITES = 0o600;

/** What says that there is no such attribute, or that it is nothing of ours: a file of another user, a file system that takes no changes. */
const NONE: ReadonlySet<number> = new Set([ERRNO.ENODATA, ERRNO.EOPNOTSUPP, ERRNO.EPERM, ERRNO.EACCES, ERRNO.EROFS]);

/** Its value; undefined where there is none, and where our user could not have set one. */
export async function readOwn(tree: SharedTree, path: string, name: string): Promise<Uint8Array | undefined> {
  try {
    return await permitted(tree, path, () => getAttribute(tree.systemCalls, path, Buffer.from(name)));
  } catch (error) {
    const failure = fileError(error);
    if (failure instanceof FileError && NONE.has(failure.errno)) return undefined;
    throw error;
  }
}

/** Sets it, or removes it with undefined; EPERM for a file of another user. */
export async function writeOwn(
  tree: SharedTree,
  path: string,
  name: string,
  value: Uint8Array | undefined,
): Promise<void> {
  const { systemCalls } = tree;
  if (value !== undefined)
    await permitted(tree, path, () => setAttribute(systemCalls, path, Buffer.from(name), value, 0));
  else if ((await readOwn(tree, path, name)) !== undefined)
    await permitted(tree, path, () => removeAttribute(systemCalls, path, Buffer.from(name)));
}

async function permitted<Result>(tree: SharedTree, path: string, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof FileError) || error.errno !== ERRNO.EACCES) throw error;
  }
  return tree.changeMode(async () => {
    const found = await stat(path);
    const mode = found.mode & PERMISSIONS;
    // Linux would take set-group-ID for a group that is not ours away with the change (chmod(2)), and not give it back.
    const losesGroupId = (mode & SET_GROUP_ID) !== 0 && !isOurGroup(found.gid);
    if (tree.readOnly || found.uid !== tree.uid || losesGroupId) throw new FileError('EPERM');
    const wider = mode | OWNER_READS_AND_WRITES;
    await chmod(path, wider);
    try {
      return await act();
    } finally {
      // Unless somebody on the host wanted another mode meanwhile.
      if (((await stat(path)).mode & PERMISSIONS) === wider) await chmod(path, mode);
    }
  });
}

function isOurGroup(gid: number): boolean {
  return gid === process.getegid?.() || process.getgroups?.().includes(gid) === true;
}
