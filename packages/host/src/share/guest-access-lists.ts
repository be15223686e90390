/**
 * Access control lists (acl(5)) of a guest whose users the host does not know: Ringfence is not root, so a list of the host cannot name
 * them. A list is kept in two parts that make one for the guest.
 *
 *     the host's own list      owner, group, mask, others, and whom of the host's users it names already: in force on the host
 *     a `user.` attribute      the entries that name users and groups of the guest
 *
 * So whatever the host does with modes and lists (chmod(2) changes the mask, a new file inherits) is right for the first part, and nobody
 * on the host gets what a guest gives to users of its own: the bits of the mode for the group are the mask on the host, too. Without the
 * first part the second means nothing. The guest's kernel decides by both, and cannot reach the attribute under its own name.
 */

import { ERRNO, FileError } from '@ringfence/core';
import { getAttribute, removeAttribute, setAttribute } from './node-attributes.ts';
import { readOwn, writeOwn } from './own-attribute.ts';
import type { SharedTree } from './shared-tree.ts';

/** Names of attributes that are Ringfence's own on the host's files. */
const RESERVED = 'user.ringfence.';

type Kind = 'access' | 'default';
const LIST = { access: 'system.posix_acl_access', default: 'system.posix_acl_default' } as const;
const NAMED = { access: `${RESERVED}posix_acl_access`, default: `${RESERVED}posix_acl_default` } as const;

/** Linux, include/uapi/linux/posix_acl_xattr.h and posix_acl.h. */
const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;
const TAG = { owner: 0x01, user: 0x02, owningGroup: 0x04, group: 0x08, mask: 0x10, others: 0x20 } as const;
const TAGS: ReadonlySet<number> = new Set(Object.values(TAG));
/** Every list has these. */
const NEEDED = [TAG.owner, TAG.owningGroup, TAG.others];
const NO_ID = 0xffffffff;
const ALL = 7;

export interface AccessEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

const isNamed = ({ tag }: AccessEntry): boolean => tag === TAG.user || tag === TAG.group;

/** The entries of an attribute's value; EINVAL where it is none. */
export function readList(value: Uint8Array): AccessEntry[] {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if ((value.length - HEADER_BYTES) % ENTRY_BYTES !== 0 || value.length < HEADER_BYTES) throw new FileError('EINVAL');
  if (view.getUint32(0, true) !== VERSION) throw new FileError('EINVAL');
  const entries: AccessEntry[] = [];
  for (let at = HEADER_BYTES; at < value.length; at += ENTRY_BYTES) {
    const tag = view.getUint16(at, true);
    const permissions = view.getUint16(at + 2, true);
    if (!TAGS.has(tag) || permissions > ALL) throw new FileError('EINVAL');
    entries.push({ tag, permissions, id: view.getUint32(at + 4, true) });
  }
  return entries;
}

/** The value, its entries in the order that Linux wants. */
export function writeList(entries: readonly AccessEntry[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES + entries.length * ENTRY_BYTES));
  view.setUint32(0, VERSION, true);
  for (const [index, { tag, permissions, id }] of entries.toSorted((a, b) => a.tag - b.tag || a.id - b.id).entries()) {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, permissions, true);
    view.setUint32(at + 4, id, true);
  }
  return new Uint8Array(view.buffer);
}

/**
 * What the host's list is to be for one that a guest wants: whom of its own users it names stays, and a list that names somebody has to
 * have a mask, which then allows the group what the guest's list does.
 */
export function hostList(wanted: readonly AccessEntry[], present: readonly AccessEntry[]): AccessEntry[] {
  const unnamed = wanted.filter((entry) => !isNamed(entry));
  const kept = present.filter(isNamed);
  const group = unnamed.find(({ tag }) => tag === TAG.owningGroup);
  if (kept.length === 0 || group === undefined || unnamed.some(({ tag }) => tag === TAG.mask))
    return [...unnamed, ...kept];
  return [...unnamed, ...kept, { tag: TAG.mask, permissions: group.permissions, id: NO_ID }];
}

