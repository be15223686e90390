/** Opens the folders that a machine is given, all or none. */

import { ERRNO, type MachineShare } from '@ringfence/core';
import { HostError } from '../failure.ts';
import type { ShareWords } from './share-words.ts';
import { SharedTree } from './shared-tree.ts';
import { SystemCalls } from './system-calls.ts';

export interface OpenShares {
  readonly shares: readonly MachineShare[];
  close(): Promise<void>;
}

export async function openShares(
  words: readonly ShareWords[],
  tagOf: (share: ShareWords, index: number) => string,
): Promise<OpenShares> {
  const trees: SharedTree[] = [];
  // One thread for all of them.
  const calls = words.length === 0 ? undefined : await SystemCalls.start();
  const close = async (): Promise<void> => {
    await Promise.all(trees.map((tree) => tree.close()));
    await calls?.close();
  };
  try {
    for (const { host, readOnly } of words) trees.push(await opened(host, calls, readOnly));
  } catch (error) {
    await close();
    throw error;
  }
  const shares = trees.flatMap((tree, index) => {
    const share = words[index];
    return share === undefined ? [] : [{ tag: tagOf(share, index), tree, readOnly: share.readOnly }];
  });
  return { shares, close };
}

async function opened(host: string, calls: SystemCalls | undefined, readOnly: boolean): Promise<SharedTree> {
  try {
    return await SharedTree.open(host, { calls, readOnly });
  } catch (error) {
    throw new HostError('unavailable', `the folder "${host}" cannot be shared: ${reasonOf(error)}`, error);
  }
}

function reasonOf(error: unknown): string {
  const errno = error instanceof Error && 'errno' in error ? error.errno : undefined;
  switch (errno) {
    case ERRNO.ENOENT:
      return 'there is no such folder';
    case ERRNO.ENOTDIR:
      return 'it is not a folder';
    case ERRNO.EACCES:
    case ERRNO.EPERM:
      return 'permission denied';
    case ERRNO.ENOSYS:
      return 'this needs Linux with /proc mounted';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
