/**
 * The port behind a shared folder: a tree of files as its holder lets a guest see it.
 *
 * Nothing here takes a path. Whoever has a node got it from the tree's root, one name after the other, and a name is one entry of one
 * folder: never empty, `.` or `..`, without `/` and NUL, at most NAME_BYTES long (names.ts checks what a guest says). No operation follows a
 * symbolic link: a link is a node that can be read, and the guest resolves it within its own file system. So there is no way to say
 * something that lies outside the tree.
 *
 * Every method is asynchronous and rejects with a FileError. Who implements it answers for this: an operation on a node reaches the file
 * that the node is, and no other that took its name meanwhile.
 */

/** The longest name of an entry, in bytes: Linux's NAME_MAX. */
export const NAME_BYTES = 255;

/** File types of `mode` (inode(7)). */
export const FILE_TYPE = {
  mask: 0o170000,
  socket: 0o140000,
  link: 0o120000,
  file: 0o100000,
  block: 0o060000,
  folder: 0o040000,
  character: 0o020000,
  fifo: 0o010000,
} as const;

/** Set-group-ID of `mode`. */
export const SET_GROUP_ID = 0o2000;

export interface FileAttributes {
  /** What tells this file from every other, and from one that gets its number after it is gone: file system, inode, time of birth. */
  readonly device: bigint;
  readonly ino: bigint;
  readonly birthNs: bigint;
  /** Type and permissions, as in `st_mode`. */
  readonly mode: number;
  readonly links: number;
  /** As the guest is to see them. */
  readonly uid: number;
  readonly gid: number;
  /** For device files: minor & 0xff | major << 8 | (minor & ~0xff) << 12. */
  readonly rdev: number;
  readonly sizeBytes: number;
  /** Of 512 bytes each. */
  readonly blocks: number;
  /** What transfers are best made of. */
  readonly blockBytes: number;
  /** Nanoseconds since 1970, before it negative. */
  readonly accessedNs: bigint;
  readonly modifiedNs: bigint;
  readonly changedNs: bigint;
}

/** A user of the guest. */
export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

/** How a new file comes to be. */
export interface Creation {
  /** Permissions (12 bits), before `umask`. */
  readonly mode: number;
  readonly umask: number;
  readonly owner: FileOwner;
}

/** What open(2) is told. */
export interface OpenMode {
  readonly access: 'read' | 'write' | 'both';
  readonly append: boolean;
  readonly truncate: boolean;
  /** Each write is durable before it is answered: its data, or everything about it. */
  readonly durable: 'no' | 'data' | 'all';
}

/** What to change; what is absent stays. */
export interface FileChanges {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly accessedNs?: bigint | 'now';
  readonly modifiedNs?: bigint | 'now';
}

/** What a rename does when there is something at its new place. */
export type RenameMode = 'replace' | 'keep' | 'exchange';

/** Where lseek(2) is to look for the next data, or the next hole. */
export type SeekTarget = 'data' | 'hole';

export interface ListedName {
  readonly name: Uint8Array;
  /** As in `mode`, 0 when unknown. */
  readonly type: number;
}

/** The names in a folder, without `.` and `..`, each once. Names that come or go meanwhile may be among them or not. */
export interface FolderList {
  /** Some more; undefined at the end. */
  next(): Promise<readonly ListedName[] | undefined>;
  close(): Promise<void>;
}

/** As statfs(2) gives it. */
export interface FileSystemStatistics {
  readonly blocks: bigint;
  readonly freeBlocks: bigint;
  readonly availableBlocks: bigint;
  readonly files: bigint;
  readonly freeFiles: bigint;
  readonly blockBytes: number;
  readonly fragmentBytes: number;
}

/** A regular file that is open. Requests may overlap in time. Bytes travel as lists of views, as in BlockStore. */
export interface OpenFile {
  attributes(): Promise<FileAttributes>;
  /** Fills `into` from `offsetBytes`; gives how many bytes there were. */
  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<number>;
  /** Writes all of `from`, at the end if the file was opened to append. */
  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  sync(dataOnly: boolean): Promise<void>;
  /** Waits for requests under way. */
  close(): Promise<void>;

  // ENOSYS where the tree has no such thing.

  /** fallocate(2), with its `mode`. */
  allocate(mode: number, offsetBytes: number, bytes: number): Promise<void>;
  seek(offsetBytes: number, target: SeekTarget): Promise<number>;
  /** Copies to a place in another open file of this tree; gives how many bytes, which may be fewer. */
  copy(fromBytes: number, to: OpenFile, toBytes: number, bytes: number): Promise<number>;
}

/** One file, held: it stays this very file whatever happens to its names. Closed once, when nobody uses it any more. */
export interface FileNode {
  attributes(): Promise<FileAttributes>;
  change(changes: FileChanges): Promise<void>;
  close(): Promise<void>;

  /** Of a regular file; EINVAL of any other, without having touched it. */
  open(mode: OpenMode): Promise<OpenFile>;

  // Extended attributes (xattr(7)); ENOSYS where the tree has none. The names are checked.

  getAttribute(name: Uint8Array): Promise<Uint8Array>;
  /** `flags` as in setxattr(2). */
  setAttribute(name: Uint8Array, value: Uint8Array, flags: number): Promise<void>;
  /** The names, each with a NUL behind it; all that there are. */
  listAttributes(): Promise<Uint8Array>;
  removeAttribute(name: Uint8Array): Promise<void>;

  // Of a folder; ENOTDIR of any other.

  list(): Promise<FolderList>;
  sync(): Promise<void>;
  /** Makes everything on this file system durable; ENOSYS where the tree cannot. */
  syncAll(): Promise<void>;
  statistics(): Promise<FileSystemStatistics>;
  /** What the entry is, a link itself and not what it points to. */
  look(name: Uint8Array): Promise<FileAttributes>;
  hold(name: Uint8Array): Promise<FileNode>;
  readLink(name: Uint8Array): Promise<Uint8Array>;
  /** A new file that was not there before; EEXIST if there is anything of this name. */
  createFile(name: Uint8Array, creation: Creation, mode: OpenMode): Promise<OpenFile>;
  createFolder(name: Uint8Array, creation: Creation): Promise<FileAttributes>;
  createLink(name: Uint8Array, target: Uint8Array, owner: FileOwner): Promise<FileAttributes>;
  removeFile(name: Uint8Array): Promise<void>;
  removeFolder(name: Uint8Array): Promise<void>;
  /** A pipe or a socket: the type is in `mode`. ENOSYS where the tree cannot make them. */
  createSpecial(name: Uint8Array, type: number, creation: Creation): Promise<FileAttributes>;
  /** Both folders are of this tree. Any mode but `replace` may be ENOSYS. */
  rename(name: Uint8Array, toFolder: FileNode, toName: Uint8Array, mode: RenameMode): Promise<void>;
  /** Gives the entry, which is not a folder, a second name; gives what has that name now. */
  link(name: Uint8Array, toFolder: FileNode, toName: Uint8Array): Promise<FileAttributes>;
}

export interface FileTree {
  /** Times are kept in units of this: a power of ten. */
  readonly timeUnitNs: number;
  /** Whether it has extended attributes. */
  readonly hasAttributes: boolean;
  /** Whether it also has POSIX access control lists, whose users are the guest's. Then umask is for it to apply. */
  readonly hasAccessLists: boolean;
  /** The shared folder itself. */
  root(): Promise<FileNode>;
}
