/**
 * A folder of the host as the port FileTree: the base of `--share`. Linux only, for elsewhere there is nothing like /proc/self/fd, and
 * paths alone cannot keep a guest from racing out of the folder.
 */

import { lstat } from 'node:fs/promises';
import { fstat, open } from 'node:fs';
import process from 'node:process';
import { promisify } from 'node:util';
import { FileError, type FileNode, type FileTree } from '@ringfence/core';
import { Descriptor, entryPath, selfPath } from './descriptor.ts';
import { fileError } from './file-error.ts';
import { HOLD_FOLDER } from './open-flags.ts';
import { ownersOfThisProcess, type Owners } from './owners.ts';
import { SharedNode } from './shared-node.ts';

const call = { open: promisify(open), fstat: promisify(fstat) };

/** What Node can set a time to, see nodeTime. */
const TIME_UNIT_NS = 1000;
const DOT = Uint8Array.of(0x2e);

export class SharedTree implements FileTree {
  readonly timeUnitNs = TIME_UNIT_NS;
  readonly owners: Owners;
  /** The user whose files new ones are at first. */
  readonly uid: number;
  readonly #open = new Set<Descriptor>();
  readonly #root: Descriptor;

  private constructor(root: number, owners: Owners) {
    this.#root = this.own(root);
    this.owners = owners;
    this.uid = process.geteuid?.() ?? 0;
  }

  /** Opens the folder; what it is called does not matter any more from here on. Rejects with a FileError. */
  static async open(path: string, owners: Owners = ownersOfThisProcess()): Promise<SharedTree> {
    if (process.platform !== 'linux') throw new FileError('ENOSYS');
    try {
      const root = await call.open(path, HOLD_FOLDER);
      const tree = new SharedTree(root, owners);
      const [held, seen] = await Promise.all([call.fstat(root), lstat(entryPath(root, DOT))]);
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

  /** Takes a descriptor into this tree's charge. */
  own(number: number): Descriptor {
    return new Descriptor(number, this.#open);
  }

  /** Closes all that is open, as soon as what is under way is over. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open].map((descriptor) => descriptor.close()));
  }
}
