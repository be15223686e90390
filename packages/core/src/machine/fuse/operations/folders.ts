/** Operations on open folders: struct fuse_dirent, and with attributes struct fuse_direntplus (Linux, include/uapi/linux/fuse.h). */

import { alignUp } from '../../../base/numbers.ts';
import { ANSWER_BYTES, DIRENT_BYTES } from '../abi.ts';
import { writeEntryOut } from '../attributes.ts';
import type { Answer } from '../operation.ts';
import { EMPTY, onNode } from '../operation.ts';
import type { Connection, NodeCall } from '../connection.ts';
import { ERRNO, FileError } from '../errno.ts';
import type { FileAttributes, ListedName } from '../file-tree.ts';
import { FILE_TYPE } from '../file-tree.ts';
import { MAXIMUM_TRANSFER_BYTES } from '../negotiation.ts';
import type { KnownNode } from '../nodes.ts';
import { StructWriter } from '../wire.ts';

/** An inode number that says nothing (FUSE_UNKNOWN_INO of libfuse). */
const UNKNOWN_INODE = 0xffff_ffffn;
/** Entries that are looked at together. */
const BATCH = 64;
const ALIGNMENT = 8;
const DOT = 0x2e;

export const openFolder = onNode({
  answerBytes: ANSWER_BYTES.open,
  async run({ handles }, { node }) {
    handles.checkRoom();
    if (!node.isFolder) throw new FileError('ENOTDIR');
    return new StructWriter(ANSWER_BYTES.open)
      .u64(await handles.openFolder(node))
      .u32(0)
      .u32(0).written;
  },
});

export const readFolder = onNode({ run: (connection, call) => list(connection, call, false) });

export const readFolderPlus = onNode({ run: (connection, call) => list(connection, call, true) });

export const releaseFolder = onNode({
  async run({ handles }, { node, request }) {
    await handles.close(request.u64(), node, 'folder');
    return EMPTY;
  },
});

export const synchronizeFolder = onNode({
  async run({ nodes, handles }, { node, request }) {
    handles.folder(request.u64(), node);
    await nodes.using(node, (folder) => folder.sync());
    return EMPTY;
  },
});

/** sync(2) and syncfs(2) of the guest. */
export const synchronizeAll = onNode({
  async run({ nodes }, { node }) {
    await nodes.using(node, (folder) => folder.syncAll());
    return EMPTY;
  },
});

interface LookedAt extends ListedName {
  /** The offset behind it. */
  readonly next: number;
  readonly attributes: FileAttributes | undefined;
  readonly identity: Pick<FileAttributes, 'device' | 'ino'> | undefined;
}

async function list(
  connection: Connection,
  { node, request, room }: NodeCall,
  withAttributes: boolean,
): Promise<Answer> {
  const listing = connection.handles.folder(request.u64(), node);
  const offset = request.u64();
  const answer = new StructWriter(Math.min(request.u32(), room, MAXIMUM_TRANSFER_BYTES));
  const fixed = (withAttributes ? ANSWER_BYTES.entry : 0) + DIRENT_BYTES;
  for (let at = offset; ;) {
    const batch = await listing.read(at, BATCH, (names) => {
      // No more than can be answered.
      let bytes = answer.room;
      const tooMany = names.findIndex(({ name }) => (bytes -= alignUp(fixed + name.length, ALIGNMENT)) < 0);
      return lookAt(connection, node, tooMany < 0 ? names : names.slice(0, tooMany), at);
    });
    for (const found of batch) {
      if (found === undefined) continue;
      if (answer.room < alignUp(fixed + found.name.length, ALIGNMENT)) return answer.written;
      if (withAttributes) writeNode(connection, node, answer, found);
      writeEntry(connection, answer, found);
    }
    if (batch.length < BATCH) {
      const isEmpty = batch.length === 0 && answer.written.length === 0;
      // Not the end, but no room for a single name.
      if (isEmpty && (await listing.read(at, 1, (names) => Promise.resolve(names.length))) > 0)
        throw new FileError('EINVAL');
      return answer.written;
    }
    at += batch.length;
  }
}

/** What the names are; undefined for one that has gone since. */
function lookAt(
  { nodes }: Connection,
  node: KnownNode,
  names: readonly ListedName[],
  offset: number,
): Promise<(LookedAt | undefined)[]> {
  return nodes.using(node, (folder) =>
    Promise.all(
      names.map(async ({ name, type }, index): Promise<LookedAt | undefined> => {
        const next = offset + index + 1;
        const dots = dotsOf(name);
        if (dots > 0) {
          const meant = dots === 1 ? node : (node.place?.folder ?? node);
          return { name, type, next, attributes: undefined, identity: meant.identity };
        }
        try {
          const attributes = await folder.look(name);
          return { name, type: attributes.mode & FILE_TYPE.mask, next, attributes, identity: attributes };
        } catch (error) {
          if (!(error instanceof FileError)) throw error;
          if (error.errno === ERRNO.ENOENT) return undefined;
          return { name, type, next, attributes: undefined, identity: undefined };
        }
      }),
    ),
  );
}

/** struct fuse_entry_out of an entry; all zero where there is nothing to tell, and for `.` and `..`. */
function writeNode(connection: Connection, folder: KnownNode, answer: StructWriter, found: LookedAt): void {
  const { name, attributes } = found;
  if (attributes === undefined) {
    answer.zeros(ANSWER_BYTES.entry);
    return;
  }
  const node = connection.nodes.seen(folder, name, attributes);
  connection.nodes.told(node);
  writeEntryOut(answer, node.id, connection.told(node, attributes));
}

function writeEntry(connection: Connection, answer: StructWriter, { name, type, next, identity }: LookedAt): void {
  const before = answer.room;
  answer
    .big64(identity === undefined ? UNKNOWN_INODE : connection.inode(identity))
    .u64(next)
    .u32(name.length)
    .u32(type >>> 12)
    .bytes(name);
  const bytes = before - answer.room;
  answer.zeros(alignUp(bytes, ALIGNMENT) - bytes);
}

/** 1 for `.`, 2 for `..`, else 0. */
function dotsOf(name: Uint8Array): number {
  const isDots = name.length <= 2 && name.every((letter) => letter === DOT);
  return isDots ? name.length : 0;
}
