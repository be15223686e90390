/**
 * A folder of the host as the port FileTree: the base of `--share`. Linux only, for elsewhere there is nothing like /proc/self/fd, and
 * paths alone cannot keep a guest from racing out of the folder.
 */

import { lstat } from 'node:fs/promises';
import { fstat, open } from 'node:fs';
import process from 'node:process';
import { promisify } from 'node:util';
import { FileError, type FileNode, type FileTree } from '@ringfence/core';
import { Descriptor, selfPath } from './descriptor.ts';
import { fileError } from './file-error.ts';
import { HOLD_FOLDER } from './open-flags.ts';
import { ownersOfThisProcess, type Owners } from './owners.ts';
import type { SystemCalls } from './system-calls.ts';
import { SharedNode } from './shared-node.ts';

const call = { open: promisify(open), fstat: promisify(fstat) };

/** What Node by itself can set a time to, see nodeTime. */
const TIME_UNIT_NS = 1000;

export interface SharedTreeOptions {
  readonly owners?: Owners;
  /** Stays the caller's, who closes it after the tree. */
  readonly calls?: SystemCalls | undefined;
  /** Reading a file changes nothing of it either, where this computer lets us. */
  readonly readOnly?: boolean;
}

export class SharedTree implements FileTree {
  readonly timeUnitNs: number;
  readonly hasAttributes: boolean;
  readonly hasAccessLists: boolean;
  /** Undefined where this Node cannot do them. */
  readonly calls: SystemCalls | undefined;
  readonly owners: Owners;
  readonly readOnly: boolean;
  /** The user whose files new ones are at first. */
  readonly uid: number;
  readonly #open = new Set<Descriptor>();
  readonly #root: Descriptor;
  #modes: Promise<unknown> = Promise.resolve();

  private constructor(root: number, owners: Owners, calls: SystemCalls | undefined, readOnly: boolean) {
    this.#root = this.own(root);
    this.owners = owners;
    this.calls = calls;
    this.readOnly = readOnly;
    this.timeUnitNs = calls === undefined ? TIME_UNIT_NS : 1;
    this.hasAttributes = calls !== undefined;
    this.hasAccessLists = calls !== undefined;
    this.uid = process.geteuid?.() ?? 0;
  }

  /** Opens the folder; what it is called does not matter any more from here on. Rejects with a FileError. */
  static async open(
    path: string,
    { owners = ownersOfThisProcess(), calls, readOnly = false }: SharedTreeOptions = {},
  ): Promise<SharedTree> {
    if (process.platform !== 'linux') throw new FileError('ENOSYS');
    try {
      const root = await call.open(path, HOLD_FOLDER);
      const tree = new SharedTree(root, owners, calls, readOnly);
      const [held, seen] = await Promise.all([call.fstat(root), lstat(`${selfPath(root)}/.`)]);
      // Without a /proc, or with something else there, there is nothing to stand on.
      if (held.ino !== seen.ino || held.dev !== seen.dev) throw new FileError('ENOSYS');
      return tree;
    } catch (error) {
      throw fileError(error);
    }
  }

  /** Descriptors open now. */
  get openDescriptors(): number {
    return this.#open.size;
  }

  root(): Promise<FileNode> {
    return this.#root.use(
      async (number) => new SharedNode(this, this.own(await call.open(selfPath(number), HOLD_FOLDER))),
    );
  }

  /** For what cannot be done without: ENOSYS. */
  get systemCalls(): SystemCalls {
    if (this.calls === undefined) throw new FileError('ENOSYS');
    return this.calls;
  }

  /**
   * Does what changes a mode after all that does so already: what changes one for a moment and back (own-attribute.ts) takes nothing away
   * that another one wanted.
   */
  changeMode<Result>(act: () => Promise<Result>): Promise<Result> {
    const done = this.#modes.then(act);
    this.#modes = done.catch(() => {});
    return done;
  }

  /** Takes a descriptor into this tree's charge. */
  own(number: number): Descriptor {
    return new Descriptor(number, this.#open);
  }

  /** Closes all that is open, as soon as what is under way is over. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open].map((descriptor) => descriptor.close()));
  }
}
