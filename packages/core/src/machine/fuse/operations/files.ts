/** Operations on files and their attributes (Linux, include/uapi/linux/fuse.h; open(2), read(2), write(2), stat(2), utimensat(2)). */

import { MiB } from '../../../base/numbers.ts';
import { ANSWER_BYTES, FATTR, FOPEN, FSYNC_FDATASYNC, GETATTR_FH, IN_HEADER_BYTES, OUT_HEADER_BYTES } from '../abi.ts';
import { writeAttrOut } from '../attributes.ts';
import type { Connection, NodeCall } from '../connection.ts';
import { FileError } from '../errno.ts';
import type { FileAttributes, FileChanges, SeekTarget } from '../file-tree.ts';
import { NAME_BYTES } from '../file-tree.ts';
import { MAXIMUM_TRANSFER_BYTES } from '../negotiation.ts';
import { EMPTY, onNode } from '../operation.ts';
import { StructWriter } from '../wire.ts';

/** struct fuse_write_in. */
export const WRITE_IN_BYTES = 40;
/** The most that is copied in one request; a program that copies more asks again. */
const MAXIMUM_COPY_BYTES = 16 * MiB;
/** Offsets and sizes of files are below this: JavaScript's numbers are exact up to here, 8 PiB. */
const LARGEST_SIZE = Number.MAX_SAFE_INTEGER;

export const getAttributes = onNode({
  answerBytes: ANSWER_BYTES.attr,
  async run(connection, call) {
    const flags = call.request.u32();
    call.request.skip(4);
    const handle = call.request.u64();
    const attributes =
      (flags & GETATTR_FH) === 0
        ? await connection.nodes.attributes(call.node)
        : await (await connection.handles.file(handle, call.node)).attributes();
    return attributeAnswer(connection, call, attributes);
  },
});

export const setAttributes = onNode({
  changes: true,
  answerBytes: ANSWER_BYTES.attr,
  async run(connection, call) {
    const { request, node } = call;
    const { nodes, handles } = connection;
    const valid = request.u32();
    request.skip(4);
    const handle = request.u64();
    const sizeBytes = request.u64();
    request.skip(8);
    const seconds = [request.i64(), request.i64(), request.i64()];
    const ns = [request.u32(), request.u32(), request.u32()];
    const mode = request.u32();
    request.skip(4);
    const [uid, gid] = [request.u32(), request.u32()];
    const time = (bit: number, nowBit: number, index: number): bigint | 'now' | undefined => {
      if ((valid & bit) === 0) return undefined;
      return (valid & nowBit) === 0 ? (seconds[index] ?? 0n) * 1_000_000_000n + BigInt(ns[index] ?? 0) : 'now';
    };
    const accessedNs = time(FATTR.ATIME, FATTR.ATIME_NOW, 0);
    const modifiedNs = time(FATTR.MTIME, FATTR.MTIME_NOW, 1);
    const changes: FileChanges = {
      ...((valid & FATTR.MODE) !== 0 ? { mode: mode & 0o7777 } : {}),
      ...((valid & FATTR.UID) !== 0 ? { uid } : {}),
      ...((valid & FATTR.GID) !== 0 ? { gid } : {}),
    };
    const times: FileChanges = {
      ...(accessedNs === undefined ? {} : { accessedNs }),
      ...(modifiedNs === undefined ? {} : { modifiedNs }),
    };
    const attributes = await nodes.using(node, async (file) => {
      if (Object.keys(changes).length > 0) await file.change(changes);
      if ((valid & FATTR.SIZE) !== 0) {
        checkSize(sizeBytes);
        if ((valid & FATTR.FH) !== 0) await (await handles.file(handle, node)).truncate(sizeBytes);
        else {
          const opened = await nodes.withRoom(() =>
            file.open({ access: 'write', append: false, truncate: false, durable: 'no' }),
          );
          try {
            await opened.truncate(sizeBytes);
          } finally {
            await opened.close();
          }
        }
      }
      if (Object.keys(times).length > 0) await file.change(times);
      return file.attributes();
    });
    return attributeAnswer(connection, call, attributes);
  },
});

export const open = onNode({
  answerBytes: ANSWER_BYTES.open,
  async run(connection, { node, request }) {
    const { nodes, handles, options } = connection;
    const mode = connection.openMode(request.u32());
    if (options.readOnly && (mode.access !== 'read' || mode.truncate)) throw new FileError('EROFS');
    handles.checkRoom();
    const known = node.content;
    const file = await nodes.using(node, (host) => nodes.withRoom(() => host.open(mode)));
    try {
      // The guest may go on with the pages it has if the file is what it was when the guest was last told of it.
      const now = await file.attributes();
      const isSame =
        known !== undefined &&
        known.sizeBytes === now.sizeBytes &&
        known.modifiedNs === now.modifiedNs &&
        known.changedNs === now.changedNs;
      const answer = new StructWriter(ANSWER_BYTES.open);
      return answer
        .u64(handles.addFile(node, mode, file))
        .u32(isSame ? FOPEN.KEEP_CACHE : 0)
        .u32(0).written;
    } catch (error) {
      await file.close();
      throw error;
    }
  },
});

