/** Operations on the entries of folders: looking up, making, removing, moving (Linux, include/uapi/linux/fuse.h; path_resolution(7)). */

import { ANSWER_BYTES, OPEN_FLAG } from '../abi.ts';
import { writeEntryOut } from '../attributes.ts';
import type { Call, Connection, NodeCall } from '../connection.ts';
import { ERRNO, FileError } from '../errno.ts';
import type { Creation, FileAttributes, FileNode, OpenFile, OpenMode, RenameMode } from '../file-tree.ts';
import { FILE_TYPE } from '../file-tree.ts';
import { checkedName, checkedTarget, nameOfKey } from '../names.ts';
import type { KnownNode } from '../nodes.ts';
import { EMPTY, onNode } from '../operation.ts';
import type { Operation } from '../operation.ts';
import { StructWriter } from '../wire.ts';

const PERMISSIONS = 0o7777;

export const lookup = onNode({
  answerBytes: ANSWER_BYTES.entry,
  async run(connection, call) {
    const name = checkedName(call.request.text());
    const attributes = await connection.nodes.using(call.node, (folder) => folder.look(name));
    return entry(connection, connection.nodes.seen(call.node, name, attributes), attributes);
  },
});

export const forget: Operation = {
  run(connection, call) {
    forgetOne(connection, call, call.nodeId, call.request.u64());
    return 'none';
  },
};

export const batchForget: Operation = {
  run(connection, call) {
    const count = call.request.u32();
    call.request.skip(4);
    // Reading past the end of what was sent ends it.
    for (let index = 0; index < count; index++) forgetOne(connection, call, call.request.u64(), call.request.u64());
    return 'none';
  },
};

export const readLink = onNode({
  async run({ nodes }, { node, room }) {
    const { place } = node;
    if (place === undefined) throw new FileError('ESTALE');
    const name = nameOfKey(place.key);
    const attributes = await nodes.attributes(node);
    if ((attributes.mode & FILE_TYPE.mask) !== FILE_TYPE.link) throw new FileError('EINVAL');
    const target = await nodes.using(place.folder, (folder) => folder.readLink(name));
    return target.subarray(0, room);
  },
});

export const symbolicLink = onNode({
  changes: true,
  answerBytes: ANSWER_BYTES.entry,
  async run(connection, call) {
    const name = checkedName(call.request.text());
    const target = checkedTarget(call.request.text());
    const attributes = await connection.nodes.using(call.node, (folder) => folder.createLink(name, target, call.owner));
    return entry(connection, connection.nodes.seen(call.node, name, attributes), attributes);
  },
});

export const makeFolder = onNode({
  changes: true,
  answerBytes: ANSWER_BYTES.entry,
  async run(connection, call) {
    const creation = creationOf(call, call.request.u32(), call.request.u32());
    const name = checkedName(call.request.text());
    const attributes = await connection.nodes.using(call.node, (folder) => folder.createFolder(name, creation));
    return entry(connection, connection.nodes.seen(call.node, name, attributes), attributes);
  },
});

export const makeNode = onNode({
  changes: true,
  answerBytes: ANSWER_BYTES.entry,
  async run(connection, call) {
    const mode = call.request.u32();
    call.request.skip(4);
    const creation = creationOf(call, mode, call.request.u32());
    call.request.skip(4);
    const name = checkedName(call.request.text());
    const type = mode & FILE_TYPE.mask;
    if (type !== FILE_TYPE.file && type !== 0) {
      // A device's number means something else on the host, where the file would be a way to another device: nobody gets to make one.
      if (type !== FILE_TYPE.fifo && type !== FILE_TYPE.socket) throw new FileError('EPERM');
      const made = await connection.nodes.using(call.node, (folder) => createSpecial(folder, name, type, creation));
      return entry(connection, connection.nodes.seen(call.node, name, made), made);
    }
    const attributes = await connection.nodes.using(call.node, async (folder) => {
      const file = await folder.createFile(name, creation, READ_ONLY);
      try {
        return await file.attributes();
      } finally {
        await file.close();
      }
    });
    return entry(connection, connection.nodes.seen(call.node, name, attributes), attributes);
  },
});

/** mknod(2) has EPERM for what a file system does not have. */
async function createSpecial(
  folder: FileNode,
  name: Uint8Array,
  type: number,
  creation: Creation,
): Promise<FileAttributes> {
  try {
    return await folder.createSpecial(name, type, creation);
  } catch (error) {
    throw error instanceof FileError && error.errno === ERRNO.ENOSYS ? new FileError('EPERM', error) : error;
  }
}

const READ_ONLY: OpenMode = { access: 'read', append: false, truncate: false, durable: 'no' };

export const create = onNode({
  changes: true,
  answerBytes: ANSWER_BYTES.entry + ANSWER_BYTES.open,
  async run(connection, call) {
    const { nodes, handles } = connection;
    const flags = call.request.u32();
    const creation = creationOf(call, call.request.u32(), call.request.u32());
    call.request.skip(4);
    const name = checkedName(call.request.text());
    handles.checkRoom();
    const mode = connection.openMode(flags);
    const file = await nodes.withRoom(() =>
      createOrOpen(connection, call.node, name, creation, mode, (flags & OPEN_FLAG.EXCL) !== 0),
    );
    try {
      const attributes = await file.attributes();
      const node = nodes.seen(call.node, name, attributes);
      const answer = new StructWriter(ANSWER_BYTES.entry + ANSWER_BYTES.open);
      nodes.told(node);
      writeEntryOut(answer, node.id, connection.told(node, attributes));
      return answer
        .u64(handles.addFile(node, mode, file))
        .u32(0)
        .u32(0).written;
    } catch (error) {
      await file.close();
      throw error;
    }
  },
});

