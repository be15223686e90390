/** One mounting of a shared folder, from INIT to DESTROY or reset: what operations work with. */

import type { Log } from '../../base/ports.ts';
import type { KnownNode, NodeBudget } from './nodes.ts';
import { NodeTable } from './nodes.ts';
import { HandleTable } from './handles.ts';
import type { FileAttributes, FileOwner, FileTree, OpenMode } from './file-tree.ts';
import type { ToldAttributes } from './attributes.ts';
import type { Negotiated } from './negotiation.ts';
import type { StructReader } from './wire.ts';
import { INIT_FLAG, OPEN_FLAG } from './abi.ts';

/** A share as the session serves it. */
export interface FuseOptions {
  readonly tree: FileTree;
  /** Nothing in the tree is changed. */
  readonly readOnly: boolean;
  /** The guest may hold written data back; others see it late, and the guest's appending and theirs do not mix. */
  readonly writeback: boolean;
  /** Shared with the machine's other trees; its own when it is not given. */
  readonly nodeBudget?: NodeBudget | undefined;
  readonly log?: Log | undefined;
}

/** Guest memory of one request, at the device's discretion lent or copied. Offsets count from the start of the request or the answer. */
export interface FuseExchange {
  readonly requestBytes: number;
  readonly answerRoom: number;
  readRequest(offset: number, bytes: number): Uint8Array;
  writeAnswer(offset: number, bytes: Uint8Array): void;
  /** Lets `act` have bytes of the request. */
  takeData(offset: number, bytes: number, act: (views: readonly Uint8Array[]) => Promise<void>): Promise<void>;
  /** Lets `act` fill bytes of the answer from their start; it gives how many it filled. */
  giveData(offset: number, bytes: number, act: (views: readonly Uint8Array[]) => Promise<number>): Promise<number>;
}

/** A request as an operation sees it: its header is looked at. */
export interface Call {
  readonly nodeId: number;
  readonly owner: FileOwner;
  /** What stands behind the header; of a WRITE without its data. */
  readonly request: StructReader;
  /** Bytes that an answer may have behind its header. */
  readonly room: number;
  readonly exchange: FuseExchange;
  /** The guest broke a rule in a way that an answer cannot show. */
  readonly complain: (reason: string) => void;
}

export interface NodeCall extends Call {
  /** The one of `nodeId`. */
  readonly node: KnownNode;
}

export class Connection {
  readonly nodes: NodeTable;
  readonly handles: HandleTable;
  readonly negotiated: Negotiated;
  readonly options: FuseOptions;

  constructor(options: FuseOptions, negotiated: Negotiated) {
    this.options = options;
    this.negotiated = negotiated;
    this.nodes = new NodeTable(options.tree, options.nodeBudget);
    this.handles = new HandleTable(this.nodes);
  }

  /** How the guest is told of a file. */
  told(node: KnownNode, attributes: FileAttributes): ToldAttributes {
    const { sizeBytes, modifiedNs, changedNs } = attributes;
    node.content = { sizeBytes, modifiedNs, changedNs };
    return {
      attributes,
      ino: this.inode(attributes),
      isSubmount: this.negotiated.has(INIT_FLAG.SUBMOUNTS) && this.nodes.isSubmount(node),
    };
  }

  /**
   * The inode number a guest sees. Where it mounts the host's other file systems as file systems of their own the host's numbers are
   * unique; where it does not (Linux before 5.10) those of others are moved out of the way by their device.
   */
  inode({ device, ino }: Pick<FileAttributes, 'device' | 'ino'>): bigint {
    const { rootDevice = device } = this.nodes;
    if (device === rootDevice || this.negotiated.has(INIT_FLAG.SUBMOUNTS)) return ino;
    return BigInt.asUintN(64, ino ^ ((device ^ rootDevice) << 48n));
  }

  /** How the host has to open what a guest opens with `flags`. */
  openMode(flags: number): OpenMode {
    const access = flags & OPEN_FLAG.ACCMODE;
    const writes = access === OPEN_FLAG.WRONLY;
    const durable =
      (flags & OPEN_FLAG.SYNC) === OPEN_FLAG.SYNC ? 'all' : (flags & OPEN_FLAG.DSYNC) !== 0 ? 'data' : 'no';
    const isCached = this.negotiated.has(INIT_FLAG.WRITEBACK_CACHE);
    return {
      // A guest that writes pages later reads the rest of a page first, and says itself where its appended data goes.
      access: access === OPEN_FLAG.RDWR || (writes && isCached) ? 'both' : writes ? 'write' : 'read',
      append: (flags & OPEN_FLAG.APPEND) !== 0 && !isCached,
      truncate: (flags & OPEN_FLAG.TRUNC) !== 0,
      durable,
    };
  }

  async close(): Promise<void> {
    this.nodes.close();
    await this.handles.closeAll();
  }
}
