/**
 * A tree of files in memory, for tests: what a shared folder is to a session, with a host behind it that the test plays (`host`), and a
 * count of what is held and open, so that nothing can leak unseen.
 */

import type {
  Creation,
  FileAttributes,
  FileChanges,
  FileNode,
  FileOwner,
  FileSystemStatistics,
  FileTree,
  FolderList,
  ListedName,
  OpenFile,
  OpenMode,
  RenameMode,
} from '../file-tree.ts';
import { FILE_TYPE } from '../file-tree.ts';
import { FileError } from '../errno.ts';
import { nameKey, nameOfKey } from '../names.ts';

const NOW = 1_700_000_000_000_000_000n;

/** A file of the host. */
export class HostFile {
  mode: number;
  uid = 0;
  gid = 0;
  links = 1;
  rdev = 0;
  content: Uint8Array = new Uint8Array(0);
  target: Uint8Array = new Uint8Array(0);
  readonly entries = new Map<string, HostFile>();
  /** Extended ones, by nameKey. */
  readonly attributes = new Map<string, Uint8Array>();
  accessedNs = NOW;
  modifiedNs = NOW;
  changedNs = NOW;
  readonly ino: bigint;
  device = 7n;

  constructor(ino: bigint, mode: number) {
    this.ino = ino;
    this.mode = mode;
  }

  get type(): number {
    return this.mode & FILE_TYPE.mask;
  }
}

export class MemoryTree implements FileTree {
  readonly timeUnitNs = 1;
  hasAttributes = false;
  hasAccessLists = false;
  readonly host: HostFile;
  /** Nodes, files and lists that are not closed. */
  readonly open = new Set<object>();
  /** What was asked for, in order. */
  readonly log: string[] = [];
  /** Called before each operation; a test may wait or throw here. */
  before: ((what: string) => Promise<void> | void) | undefined;
  #nextIno = 100n;

  constructor() {
    this.host = this.make(FILE_TYPE.folder | 0o755);
  }

  make(mode: number): HostFile {
    return new HostFile(this.#nextIno++, mode);
  }

  /** Puts something at a path such as `a/b/c`; its folders are made. */
  put(path: string, content: string | HostFile = ''): HostFile {
    const names = path.split('/');
    const last = names.pop() ?? '';
    let at = this.host;
    for (const name of names) {
      const next = at.entries.get(name) ?? this.make(FILE_TYPE.folder | 0o755);
      at.entries.set(name, next);
      at = next;
    }
    const file = content instanceof HostFile ? content : this.make(FILE_TYPE.file | 0o644);
    if (typeof content === 'string') file.content = new TextEncoder().encode(content);
    at.entries.set(last, file);
    return file;
  }

  find(path: string): HostFile | undefined {
    let at: HostFile | undefined = this.host;
    for (const name of path.split('/')) at = at?.entries.get(name);
    return at;
  }

  async root(): Promise<FileNode> {
    await this.act('root');
    return new MemoryNode(this, this.host);
  }

  async act(what: string): Promise<void> {
    this.log.push(what);
    await this.before?.(what);
  }
}

class Held {
  readonly tree: MemoryTree;
  readonly file: HostFile;
  #isClosed = false;

  constructor(tree: MemoryTree, file: HostFile) {
    this.tree = tree;
    this.file = file;
    tree.open.add(this);
  }

  async attributes(): Promise<FileAttributes> {
    await this.act('attributes');
    return attributesOf(this.file);
  }