/** The guest took the name for free. Where somebody was faster, his file is opened as any other. */
async function createOrOpen(
  { nodes }: Connection,
  folder: KnownNode,
  name: Uint8Array,
  creation: Creation,
  mode: OpenMode,
  isExclusive: boolean,
): Promise<OpenFile> {
  try {
    return await nodes.using(folder, (host) => host.createFile(name, creation, mode));
  } catch (error) {
    if (isExclusive || !(error instanceof FileError) || error.errno !== ERRNO.EEXIST) throw error;
  }
  const attributes = await nodes.using(folder, (host) => host.look(name));
  // Something that is no file to be opened here: the guest has to look it up.
  if ((attributes.mode & FILE_TYPE.mask) !== FILE_TYPE.file) throw new FileError('ESTALE');
  return nodes.using(nodes.seen(folder, name, attributes), (host) => host.open(mode));
}

export const removeFile = onNode({
  changes: true,
  async run({ nodes }, { node, request }) {
    const name = checkedName(request.text());
    await nodes.keepNameless(nodes.at(node, name));
    await nodes.using(node, (folder) => folder.removeFile(name));
    nodes.unnamed(node, name);
    return EMPTY;
  },
});

export const removeFolder = onNode({
  changes: true,
  async run({ nodes }, { node, request }) {
    const name = checkedName(request.text());
    await nodes.keepNameless(nodes.at(node, name));
    await nodes.using(node, (folder) => folder.removeFolder(name));
    nodes.unnamed(node, name);
    return EMPTY;
  },
});

/** `flags` of renameat2(2). */
const RENAME_MODES: ReadonlyMap<number, RenameMode> = new Map([
  [0, 'replace'],
  [1, 'keep'],
  [2, 'exchange'],
]);

export const rename = onNode({
  changes: true,
  run: (connection, call) => move(connection, call, call.request.u64(), 0),
});

export const rename2 = onNode({
  changes: true,
  async run(connection, call) {
    const toId = call.request.u64();
    const flags = call.request.u32();
    call.request.skip(4);
    return move(connection, call, toId, flags);
  },
});

async function move({ nodes }: Connection, call: NodeCall, toId: number, flags: number): Promise<Uint8Array> {
  const { node: from } = call;
  const to = nodes.get(toId);
  const name = checkedName(call.request.text());
  const toName = checkedName(call.request.text());
  const mode = RENAME_MODES.get(flags);
  if (mode === undefined) throw new FileError('EINVAL');
  nodes.retain(to);
  try {
    if (mode === 'replace') await nodes.keepNameless(nodes.at(to, toName));
    await nodes.using(from, (folder) => nodes.using(to, (toFolder) => folder.rename(name, toFolder, toName, mode)));
    if (mode === 'exchange') nodes.exchanged(from, name, to, toName);
    else nodes.moved(from, name, to, toName);
  } finally {
    nodes.release(to);
  }
  return EMPTY;
}

export const link = onNode({
  changes: true,
  answerBytes: ANSWER_BYTES.entry,
  async run(connection, call) {
    const { nodes } = connection;
    const { node: folder } = call;
    const node = nodes.get(call.request.u64());
    const name = checkedName(call.request.text());
    const { place } = node;
    if (place === undefined || node.isFolder) throw new FileError(node.isFolder ? 'EPERM' : 'ESTALE');
    nodes.retain(node);
    try {
      const before = await nodes.attributes(node);
      const attributes = await nodes.using(place.folder, (from) =>
        nodes.using(folder, (to) => from.link(nameOfKey(place.key), to, name)),
      );
      const linked = nodes.seen(folder, name, attributes);
      if (linked !== node) {
        // Between the two looks the host put another file there; that one must not get a name by the guest's doing.
        if (before.ino !== attributes.ino) await nodes.using(folder, (to) => to.removeFile(name));
        nodes.unnamed(folder, name);
        throw new FileError('ESTALE');
      }
      return entry(connection, node, attributes);
    } finally {
      nodes.release(node);
    }
  },
});

function creationOf(call: Call, mode: number, umask: number): Creation {
  return { mode: mode & PERMISSIONS, umask: umask & PERMISSIONS, owner: call.owner };
}

/** Tells the guest of a node. */
function entry(connection: Connection, node: KnownNode, attributes: FileAttributes): Uint8Array {
  const answer = new StructWriter(ANSWER_BYTES.entry);
  connection.nodes.told(node);
  writeEntryOut(answer, node.id, connection.told(node, attributes));
  return answer.written;
}

function forgetOne({ nodes }: Connection, call: Call, id: number, count: number): void {
  if (!nodes.forget(id, count)) call.complain(`the driver forgot node ${id} more often than it was told of it`);
}
