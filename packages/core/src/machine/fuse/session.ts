/**
 * The server's end of FUSE (Linux, include/uapi/linux/fuse.h): from the bytes of a request to those of its answer.
 *
 *     FuseExchange --header, size--> Operation of the table --names, node numbers, handles checked--> FileTree --> answer
 *
 * Everything that a guest sends is an allegation: numbers of nodes and handles that were never given, names that are paths, lengths that
 * do not add up. It is answered with an error, as a kernel would; nothing that it says can end anything but its own request.
 */

import { AssertionFailure } from '../../base/assert.ts';
import { KiB } from '../../base/numbers.ts';
import type { Saved, SavedReader } from '../../base/saved.ts';
import { IN_HEADER_BYTES, OPCODE, OUT_HEADER_BYTES } from './abi.ts';
import type { FuseExchange, FuseOptions } from './connection.ts';
import { Connection } from './connection.ts';
import { ERRNO, FileError } from './errno.ts';
import type { OfferedOptions } from './negotiation.ts';
import { Negotiated } from './negotiation.ts';
import type { Answer, Operation } from './operation.ts';
import { EMPTY } from './operation.ts';
import * as attributes from './operations/extended-attributes.ts';
import * as files from './operations/files.ts';
import * as folders from './operations/folders.ts';
import * as names from './operations/names.ts';
import { StructReader, StructWriter } from './wire.ts';

/** What a request may hold behind its header, data to write apart: two names, a target of a link, an attribute's value. */
export const MAXIMUM_ARGUMENT_BYTES = 80 * KiB;

/**
 * Not here, and so ENOSYS, which Linux takes as "never ask again": FLUSH, for what is written is the host's before it is answered (in
 * writeback mode the kernel writes before it would ask); ACCESS, which the kernel checks itself by the attributes.
 */
const OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [OPCODE.LOOKUP, names.lookup],
  [OPCODE.FORGET, names.forget],
  [OPCODE.GETATTR, files.getAttributes],
  [OPCODE.SETATTR, files.setAttributes],
  [OPCODE.READLINK, names.readLink],
  [OPCODE.SYMLINK, names.symbolicLink],
  [OPCODE.MKNOD, names.makeNode],
  [OPCODE.MKDIR, names.makeFolder],
  [OPCODE.UNLINK, names.removeFile],
  [OPCODE.RMDIR, names.removeFolder],
  [OPCODE.RENAME, names.rename],
  [OPCODE.LINK, names.link],
  [OPCODE.OPEN, files.open],
  [OPCODE.READ, files.read],
  [OPCODE.WRITE, files.write],
  [OPCODE.STATFS, files.statistics],
  [OPCODE.RELEASE, files.release],
  [OPCODE.FSYNC, files.synchronize],
  [OPCODE.SETXATTR, attributes.setAttribute],
  [OPCODE.GETXATTR, attributes.getAttribute],
  [OPCODE.LISTXATTR, attributes.listAttributes],
  [OPCODE.REMOVEXATTR, attributes.removeAttribute],
  [OPCODE.OPENDIR, folders.openFolder],
  [OPCODE.READDIR, folders.readFolder],
  [OPCODE.RELEASEDIR, folders.releaseFolder],
  [OPCODE.FSYNCDIR, folders.synchronizeFolder],
  [OPCODE.CREATE, names.create],
  [OPCODE.INTERRUPT, { run: () => 'none' }],
  [OPCODE.BATCH_FORGET, names.batchForget],
  [OPCODE.FALLOCATE, files.allocate],
  [OPCODE.READDIRPLUS, folders.readFolderPlus],
  [OPCODE.RENAME2, names.rename2],
  [OPCODE.LSEEK, files.seek],
  [OPCODE.COPY_FILE_RANGE, files.copyRange],
  [OPCODE.SYNCFS, folders.synchronizeAll],
]);

/** Requests that have no answer, not even to say that they were wrong. */
const UNANSWERED = new Set<number>([OPCODE.FORGET, OPCODE.BATCH_FORGET, OPCODE.INTERRUPT]);

interface Header {
  readonly lengthBytes: number;
  readonly opcode: number;
  readonly unique: Uint8Array;
  readonly nodeId: number;
  readonly uid: number;
  readonly gid: number;
}

export class FuseSession {
  readonly #options: FuseOptions;
  readonly #complain: (reason: string) => void;
  #connection: Connection | undefined;
  /** What was mounted before and is being let go of. */
  #closing: Promise<void> = Promise.resolve();

  constructor(options: FuseOptions, complain: (reason: string) => void) {
    this.#options = options;
    this.#complain = complain;
  }

  /**
   * Does what a request asks for and writes the answer; gives the answer's length, 0 for none. What needs nothing of the host is answered
   * at once. Never fails for what a guest did.
   */
  serve(exchange: FuseExchange): Promise<number> | number {
    const header = readHeader(exchange);
    if (header === undefined) {
      this.#complain('a FUSE request is shorter than its header');
      return 0;
    }
    if (!UNANSWERED.has(header.opcode) && exchange.answerRoom < OUT_HEADER_BYTES) {
      this.#complain(`a FUSE request (${header.opcode}) has no room for an answer`);
      return 0;
    }
    let answer: Promise<Answer> | Answer;
    try {
      answer = this.#run(exchange, header);
    } catch (error) {
      return finish(exchange, header, EMPTY, this.#errnoOf(error, header));
    }
    return answer instanceof Promise
      ? this.#finishLater(exchange, header, answer)
      : finish(exchange, header, answer, 0);
  }

  async #finishLater(exchange: FuseExchange, header: Header, promise: Promise<Answer>): Promise<number> {
    let answer: Answer = EMPTY;
    let errno = 0;
    try {
      answer = await promise;
    } catch (error) {
      errno = this.#errnoOf(error, header);
    }
    return finish(exchange, header, answer, errno);
  }

