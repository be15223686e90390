/**
 * One file of a shared folder, held by a descriptor that only says which file it is (O_PATH). Whatever is done to it goes through that
 * descriptor, and whatever is done to an entry of it goes through the descriptor and one name: see descriptor.ts for why nothing can be
 * put in between. Functions of Node that follow symbolic links are used on `selfPath` alone, which leads to the file itself.
 */

import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  opendir,
  readlink,
  rename,
  rmdir,
  statfs,
  symlink,
  unlink,
  utimes,
} from 'node:fs/promises';
import { close, fchmod, fchown, fstat, fsync, open, type Stats } from 'node:fs';
import { promisify } from 'node:util';
import {
  ERRNO,
  FILE_TYPE,
  FileError,
  SET_GROUP_ID,
  type Creation,
  type FileAttributes,
  type FileChanges,
  type FileNode,
  type FileOwner,
  type FileSystemStatistics,
  type FolderList,
  type OpenFile,
  type OpenMode,
  type RenameMode,
} from '@ringfence/core';
import { attributesOf, nodeTime, timespecs } from './attributes.ts';
import { type Descriptor, entryPath, selfPath } from './descriptor.ts';
import { CREATE, HOLD, NO_ACCESS_TIME, READ_FOLDER, openFlags } from './open-flags.ts';
import {
  type AccessEntry,
  getList,
  inheritNamed,
  isReserved,
  listKind,
  namedForNew,
  removeList,
  setList,
  withoutReserved,
} from './guest-access-lists.ts';
import { getAttribute, hasDefaultList, listAttributes, removeAttribute, setAttribute } from './node-attributes.ts';
import { SharedFile } from './shared-file.ts';
import { SharedList } from './shared-list.ts';
import type { SharedTree } from './shared-tree.ts';
import { AT_FDCWD, type SystemCalls, terminated } from './system-calls.ts';

const call = {
  open: promisify(open),
  close: promisify(close),
  fstat: promisify(fstat),
  fchown: promisify(fchown),
  fchmod: promisify(fchmod),
  fsync: promisify(fsync),
};

const PERMISSIONS = 0o7777;
const NS_PER_MS = 1e6;
/** Of renameat2(2). */
const RENAME_FLAGS = { keep: 1, exchange: 2 } as const;

export class SharedNode implements FileNode {
  readonly #tree: SharedTree;
  readonly #descriptor: Descriptor;
  /** Part of `mode`; a file keeps it for life. Undefined until somebody looked. */
  #type: number | undefined;

  constructor(tree: SharedTree, descriptor: Descriptor) {
    this.#tree = tree;
    this.#descriptor = descriptor;
  }

  attributes(): Promise<FileAttributes> {
    return this.#descriptor.use((number) => this.#attributes(number));
  }

