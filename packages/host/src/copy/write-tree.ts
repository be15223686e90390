/**
 * Makes on this computer what the steps of a copy say. The steps are a guest's word, and a guest may share folders with this computer: so
 * every name is made in a folder that is held open, and no symbolic link is followed below the root of the copy (held-folder.ts). What is no
 * folder, file or link is left out. A file is written under another name and takes its place when it is whole, so that a copy which breaks off
 * leaves the one that was there.
 *
 * INVARIANT: the folders from the root to where the last step was are open, and no others.
 */

import { hash, randomInt } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, lstat, mkdir, open, realpath, rename, symlink, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { AgentFileStatus, AgentTreeStep } from '@ringfence/core';
import { harmless, HostError, systemReason } from '../failure.ts';
import { HOLD_FOLDER, type HeldFolder, pathIn, placeIn } from './held-folder.ts';

/** The folder that the copy goes into: it may be reached through a link. */
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY;
/** What a file is called until it is whole; a number follows that makes it its own. */
const UNFINISHED = '.ringfence-copy-';
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Set-user-ID and set-group-ID are for who keeps owners. */
const PERMISSIONS = 0o777;
const NS_PER_SECOND = 1e9;
const SLASH = Buffer.from('/');

export interface WriteTreeOptions {
  /** Files belong to the numbers that the steps name, and keep all of their mode; only root may. */
  readonly keepOwners?: boolean;
  /** A link at the root's own name is the user's word, and what it leads to is written. Otherwise it is in the way like any other. */
  readonly follow?: boolean;
  /** Called with each path that is left out: sockets, devices, pipes. */
  readonly onLeftOut?: (path: string) => void;
}

/** Makes the root of the copy at `path`, whose folder must be there. */
export async function writeTree(
  path: string,
  steps: AsyncIterable<AgentTreeStep>,
  options: WriteTreeOptions = {},
): Promise<void> {
  const writer = new TreeWriter(path, options);
  try {
    for await (const step of steps) await writer.take(step);
    await writer.finish();
  } finally {
    await writer.close();
  }
}

interface OpenFolder extends HeldFolder {
  readonly name: Uint8Array;
  /** What it is to become when all is in it; undefined when it was there before. */
  readonly status: AgentFileStatus | undefined;
}

interface OpenFile {
  readonly handle: FileHandle;
  readonly path: Buffer;
  readonly status: AgentFileStatus;
  /** Paths in its folder, which stays open until the file is done with. */
  readonly unfinished: Buffer;
  readonly place: Buffer;
}

class TreeWriter {
  readonly #root: string;
  readonly #options: WriteTreeOptions;
  /** The folder that the root of the copy is in. */
  #above: OpenFolder | undefined;
  readonly #folders: OpenFolder[] = [];
  #file: OpenFile | undefined;
  /** Files that this copy has made, by their paths in it. */
  readonly #made = new Set<string>();
  #isBegun = false;

  constructor(root: string, options: WriteTreeOptions) {
    this.#root = root;
    this.#options = options;
  }

  async take(step: AgentTreeStep): Promise<void> {
    if (step.kind === 'data') {
      await this.#write(step.bytes, step.offsetBytes);
      return;
    }
    await this.#finishFile();
    if (!this.#isBegun) {
      this.#isBegun = true;
      if (step.kind !== 'entry' || step.path.length > 0) throw nonsense();
      await this.#begin(step.status);
      return;
    }
    const name = step.path.at(-1);
    if (name === undefined) throw nonsense();
    const folder = await this.#folderOf(step.path);
    if (step.kind === 'hard-link') await this.#link(folder, name, step.path, step.to);
    else await this.#make(folder, name, step.path, step.status);
  }