  /** As before INIT. What was open is closed behind the scenes; `settled` says when. */
  reset(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) return;
    this.#closing = Promise.allSettled([this.#closing, connection.close()]).then(() => undefined);
  }

  /** Resolves when what `reset` let go of is closed. */
  settled(): Promise<void> {
    return this.#closing;
  }

  save(): Saved {
    const connection = this.#connection;
    if (connection === undefined) return null;
    return {
      negotiated: connection.negotiated.save(),
      nodes: connection.nodes.save(),
      handles: connection.handles.save(),
    };
  }

  /** Checks what `save` gave, and returns what takes it over; throws SavedStateError. */
  restorer(reader: SavedReader): () => void {
    let connection: Connection | undefined;
    if (reader.raw() !== null) {
      connection = new Connection(this.#options, Negotiated.restore(reader.field('negotiated'), this.#offer));
      connection.nodes.restore(reader.field('nodes'));
      connection.handles.restore(reader.field('handles'));
    }
    return () => {
      this.reset();
      this.#connection = connection;
    };
  }

  get #offer(): OfferedOptions {
    const { writeback, readOnly, tree } = this.#options;
    return { writeback: writeback && !readOnly, timeUnitNs: tree.timeUnitNs, accessLists: tree.hasAccessLists };
  }

  #run(exchange: FuseExchange, header: Header): Promise<Answer> | Answer {
    const { opcode, nodeId, uid, gid } = header;
    const argumentsBytes = opcode === OPCODE.WRITE ? files.WRITE_IN_BYTES : exchange.requestBytes - IN_HEADER_BYTES;
    if (header.lengthBytes !== exchange.requestBytes) throw new FileError('EINVAL');
    if (argumentsBytes > MAXIMUM_ARGUMENT_BYTES) throw new FileError('E2BIG');
    if (exchange.requestBytes < IN_HEADER_BYTES + argumentsBytes) throw new FileError('EINVAL');
    const request = new StructReader(exchange.readRequest(IN_HEADER_BYTES, argumentsBytes));
    const room = exchange.answerRoom - OUT_HEADER_BYTES;
    if (opcode === OPCODE.INIT) return this.#init(request, room);
    if (opcode === OPCODE.DESTROY) {
      this.reset();
      return EMPTY;
    }
    const connection = this.#connection;
    if (connection === undefined) throw new FileError('EIO');
    const operation = OPERATIONS.get(opcode);
    if (operation === undefined) throw new FileError('ENOSYS');
    if (operation.changes === true && this.#options.readOnly) throw new FileError('EROFS');
    if (room < (operation.answerBytes ?? room)) throw new FileError('EINVAL');
    return operation.run(connection, {
      nodeId,
      owner: { uid, gid },
      request,
      room,
      exchange,
      complain: this.#complain,
    });
  }

  #init(request: StructReader, room: number): Answer {
    const { bytes, negotiated } = Negotiated.answer(request, this.#offer);
    if (room < bytes.length) throw new FileError('EINVAL');
    this.reset();
    if (negotiated !== undefined) this.#connection = new Connection(this.#options, negotiated);
    return bytes;
  }

  #errnoOf(error: unknown, { opcode }: Header): number {
    if (error instanceof FileError) return error.errno;
    if (error instanceof AssertionFailure) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log?.log('error', 'virtio-fs', `FUSE operation ${opcode} failed: ${reason}`);
    return ERRNO.EIO;
  }
}

/** Writes an answer behind its header (struct fuse_out_header); gives the length of both. */
function finish(exchange: FuseExchange, { opcode, unique }: Header, answer: Answer, errno: number): number {
  if (UNANSWERED.has(opcode) || answer === 'none') return 0;
  const bytes = OUT_HEADER_BYTES + (answer instanceof Uint8Array ? answer.length : answer.data);
  const out = new StructWriter(OUT_HEADER_BYTES)
    .u32(bytes)
    .u32(-errno >>> 0)
    .bytes(unique);
  exchange.writeAnswer(0, out.written);
  if (answer instanceof Uint8Array && answer.length > 0) exchange.writeAnswer(OUT_HEADER_BYTES, answer);
  return bytes;
}

/** struct fuse_in_header; undefined when there is no such thing. */
function readHeader(exchange: FuseExchange): Header | undefined {
  if (exchange.requestBytes < IN_HEADER_BYTES) return undefined;
  const reader = new StructReader(exchange.readRequest(0, IN_HEADER_BYTES));
  const lengthBytes = reader.u32();
  const opcode = reader.u32();
  const unique = reader.bytes(8);
  const nodeId = reader.u64();
  const [uid, gid] = [reader.u32(), reader.u32()];
  return { lengthBytes, opcode, unique, nodeId, uid, gid };
}