export const read = onNode({
  async run({ handles }, { node, request, room, exchange }) {
    const handle = request.u64();
    const offset = request.u64();
    const size = Math.min(request.u32(), room, MAXIMUM_TRANSFER_BYTES);
    const file = await handles.file(handle, node);
    if (size === 0 || offset + size > LARGEST_SIZE) return EMPTY;
    return { data: await exchange.giveData(OUT_HEADER_BYTES, size, (views) => file.read(offset, views)) };
  },
});

export const write = onNode({
  changes: true,
  answerBytes: ANSWER_BYTES.write,
  async run({ handles }, { node, request, exchange }) {
    const handle = request.u64();
    const offset = request.u64();
    const size = request.u32();
    const start = IN_HEADER_BYTES + WRITE_IN_BYTES;
    if (exchange.requestBytes - start !== size || size > MAXIMUM_TRANSFER_BYTES) throw new FileError('EINVAL');
    checkSize(offset + size);
    const file = await handles.file(handle, node);
    node.content = undefined;
    await exchange.takeData(start, size, (views) => file.write(offset, views));
    return new StructWriter(ANSWER_BYTES.write).u32(size).u32(0).written;
  },
});

export const release = onNode({
  async run({ handles }, { node, request }) {
    await handles.close(request.u64(), node, 'file');
    return EMPTY;
  },
});

export const synchronize = onNode({
  async run({ handles }, { node, request }) {
    const file = await handles.file(request.u64(), node);
    await file.sync((request.u32() & FSYNC_FDATASYNC) !== 0);
    return EMPTY;
  },
});

/** What fallocate(2) may be told: keep the size, make a hole, write zeros. */
const ALLOCATE_MODES = 0x1 | 0x2 | 0x10;

export const allocate = onNode({
  changes: true,
  async run({ handles }, { node, request }) {
    const handle = request.u64();
    const [offset, bytes] = [request.u64(), request.u64()];
    const mode = request.u32();
    if ((mode & ~ALLOCATE_MODES) !== 0) throw new FileError('EOPNOTSUPP');
    checkSize(offset + bytes);
    const file = await handles.file(handle, node);
    node.content = undefined;
    await file.allocate(mode, offset, bytes);
    return EMPTY;
  },
});

/** `whence` of lseek(2); the guest finds the other places itself. */
const SEEK_TARGETS: ReadonlyMap<number, SeekTarget> = new Map([
  [3, 'data'],
  [4, 'hole'],
]);

export const seek = onNode({
  answerBytes: ANSWER_BYTES.lseek,
  async run({ handles }, { node, request }) {
    const handle = request.u64();
    const offset = request.u64();
    const target = SEEK_TARGETS.get(request.u32());
    if (target === undefined) throw new FileError('EINVAL');
    if (offset >= LARGEST_SIZE) throw new FileError('ENXIO');
    const found = await (await handles.file(handle, node)).seek(offset, target);
    return new StructWriter(ANSWER_BYTES.lseek).u64(found).written;
  },
});

export const copyRange = onNode({
  changes: true,
  answerBytes: ANSWER_BYTES.write,
  async run({ nodes, handles }, { node, request }) {
    const [handle, offset, toId, toHandle, toOffset] = [
      request.u64(),
      request.u64(),
      request.u64(),
      request.u64(),
      request.u64(),
    ];
    const bytes = Math.min(request.u64(), MAXIMUM_COPY_BYTES);
    if (request.u64() !== 0) throw new FileError('EINVAL');
    const target = nodes.get(toId);
    checkSize(offset + bytes);
    checkSize(toOffset + bytes);
    const [from, to] = [await handles.file(handle, node), await handles.file(toHandle, target)];
    target.content = undefined;
    const copied = await from.copy(offset, to, toOffset, bytes);
    return new StructWriter(ANSWER_BYTES.write).u32(copied).u32(0).written;
  },
});

export const statistics = onNode({
  answerBytes: ANSWER_BYTES.statfs,
  async run({ nodes }, { node }) {
    const found = await nodes.using(node, (file) => file.statistics());
    const answer = new StructWriter(ANSWER_BYTES.statfs);
    answer.big64(found.blocks).big64(found.freeBlocks).big64(found.availableBlocks);
    answer.big64(found.files).big64(found.freeFiles);
    answer.u32(found.blockBytes).u32(NAME_BYTES).u32(found.fragmentBytes).u32(0);
    return answer.zeros(answer.room).written;
  },
});

function attributeAnswer(connection: Connection, { node }: NodeCall, attributes: FileAttributes): Uint8Array {
  const answer = new StructWriter(ANSWER_BYTES.attr);
  writeAttrOut(answer, connection.told(node, attributes));
  return answer.written;
}

function checkSize(bytes: number): void {
  if (bytes >= LARGEST_SIZE) throw new FileError('EFBIG');
}
