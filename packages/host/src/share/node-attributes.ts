/** Extended attributes of a file that is held, through SystemCalls. */

import { FileError } from '@ringfence/core';
import { type SystemCalls, terminated } from './system-calls.ts';

/** XATTR_SIZE_MAX and XATTR_LIST_MAX of Linux: no value and no list is longer. */
const LONGEST = 65536;
/** Room that is enough for most. */
const USUAL = 512;
const ERANGE = 34;

const DEFAULT_LIST = terminated('system.posix_acl_default');

export function getAttribute(calls: SystemCalls, path: string, name: Uint8Array): Promise<Uint8Array> {
  return withRoom(async (room) => {
    const words = [terminated(path), terminated(name), room, BigInt(room.length)];
    const { value, filled } = await calls.call('getxattr', words, 2);
    return filled.subarray(0, value);
  });
}

export function listAttributes(calls: SystemCalls, path: string): Promise<Uint8Array> {
  return withRoom(async (room) => {
    const { value, filled } = await calls.call('listxattr', [terminated(path), room, BigInt(room.length)], 1);
    return filled.subarray(0, value);
  });
}

export async function setAttribute(
  calls: SystemCalls,
  path: string,
  name: Uint8Array,
  value: Uint8Array,
  flags: number,
): Promise<void> {
  await calls.call('setxattr', [terminated(path), terminated(name), Buffer.from(value), BigInt(value.length), flags]);
}

export async function removeAttribute(calls: SystemCalls, path: string, name: Uint8Array): Promise<void> {
  await calls.call('removexattr', [terminated(path), terminated(name)]);
}

/** Whether new entries of the folder get their permissions from a list of it and not from a umask (acl(5)). */
export async function hasDefaultList(calls: SystemCalls, path: string): Promise<boolean> {
  try {
    return (await calls.call('getxattr', [terminated(path), DEFAULT_LIST, Buffer.alloc(1), 0n])).value > 0;
  } catch (error) {
    if (error instanceof FileError) return false;
    throw error;
  }
}

async function withRoom(ask: (room: Uint8Array) => Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await ask(new Uint8Array(USUAL));
  } catch (error) {
    if (!(error instanceof FileError) || error.errno !== ERANGE) throw error;
    return ask(new Uint8Array(LONGEST));
  }
}
