/**
 * Extended attributes (xattr(7); Linux, include/uapi/linux/fuse.h), and with them access control lists (acl(5)).
 *
 * A guest gets those of programs (`user.`) and, where the tree has them, access control lists. It gets neither `security.` nor `trusted.`:
 * a capability that a guest puts on a file would be one on the host.
 */

import { ANSWER_BYTES, INIT_FLAG, SETXATTR_ACL_KILL_SGID } from '../abi.ts';
import type { Connection, NodeCall } from '../connection.ts';
import { FileError } from '../errno.ts';
import { SET_GROUP_ID } from '../file-tree.ts';
import { nameKey, nameOfKey } from '../names.ts';
import { EMPTY, onNode } from '../operation.ts';
import { StructWriter } from '../wire.ts';

/** XATTR_NAME_MAX and XATTR_SIZE_MAX of Linux (include/uapi/linux/limits.h). */
const NAME_BYTES = 255;
const VALUE_BYTES = 65536;

const USER = 'user.';
const ACCESS_LISTS: ReadonlySet<string> = new Set(['system.posix_acl_access', 'system.posix_acl_default']);

export const getAttribute = onNode({
  async run(connection, call) {
    const size = call.request.u32();
    call.request.skip(4);
    const name = checkedName(connection, call.request.text());
    const value = await connection.nodes.using(call.node, (file) => file.getAttribute(name));
    return sized(value, size, call);
  },
});

export const setAttribute = onNode({
  changes: true,
  async run(connection, { node, request }) {
    const size = request.u32();
    const flags = request.u32();
    let extra = 0;
    if (connection.negotiated.has(INIT_FLAG.SETXATTR_EXT)) {
      extra = request.u32();
      request.skip(4);
    }
    const name = checkedName(connection, request.text());
    if (size > VALUE_BYTES) throw new FileError('E2BIG');
    const value = request.bytes(size);
    await connection.nodes.using(node, async (file) => {
      await file.setAttribute(name, value, flags);
      if ((extra & SETXATTR_ACL_KILL_SGID) === 0) return;
      const { mode } = await file.attributes();
      if ((mode & SET_GROUP_ID) !== 0) await file.change({ mode: mode & 0o7777 & ~SET_GROUP_ID });
    });
    return EMPTY;
  },
});

export const listAttributes = onNode({
  async run(connection, call) {
    if (!connection.options.tree.hasAttributes) throw new FileError('ENOSYS');
    const size = call.request.u32();
    const all = await connection.nodes.using(call.node, (file) => file.listAttributes());
    const names = nameKey(all)
      .split('\0')
      .filter((name) => isAllowed(connection, name));
    return sized(nameOfKey(names.map((name) => `${name}\0`).join('')), size, call);
  },
});

export const removeAttribute = onNode({
  changes: true,
  async run(connection, { node, request }) {
    const name = checkedName(connection, request.text());
    await connection.nodes.using(node, (file) => file.removeAttribute(name));
    return EMPTY;
  },
});

/** The value itself, or with a size of 0 how long it is. */
function sized(value: Uint8Array, size: number, { room }: NodeCall): Uint8Array {
  if (size === 0) {
    if (room < ANSWER_BYTES.getxattr) throw new FileError('EINVAL');
    return new StructWriter(ANSWER_BYTES.getxattr).u32(value.length).u32(0).written;
  }
  if (value.length > size || value.length > room) throw new FileError('ERANGE');
  return value;
}

function checkedName(connection: Connection, name: Uint8Array): Uint8Array {
  // Never ask again.
  if (!connection.options.tree.hasAttributes) throw new FileError('ENOSYS');
  if (name.length > NAME_BYTES) throw new FileError('ERANGE');
  if (!isAllowed(connection, nameKey(name))) throw new FileError('EOPNOTSUPP');
  return name;
}

function isAllowed({ options }: Connection, name: string): boolean {
  return (
    (name.startsWith(USER) && name.length > USER.length) || (options.tree.hasAccessLists && ACCESS_LISTS.has(name))
  );
}