  close(): Promise<void> {
    if (this.#isClosed) throw new Error('it was closed twice');
    this.#isClosed = true;
    this.tree.open.delete(this);
    return Promise.resolve();
  }

  /** An operation takes a turn of the event loop, as on a host. */
  protected async act(what: string): Promise<void> {
    this.check(what);
    await this.tree.act(what);
    this.check(what);
  }

  protected check(what: string): void {
    if (this.#isClosed) throw new Error(`${what} of something closed`);
  }
}

class MemoryNode extends Held implements FileNode {
  async change(changes: FileChanges): Promise<void> {
    await this.act('change');
    const { file } = this;
    if (changes.uid !== undefined) file.uid = changes.uid;
    if (changes.gid !== undefined) file.gid = changes.gid;
    if (changes.mode !== undefined) file.mode = file.type | changes.mode;
    const time = (value: bigint | 'now'): bigint => (value === 'now' ? NOW : value);
    if (changes.accessedNs !== undefined) file.accessedNs = time(changes.accessedNs);
    if (changes.modifiedNs !== undefined) file.modifiedNs = time(changes.modifiedNs);
  }

  async open(mode: OpenMode): Promise<OpenFile> {
    await this.act('open');
    if (this.file.type !== FILE_TYPE.file) throw new FileError('EINVAL');
    if (mode.truncate) this.file.content = new Uint8Array(0);
    return new MemoryFile(this.tree, this.file, mode);
  }

  async list(): Promise<FolderList> {
    await this.act('list');
    return new MemoryList(this.tree, this.#folder);
  }

  sync(): Promise<void> {
    return this.act('sync');
  }

  syncAll(): Promise<void> {
    return this.act('syncAll');
  }

  async getAttribute(name: Uint8Array): Promise<Uint8Array> {
    await this.act('getAttribute');
    const value = this.file.attributes.get(nameKey(name));
    if (value === undefined) throw new FileError('ENODATA');
    return value;
  }

  async setAttribute(name: Uint8Array, value: Uint8Array): Promise<void> {
    await this.act('setAttribute');
    this.file.attributes.set(nameKey(name), value.slice());
  }

  async listAttributes(): Promise<Uint8Array> {
    await this.act('listAttributes');
    return nameOfKey([...this.file.attributes.keys()].map((name) => `${name}\0`).join(''));
  }

  async removeAttribute(name: Uint8Array): Promise<void> {
    await this.act('removeAttribute');
    if (!this.file.attributes.delete(nameKey(name))) throw new FileError('ENODATA');
  }

  async createSpecial(name: Uint8Array, type: number, creation: Creation): Promise<FileAttributes> {
    await this.act(`createSpecial ${nameKey(name)}`);
    return attributesOf(this.#add(name, type, creation));
  }

  async statistics(): Promise<FileSystemStatistics> {
    await this.act('statistics');
    return {
      blocks: 10n,
      freeBlocks: 5n,
      availableBlocks: 4n,
      files: 3n,
      freeFiles: 2n,
      blockBytes: 4096,
      fragmentBytes: 4096,
    };
  }

  async look(name: Uint8Array): Promise<FileAttributes> {
    await this.act(`look ${nameKey(name)}`);
    return attributesOf(this.#entry(name));
  }

  async hold(name: Uint8Array): Promise<FileNode> {
    await this.act(`hold ${nameKey(name)}`);
    return new MemoryNode(this.tree, this.#entry(name));
  }

  async readLink(name: Uint8Array): Promise<Uint8Array> {
    await this.act(`readLink ${nameKey(name)}`);
    return this.#entry(name).target;
  }

  async createFile(name: Uint8Array, creation: Creation, mode: OpenMode): Promise<OpenFile> {
    await this.act(`createFile ${nameKey(name)}`);
    return new MemoryFile(this.tree, this.#add(name, FILE_TYPE.file, creation), mode);
  }

  async createFolder(name: Uint8Array, creation: Creation): Promise<FileAttributes> {
    await this.act(`createFolder ${nameKey(name)}`);
    return attributesOf(this.#add(name, FILE_TYPE.folder, creation));
  }

  async createLink(name: Uint8Array, target: Uint8Array, owner: FileOwner): Promise<FileAttributes> {
    await this.act(`createLink ${nameKey(name)}`);
    const file = this.#add(name, FILE_TYPE.link, { mode: 0o777, umask: 0, owner });
    file.target = target.slice();
    return attributesOf(file);
  }

  async removeFile(name: Uint8Array): Promise<void> {
    await this.act(`removeFile ${nameKey(name)}`);
    const file = this.#entry(name);
    if (file.type === FILE_TYPE.folder) throw new FileError('EISDIR');
    file.links--;
    this.file.entries.delete(nameKey(name));
  }

  async removeFolder(name: Uint8Array): Promise<void> {
    await this.act(`removeFolder ${nameKey(name)}`);
    const file = this.#entry(name);
    if (file.type !== FILE_TYPE.folder) throw new FileError('ENOTDIR');
    if (file.entries.size > 0) throw new FileError('ENOTEMPTY');
    this.file.entries.delete(nameKey(name));
  }

  async rename(name: Uint8Array, toFolder: FileNode, toName: Uint8Array, mode: RenameMode): Promise<void> {
    await this.act(`rename ${nameKey(name)} ${nameKey(toName)}`);
    const file = this.#entry(name);
    if (isWithin(file, (toFolder as MemoryNode).file)) throw new FileError('EINVAL');
    const to = (toFolder as MemoryNode).#folder.entries;
    const target = to.get(nameKey(toName));
    if (mode === 'keep' && target !== undefined) throw new FileError('EEXIST');
    if (mode === 'exchange' && target === undefined) throw new FileError('ENOENT');
    this.file.entries.delete(nameKey(name));
    to.set(nameKey(toName), file);
    if (mode === 'exchange' && target !== undefined) this.file.entries.set(nameKey(name), target);
  }

  async link(name: Uint8Array, toFolder: FileNode, toName: Uint8Array): Promise<FileAttributes> {
    await this.act(`link ${nameKey(name)} ${nameKey(toName)}`);
    const file = this.#entry(name);
    const to = (toFolder as MemoryNode).#folder;
    if (to.entries.has(nameKey(toName))) throw new FileError('EEXIST');
    to.entries.set(nameKey(toName), file);
    file.links++;
    return attributesOf(file);
  }

  get #folder(): HostFile {
    if (this.file.type !== FILE_TYPE.folder) throw new FileError('ENOTDIR');
    return this.file;
  }

  #entry(name: Uint8Array): HostFile {
    const file = this.#folder.entries.get(nameKey(name));
    if (file === undefined) throw new FileError('ENOENT');
    return file;
  }

  #add(name: Uint8Array, type: number, { mode, umask, owner }: Creation): HostFile {
    if (this.#folder.entries.has(nameKey(name))) throw new FileError('EEXIST');
    const file = this.tree.make(type | (mode & ~umask));
    Object.assign(file, owner);
    this.file.entries.set(nameKey(name), file);
    return file;
  }
}

class MemoryFile extends Held implements OpenFile {
  readonly #mode: OpenMode;

  constructor(tree: MemoryTree, file: HostFile, mode: OpenMode) {
    super(tree, file);
    this.#mode = mode;
  }

  async read(offsetBytes: number, into: readonly Uint8Array[]): Promise<number> {
    await this.act(`read ${offsetBytes}`);
    if (this.#mode.access === 'write') throw new FileError('EBADF');
    let at = offsetBytes;
    for (const view of into) {
      const part = this.file.content.subarray(at, at + view.length);
      view.set(part);
      at += part.length;
    }
    return at - offsetBytes;
  }

  async write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    await this.act(`write ${offsetBytes}`);
    if (this.#mode.access === 'read') throw new FileError('EBADF');
    let at = this.#mode.append ? this.file.content.length : offsetBytes;
    if (at > 1 << 24) throw new FileError('ENOSPC');
    for (const view of from) {
      this.#resize(Math.max(this.file.content.length, at + view.length));
      this.file.content.set(view, at);
      at += view.length;
    }
    this.file.modifiedNs++;
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.act(`truncate ${sizeBytes}`);
    if (sizeBytes > 1 << 24) throw new FileError('EFBIG');
    this.#resize(sizeBytes);
  }

  sync(dataOnly: boolean): Promise<void> {
    return this.act(dataOnly ? 'sync data' : 'sync');
  }

  allocate(): Promise<void> {
    return Promise.reject(new FileError('ENOSYS'));
  }

  seek(): Promise<number> {
    return Promise.reject(new FileError('ENOSYS'));
  }

  async copy(fromBytes: number, to: OpenFile, toBytes: number, bytes: number): Promise<number> {
    await this.act('copy');
    const part = this.file.content.slice(fromBytes, fromBytes + bytes);
    await to.write(toBytes, [part]);
    return part.length;
  }

  #resize(bytes: number): void {
    const content = new Uint8Array(bytes);
    content.set(this.file.content.subarray(0, bytes));
    this.file.content = content;
  }
}

/** Gives three names at a time. */
class MemoryList extends Held implements FolderList {
  readonly #names: ListedName[];

  constructor(tree: MemoryTree, file: HostFile) {
    super(tree, file);
    this.#names = [...file.entries].map(([key, { type }]) => ({ name: nameOfKey(key), type }));
  }

  async next(): Promise<readonly ListedName[] | undefined> {
    await this.act('next');
    return this.#names.length === 0 ? undefined : this.#names.splice(0, 3);
  }
}

function attributesOf(file: HostFile): FileAttributes {
  const { device, ino, mode, links, uid, gid, rdev, accessedNs, modifiedNs, changedNs } = file;
  const sizeBytes = file.type === FILE_TYPE.link ? file.target.length : file.content.length;
  const blocks = Math.ceil(sizeBytes / 512);
  const times = { accessedNs, modifiedNs, changedNs };
  return { device, ino, birthNs: 5n, mode, links, uid, gid, rdev, sizeBytes, blocks, blockBytes: 4096, ...times };
}

function isWithin(file: HostFile, folder: HostFile): boolean {
  return file === folder || [...file.entries.values()].some((entry) => isWithin(entry, folder));
}