export function isReserved(name: Uint8Array): boolean {
  return Buffer.from(name.subarray(0, RESERVED.length)).toString('latin1') === RESERVED;
}

/** Names of attributes, each with a NUL behind it, without the reserved ones. */
export function withoutReserved(names: Uint8Array): Uint8Array {
  const all = Buffer.from(names).toString('latin1');
  if (!all.includes(RESERVED)) return names;
  const ends = all.split('\0').slice(0, -1);
  const left = ends.filter((name) => !name.startsWith(RESERVED));
  return Buffer.from(left.map((name) => `${name}\0`).join(''), 'latin1');
}

/** Which list the attribute is, if it is one. */
export function listKind(name: Uint8Array): Kind | undefined {
  const text = Buffer.from(name).toString('latin1');
  if (text === LIST.access) return 'access';
  return text === LIST.default ? 'default' : undefined;
}

/** The list as the guest has it; ENODATA where there is none. */
export async function getList(tree: SharedTree, path: string, kind: Kind): Promise<Uint8Array> {
  const host = readList(await getAttribute(tree.systemCalls, path, Buffer.from(LIST[kind])));
  return writeList([...host.filter((entry) => !isNamed(entry)), ...namedIn(await readOwn(tree, path, NAMED[kind]))]);
}

export async function setList(tree: SharedTree, path: string, kind: Kind, value: Uint8Array): Promise<void> {
  const wanted = readList(value);
  // The host would take a list without entries for a wish to have none.
  if (!NEEDED.every((tag) => wanted.some((entry) => entry.tag === tag))) throw new FileError('EINVAL');
  const before = await readOwn(tree, path, NAMED[kind]);
  const host = writeList(hostList(wanted, await hostEntries(tree, path, kind)));
  const named = wanted.filter(isNamed);
  await writeOwn(tree, path, NAMED[kind], named.length > 0 ? writeList(named) : undefined);
  try {
    await tree.changeMode(() => setAttribute(tree.systemCalls, path, Buffer.from(LIST[kind]), host, 0));
  } catch (error) {
    // The other user of the host whose file it is, a file system without lists.
    await writeOwn(tree, path, NAMED[kind], before);
    throw error;
  }
}

export async function removeList(tree: SharedTree, path: string, kind: Kind): Promise<void> {
  const host = await hostEntries(tree, path, kind);
  // First the list of the host: without it the attribute means nothing, and it without the attribute something else.
  if (!host.some(isNamed)) await removeAttribute(tree.systemCalls, path, Buffer.from(LIST[kind]));
  await writeOwn(tree, path, NAMED[kind], undefined);
}

/** Whom of the guest's users the folder's list for new entries names. */
export async function namedForNew(tree: SharedTree, folder: string): Promise<readonly AccessEntry[]> {
  return namedIn(await readOwn(tree, folder, NAMED.default));
}

/** Gives a new entry of a folder what the host did not: the entries that `namedForNew` found there. */
export async function inheritNamed(
  tree: SharedTree,
  path: string,
  named: readonly AccessEntry[],
  isFolder: boolean,
): Promise<void> {
  if (named.length === 0) return;
  const value = writeList(named);
  await writeOwn(tree, path, NAMED.access, value);
  if (isFolder) await writeOwn(tree, path, NAMED.default, value);
}

/** The named entries that the attribute says; none where somebody on the host wrote something else into it. */
function namedIn(value: Uint8Array | undefined): AccessEntry[] {
  if (value === undefined) return [];
  try {
    return readList(value).filter(isNamed);
  } catch (error) {
    if (error instanceof FileError) return [];
    throw error;
  }
}

/** None where the host has no such list, or nothing of the kind. */
async function hostEntries(tree: SharedTree, path: string, kind: Kind): Promise<AccessEntry[]> {
  let value: Uint8Array;
  try {
    value = await getAttribute(tree.systemCalls, path, Buffer.from(LIST[kind]));
  } catch (error) {
    if (error instanceof FileError && (error.errno === ERRNO.ENODATA || error.errno === ERRNO.EOPNOTSUPP)) return [];
    throw error;
  }
  return readList(value);
}