  async finish(): Promise<void> {
    await this.#finishFile();
    while (this.#folders.length > 0) await this.#leaveFolder();
    if (!this.#isBegun) throw nonsense();
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) {
      await file.handle.close().catch(() => undefined);
      await unlink(file.unfinished).catch(() => undefined);
    }
    for (const { handle } of this.#folders.splice(0)) await handle.close();
    await this.#above?.handle.close();
  }

  async #begin(status: AgentFileStatus): Promise<void> {
    const path = this.#options.follow === true ? await realpath(this.#root).catch(() => this.#root) : this.#root;
    const there = await lstat(path).catch(() => undefined);
    if (status.kind === 'folder' && there?.isDirectory() === true) {
      const root = Buffer.from(this.#root);
      const handle = await open(path, HOLD_FOLDER).catch((error: unknown) => cannotWrite(root, error));
      this.#folders.push({ handle, path: root, name: new Uint8Array(0), status: undefined });
      return;
    }
    const parent = Buffer.from(dirname(path));
    const handle = await open(parent, FOLDER).catch((error: unknown) => cannotWrite(parent, error));
    this.#above = { handle, path: parent, name: new Uint8Array(0), status: undefined };
    await this.#make(this.#above, Buffer.from(basename(path)), [], status);
  }

  /** The folder of a path; folders that are done with are left. */
  async #folderOf(path: readonly Uint8Array[]): Promise<OpenFolder> {
    // The root has no name of its own, so that the folder of a path with n names is the nth one.
    while (this.#folders.length > path.length) await this.#leaveFolder();
    const isThere = this.#folders.every(({ name }, depth) => depth === 0 || isSame(name, path[depth - 1]));
    const folder = this.#folders.at(-1);
    if (folder === undefined || this.#folders.length !== path.length || !isThere) throw nonsense();
    return folder;
  }

  async #make(
    folder: OpenFolder,
    name: Uint8Array,
    path: readonly Uint8Array[],
    status: AgentFileStatus,
  ): Promise<void> {
    const at = pathIn(folder, name);
    const place = placeIn(folder, name);
    try {
      switch (status.kind) {
        case 'folder': {
          const isNew = await mkdir(place, 0o700).then(
            () => true,
            (error: unknown) => {
              if (codeOf(error) === 'EEXIST') return false;
              throw error;
            },
          );
          const handle = await open(place, HOLD_FOLDER);
          this.#folders.push({ handle, path: at, name, status: isNew ? status : undefined });
          return;
        }
        case 'file': {
          await checkRoom(place, at);
          const unfinished = placeIn(folder, Buffer.from(`${UNFINISHED}${randomInt(2 ** 47)}`));
          const handle = await open(unfinished, NEW_FILE, 0o600);
          this.#file = { handle, path: at, status, unfinished, place };
          this.#made.add(keyOf(path));
          await handle.truncate(status.sizeBytes);
          return;
        }
        case 'symlink':
          await makeRoom(place, at);
          await symlink(Buffer.from(status.target), place);
          return;
        default:
          this.#options.onLeftOut?.(shown(at));
      }
    } catch (error) {
      cannotWrite(at, error);
    }
  }

  async #link(
    folder: OpenFolder,
    name: Uint8Array,
    path: readonly Uint8Array[],
    to: readonly Uint8Array[],
  ): Promise<void> {
    if (!this.#made.has(keyOf(to))) throw nonsense();
    const at = pathIn(folder, name);
    const opened: FileHandle[] = [];
    try {
      let from = this.#folders[0];
      for (const each of to.slice(0, -1)) {
        if (from === undefined) throw nonsense();
        const handle = await open(placeIn(from, each), HOLD_FOLDER);
        opened.push(handle);
        from = { handle, path: pathIn(from, each), name: each, status: undefined };
      }
      const last = to.at(-1);
      if (from === undefined || last === undefined) throw nonsense();
      const place = placeIn(folder, name);
      await makeRoom(place, at);
      await link(placeIn(from, last), place);
      this.#made.add(keyOf(path));
    } catch (error) {
      cannotWrite(at, error);
    } finally {
      for (const handle of opened) await handle.close();
    }
  }

  async #write(bytes: Uint8Array, offsetBytes: number): Promise<void> {
    const file = this.#file;
    if (file === undefined) throw nonsense();
    if (offsetBytes + bytes.length > file.status.sizeBytes) throw nonsense();
    try {
      for (let done = 0; done < bytes.length;) {
        const { bytesWritten } = await file.handle.write(bytes, done, bytes.length - done, offsetBytes + done);
        done += bytesWritten;
      }
    } catch (error) {
      cannotWrite(file.path, error);
    }
  }

  async #finishFile(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return;
    await this.#finishHandle(file.handle, file.path, file.status);
    await rename(file.unfinished, file.place).catch((error: unknown) => cannotWrite(file.path, error));
    this.#file = undefined;
  }

  async #leaveFolder(): Promise<void> {
    const folder = this.#folders.pop();
    if (folder === undefined) return;
    if (folder.status === undefined) await folder.handle.close();
    else await this.#finishHandle(folder.handle, folder.path, folder.status);
  }

  async #finishHandle(handle: FileHandle, path: Buffer, { uid, gid, mode, mtimeNs }: AgentFileStatus): Promise<void> {
    const { keepOwners = false } = this.#options;
    try {
      if (keepOwners) await handle.chown(uid, gid);
      await handle.chmod(keepOwners ? mode : mode & PERMISSIONS);
      const seconds = Number(mtimeNs) / NS_PER_SECOND;
      await handle.utimes(seconds, seconds);
    } catch (error) {
      cannotWrite(path, error);
    } finally {
      await handle.close();
    }
  }
}

/** Whether a file or link is there, which may be replaced. Nothing else may: a device would be gone, and a folder is no file. */
async function checkRoom(place: Buffer, path: Buffer): Promise<boolean> {
  const there = await lstat(place).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (there !== undefined && !there.isFile() && !there.isSymbolicLink())
    throw new HostError('unavailable', `"${shown(path)}" is no file, and is not replaced by one`);
  return there !== undefined;
}

async function makeRoom(place: Buffer, path: Buffer): Promise<void> {
  if (await checkRoom(place, path)) await unlink(place);
}

function isSame(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0;
}

/** Stands for a path; a hash, for a guest may make up any number of paths, each as long as 256 names are. Names hold no slash. */
function keyOf(path: readonly Uint8Array[]): string {
  const names = path.flatMap((name) => [name, SLASH]);
  return hash('sha256', Buffer.concat(names), 'base64');
}

/** A path as people are told it. */
function shown(path: Buffer): string {
  return harmless(path.toString());
}

function nonsense(): HostError {
  return new HostError('protocol', 'the guest sent a copy that makes no sense');
}

function cannotWrite(path: Buffer, error: unknown): never {
  if (error instanceof HostError) throw error;
  const reason =
    codeOf(error) === 'ELOOP' || codeOf(error) === 'ENOTDIR'
      ? 'there is something else in its place'
      : systemReason(error);
  throw new HostError('unavailable', `"${shown(path)}" cannot be written: ${reason}`, error);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