  change(changes: FileChanges): Promise<void> {
    return this.#descriptor.use(async (number) => {
      const path = selfPath(number);
      if (changes.uid !== undefined || changes.gid !== undefined) {
        const { uid, gid } = this.#tree.owners.toHost(changes);
        await chown(path, uid, gid);
      }
      // After the owner: a change of that takes set-user-ID away.
      const { mode } = changes;
      if (mode !== undefined) await this.#tree.changeMode(() => chmod(path, mode));
      const { accessedNs, modifiedNs } = changes;
      if (accessedNs === undefined && modifiedNs === undefined) return;
      const { calls } = this.#tree;
      if (calls !== undefined) {
        await calls.call('utimensat', [AT_FDCWD, terminated(path), timespecs(accessedNs, modifiedNs), 0]);
        return;
      }
      const now = await call.fstat(number, { bigint: true });
      await utimes(path, time(accessedNs, now.atimeNs), time(modifiedNs, now.mtimeNs));
    });
  }

  close(): Promise<void> {
    return this.#descriptor.close();
  }

  open(mode: OpenMode): Promise<OpenFile> {
    return this.#descriptor.use(async (number) => {
      this.#type ??= (await this.#attributes(number)).mode & FILE_TYPE.mask;
      // Pipes, sockets and devices are shown and never opened: that alone can do something, or wait for ever.
      if (this.#type !== FILE_TYPE.file) throw new FileError('EINVAL');
      return this.#file(await this.#opened(selfPath(number), openFlags(mode)));
    });
  }

  async #opened(path: string | Buffer, flags: number): Promise<number> {
    if (!this.#tree.readOnly) return call.open(path, flags);
    try {
      return await call.open(path, flags | NO_ACCESS_TIME);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) throw error;
      return call.open(path, flags);
    }
  }

  async list(): Promise<FolderList> {
    // The list has a descriptor of its own, which stays while it is read.
    const descriptor = await this.#descriptor.use(async (number) =>
      this.#tree.own(await call.open(selfPath(number), READ_FOLDER)),
    );
    try {
      return await descriptor.use(
        async (number) => new SharedList(await opendir(selfPath(number), LIST_OPTIONS), () => descriptor.close()),
      );
    } catch (error) {
      await descriptor.close();
      throw error;
    }
  }

  sync(): Promise<void> {
    return this.#descriptor.use(async (number) => {
      const folder = await call.open(selfPath(number), READ_FOLDER);
      try {
        await call.fsync(folder);
      } finally {
        await call.close(folder);
      }
    });
  }

  syncAll(): Promise<void> {
    return this.#descriptor.use(async (number) => {
      const { systemCalls } = this.#tree;
      const folder = await call.open(selfPath(number), READ_FOLDER);
      try {
        await systemCalls.call('syncfs', [folder]);
      } finally {
        await call.close(folder);
      }
    });
  }

  getAttribute(name: Uint8Array): Promise<Uint8Array> {
    return this.#attribute(name, (path, calls, kind) =>
      kind === undefined ? getAttribute(calls, path, name) : getList(this.#tree, path, kind),
    );
  }

  setAttribute(name: Uint8Array, value: Uint8Array, flags: number): Promise<void> {
    return this.#attribute(name, (path, calls, kind) =>
      kind === undefined ? setAttribute(calls, path, name, value, flags) : setList(this.#tree, path, kind, value),
    );
  }

  listAttributes(): Promise<Uint8Array> {
    return this.#descriptor.use(async (number) =>
      withoutReserved(await listAttributes(this.#tree.systemCalls, selfPath(number))),
    );
  }

  removeAttribute(name: Uint8Array): Promise<void> {
    return this.#attribute(name, (path, calls, kind) =>
      kind === undefined ? removeAttribute(calls, path, name) : removeList(this.#tree, path, kind),
    );
  }

  /** `kind` where the attribute is an access list that has to be the guest's and the host's in one. */
  async #attribute<Result>(
    name: Uint8Array,
    act: (path: string, calls: SystemCalls, kind: ReturnType<typeof listKind>) => Promise<Result>,
  ): Promise<Result> {
    const { systemCalls, owners } = this.#tree;
    if (isReserved(name)) throw new FileError('EOPNOTSUPP');
    return this.#descriptor.use((number) =>
      act(selfPath(number), systemCalls, owners.gives ? undefined : listKind(name)),
    );
  }

  statistics(): Promise<FileSystemStatistics> {
    return this.#descriptor.use(async (number) => {
      const found = await statfs(selfPath(number), { bigint: true });
      return {
        blocks: found.blocks,
        freeBlocks: found.bfree,
        availableBlocks: found.bavail,
        files: found.files,
        freeFiles: found.ffree,
        blockBytes: Number(found.bsize),
        fragmentBytes: Number(found.frsize),
      };
    });
  }

  look(name: Uint8Array): Promise<FileAttributes> {
    return this.#descriptor.use(async (number) => this.#told(await lstat(entryPath(number, name), { bigint: true })));
  }

  hold(name: Uint8Array): Promise<SharedNode> {
    return this.#descriptor.use((number) => this.#hold(number, name));
  }

  readLink(name: Uint8Array): Promise<Uint8Array> {
    return this.#descriptor.use((number) => readlink(entryPath(number, name), { encoding: 'buffer' }));
  }

  createFile(name: Uint8Array, creation: Creation, mode: OpenMode): Promise<OpenFile> {
    return this.#descriptor.use(async (folder) => {
      const inherited = await this.#inheritedIn(folder, creation);
      const { permissions } = inherited;
      const number = await call.open(entryPath(folder, name), openFlags(mode) | CREATE, permissions);
      try {
        await this.#orUndone(folder, name, number, async (made) => {
          if (this.#tree.owners.gives) {
            const { uid, gid } = await this.#ownerIn(folder, creation.owner);
            await call.fchown(number, uid, gid);
          }
          if (!inherited.isFinal) await this.#inherit(number, FILE_TYPE.file, inherited);
          // The host's umask may have taken something away, and a new owner does.
          else if ((made.mode & PERMISSIONS) !== permissions) await call.fchmod(number, permissions);
        });
      } catch (error) {
        await call.close(number);
        throw error;
      }
      return this.#file(number);
    });
  }

  createFolder(name: Uint8Array, creation: Creation): Promise<FileAttributes> {
    return this.#descriptor.use(async (folder) => {
      const inherited = await this.#inheritedIn(folder, creation);
      await mkdir(entryPath(folder, name), inherited.permissions);
      return this.#settle(folder, name, FILE_TYPE.folder, creation.owner, inherited);
    });
  }

  createLink(name: Uint8Array, target: Uint8Array, owner: FileOwner): Promise<FileAttributes> {
    return this.#descriptor.use(async (folder) => {
      await symlink(Buffer.from(target), entryPath(folder, name));
      return this.#settle(folder, name, FILE_TYPE.link, owner, undefined);
    });
  }

  createSpecial(name: Uint8Array, type: number, creation: Creation): Promise<FileAttributes> {
    return this.#descriptor.use(async (folder) => {
      const inherited = await this.#inheritedIn(folder, creation);
      await this.#tree.systemCalls.call('mknodat', [folder, terminated(name), type | inherited.permissions, 0n]);
      return this.#settle(folder, name, type, creation.owner, inherited);
    });
  }

  removeFile(name: Uint8Array): Promise<void> {
    return this.#descriptor.use((number) => unlink(entryPath(number, name)));
  }

  removeFolder(name: Uint8Array): Promise<void> {
    return this.#descriptor.use((number) => rmdir(entryPath(number, name)));
  }

  rename(name: Uint8Array, toFolder: FileNode, toName: Uint8Array, mode: RenameMode): Promise<void> {
    return this.#withBoth(toFolder, async (from, to) => {
      if (mode === 'replace') await rename(entryPath(from, name), entryPath(to, toName));
      else {
        const words = [from, terminated(name), to, terminated(toName), RENAME_FLAGS[mode]];
        await this.#tree.systemCalls.call('renameat2', words);
      }
    });
  }

  link(name: Uint8Array, toFolder: FileNode, toName: Uint8Array): Promise<FileAttributes> {
    return this.#withBoth(toFolder, async (from, to) => {
      const path = entryPath(to, toName);
      await link(entryPath(from, name), path);
      return this.#told(await lstat(path, { bigint: true }));
    });
  }

  /**
   * What a new entry of the folder may be, and whether that is final. Where the folder has a list for new entries (acl(5)) the umask does
   * not count, and what comes out is the host's to say. It is looked up before anything is made.
   */
  async #inheritedIn(folder: number, { mode, umask }: Creation): Promise<Inherited> {
    const { calls, hasAccessLists, owners } = this.#tree;
    const path = selfPath(folder);
    const hasList = calls !== undefined && hasAccessLists && (await hasDefaultList(calls, path));
    if (!hasList) return { permissions: mode & ~umask & PERMISSIONS, isFinal: true, named: [] };
    const named = owners.gives ? [] : await namedForNew(this.#tree, path);
    return { permissions: mode & PERMISSIONS, isFinal: false, named };
  }

  /** For a new entry of a folder that has a list for such. Pipes and sockets cannot have attributes of this kind (xattr(7)). */
  async #inherit(number: number, type: number, { named }: Inherited): Promise<void> {
    if (type !== FILE_TYPE.file && type !== FILE_TYPE.folder) return;
    await inheritNamed(this.#tree, selfPath(number), named, type === FILE_TYPE.folder);
  }

  /** Gives a new entry to its owner. It is held for that, and looked at: it might be something else by now. */
  async #settle(
    folder: number,
    name: Uint8Array,
    type: number,
    owner: FileOwner,
    inherited: Inherited | undefined,
  ): Promise<FileAttributes> {
    const node = await this.#hold(folder, name);
    try {
      return await node.#descriptor.use((number) =>
        this.#orUndone(folder, name, number, async (made) => {
          if ((made.mode & FILE_TYPE.mask) !== type || made.uid !== this.#tree.uid) throw new FileError('ESTALE');
          if (this.#tree.owners.gives) {
            const { uid, gid } = await this.#ownerIn(folder, owner);
            await chown(selfPath(number), uid, gid);
          }
          if (inherited?.isFinal === true) {
            // A folder inherits set-group-ID.
            const wanted = inherited.permissions | (made.mode & SET_GROUP_ID);
            if ((made.mode & PERMISSIONS) !== wanted) await chmod(selfPath(number), wanted);
          } else if (inherited !== undefined) await this.#inherit(number, type, inherited);
          return node.#attributes(number);
        }),
      );
    } finally {
      await node.close();
    }
  }

  /** Acts on the new entry that `number` is. If that fails the entry goes again, unless something else has its name by now. */
  async #orUndone<Result>(
    folder: number,
    name: Uint8Array,
    number: number,
    act: (made: Stats) => Promise<Result>,
  ): Promise<Result> {
    const made = await call.fstat(number);
    try {
      return await act(made);
    } catch (error) {
      const isStale = error instanceof FileError && error.errno === ERRNO.ESTALE;
      if (!isStale) await removeSame(entryPath(folder, name), made).catch(() => {});
      throw error;
    }
  }

  /** Whose a new entry of the folder is: in one with set-group-ID the group stays the folder's (inode(7)). */
  async #ownerIn(folder: number, { uid, gid }: FileOwner): Promise<FileOwner> {
    const { mode } = await call.fstat(folder);
    return { uid, gid: (mode & SET_GROUP_ID) === 0 ? gid : -1 };
  }

  async #hold(folder: number, name: Uint8Array): Promise<SharedNode> {
    return new SharedNode(this.#tree, this.#tree.own(await call.open(entryPath(folder, name), HOLD)));
  }

  #withBoth<Result>(other: FileNode, act: (from: number, to: number) => Promise<Result>): Promise<Result> {
    if (!(other instanceof SharedNode)) throw new FileError('EXDEV');
    return this.#descriptor.use((from) => other.#descriptor.use((to) => act(from, to)));
  }

  #file(number: number): OpenFile {
    return new SharedFile(this.#tree, this.#tree.own(number));
  }

  async #attributes(number: number): Promise<FileAttributes> {
    const attributes = this.#told(await call.fstat(number, { bigint: true }));
    this.#type = attributes.mode & FILE_TYPE.mask;
    return attributes;
  }

  #told(stats: Parameters<typeof attributesOf>[0]): FileAttributes {
    return attributesOf(stats, this.#tree.owners, this.#tree.timeUnitNs);
  }
}

/** What a new entry gets from its folder. */
interface Inherited {
  readonly permissions: number;
  readonly isFinal: boolean;
  /** Whom of the guest's users its list names. */
  readonly named: readonly AccessEntry[];
}

async function removeSame(path: Buffer, made: Stats): Promise<void> {
  const found = await lstat(path);
  if (found.ino !== made.ino || found.dev !== made.dev) return;
  await (found.isDirectory() ? rmdir(path) : unlink(path));
}

// Node's types do not have the name of this encoding here, which it knows as everywhere.
const LIST_OPTIONS = { encoding: 'buffer' as BufferEncoding, bufferSize: 128 };

function time(wanted: bigint | 'now' | undefined, present: bigint): number | Date {
  if (wanted === 'now') return nodeTime(BigInt(Math.round((performance.timeOrigin + performance.now()) * NS_PER_MS)));
  return nodeTime(wanted ?? present);
}
