/** The folder of one snapshot: its files to read, and a new one that nobody sees before it is whole and durable. */

import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, readSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { MANIFEST_FILE, type SnapshotFiles, type SnapshotSink, vectorAfter } from '@ringfence/core';
import { openRegularSync } from '../regular-file.ts';
import { syncFolder } from '../sync-folder.ts';

/** How the folder of a snapshot is called that is being written: by which process, and something that no other has. */
export const UNFINISHED = /^\.new-(\d+)-[0-9a-f]+$/;

/** Another one of this process, in a folder. */
export function newUnfinished(parent: string): string {
  return join(parent, `.new-${process.pid}-${randomBytes(8).toString('hex')}`);
}

/** All of those that there may be in a folder, for who says what a process may write (Node, "Permissions"). */
export function unfinishedIn(parent: string): string {
  return join(parent, '.new-*');
}

/** A manifest says its id and its parent at its beginning. */
const HEAD_BYTES = 1024;
const ID = /^\{"format":"ringfence-snapshot","version":\d+,"id":"([0-9a-f]{32})"/;
const PARENT = /"parent":(?:null|"([0-9a-f]{32})"),/;

/** Which snapshot it is, and on which it builds. */
export interface SnapshotHead {
  readonly id: string;
  readonly parent: string | undefined;
}

/** Plain data for another thread of this process: the files of a snapshot, those with their descriptors that are open. */
export interface OpenFiles {
  readonly path: string;
  readonly descriptors: readonly (readonly [file: string, fd: number])[];
}

/** The files of a snapshot. Files that were opened stay so until `close`, also when the snapshot is removed meanwhile. */
export class SnapshotFolder implements SnapshotFiles, Disposable {
  readonly path: string;
  readonly #open = new Map<string, { readonly fd: number; readonly bytes: number }>();

  constructor(path: string) {
    this.path = path;
  }

  /** As another thread has them open, which closes them. */
  static of({ path, descriptors }: OpenFiles): SnapshotFolder {
    const files = new SnapshotFolder(path);
    for (const [file, fd] of descriptors) files.#add(file, fd);
    return files;
  }

  get openFiles(): OpenFiles {
    return { path: this.path, descriptors: [...this.#open].map(([file, { fd }]) => [file, fd]) };
  }

  /** As its manifest says at its beginning, unchecked; undefined when there is none. */
  get head(): SnapshotHead | undefined {
    const bytes = new Uint8Array(Math.min(this.sizeOf(MANIFEST_FILE) ?? 0, HEAD_BYTES));
    if (bytes.length > 0) this.read(MANIFEST_FILE, 0, bytes);
    const head = new TextDecoder().decode(bytes);
    const id = ID.exec(head)?.[1];
    return id === undefined ? undefined : { id, parent: PARENT.exec(head)?.[1] };
  }

  sizeOf(file: string): number | undefined {
    return this.#file(file)?.bytes;
  }

  read(file: string, offsetBytes: number, into: Uint8Array): void {
    const opened = this.#file(file);
    if (opened === undefined) throw new Error(`${join(this.path, file)} is missing`);
    for (let at = 0; at < into.length;) {
      const count = readSync(opened.fd, into, at, into.length - at, offsetBytes + at);
      if (count === 0) throw new Error(`${join(this.path, file)} ends too soon`);
      at += count;
    }
  }

  close(): void {
    for (const { fd } of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #file(file: string): { readonly fd: number; readonly bytes: number } | undefined {
    const known = this.#open.get(file);
    if (known !== undefined) return known;
    let fd: number;
    try {
      fd = openRegularSync(join(this.path, file));
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
    return this.#add(file, fd);
  }

  #add(file: string, fd: number): { readonly fd: number; readonly bytes: number } {
    const opened = { fd, bytes: fstatSync(fd).size };
    this.#open.set(file, opened);
    return opened;
  }
}

/** So much is written before it is sent to the disk. */
const SYNCED_BYTES = 4 * 1024 * 1024;

/** A folder that becomes a snapshot (`finishSnapshotFolder`); until then it is beside its place under another name, and gone after `drop`. */
export class NewSnapshotFolder implements SnapshotSink {
  /** Where it is as long as it is not finished. */
  readonly path: string;
  readonly #files = new Map<string, FileHandle>();
  readonly #unsynced = new Map<string, number>();
  #syncing: Promise<unknown> | undefined;
  /** The system says once, to who asks first, that it could not write something: whoever asks later hears nothing of it. */
  #lost: { readonly error: unknown } | undefined;

  /** For the snapshot at `place`. */
  static async create(place: string): Promise<NewSnapshotFolder> {
    const parent = dirname(place);
    // Who may not make it may use it.
    if (!isFolder(parent)) mkdirSync(parent, { recursive: true, mode: 0o700 });
    const path = newUnfinished(parent);
    await mkdir(path, { mode: 0o700 });
    return new NewSnapshotFolder(path);
  }

  private constructor(path: string) {
    this.path = path;
  }

  async append(file: string, ...parts: readonly Uint8Array[]): Promise<void> {
    this.#checkWritten();
    let handle = this.#files.get(file);
    if (handle === undefined) {
      handle = await open(join(this.path, file), 'a', 0o600);
      this.#files.set(file, handle);
    }
    let bytes = 0;
    for (let left = parts; left.length > 0;) {
      const { bytesWritten } = await handle.writev(left);
      bytes += bytesWritten;
      left = vectorAfter(left, bytesWritten);
    }
    this.#early(file, handle, bytes);
  }

  /** What is written goes to the disk while more comes: less is left to wait for at the end. */
  #early(file: string, handle: FileHandle, bytes: number): void {
    // Node's permission model lets no process do this; who puts the folder into its place does it there.
    if (process.permission !== undefined) return;
    const unsynced = (this.#unsynced.get(file) ?? 0) + bytes;
    const isDue = unsynced >= SYNCED_BYTES && this.#syncing === undefined;
    this.#unsynced.set(file, isDue ? 0 : unsynced);
    if (!isDue) return;
    const done = handle.datasync().catch((error: unknown) => void (this.#lost ??= { error }));
    this.#syncing = done.finally(() => (this.#syncing = undefined));
  }

  async drop(): Promise<void> {
    await this.close().catch(() => undefined);
    await rm(this.path, { recursive: true, force: true });
  }

  /** Rejects when something of what was appended did not come to the disk, as far as that is known already. */
  async close(): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    await this.#syncing;
    await Promise.all(files.map((file) => file.close()));
    this.#checkWritten();
  }

  #checkWritten(): void {
    if (this.#lost !== undefined) throw this.#lost.error;
  }
}

/** Makes a folder durable in which a snapshot was written, and puts it into its place, where nothing is. */
export async function finishSnapshotFolder(path: string, place: string): Promise<void> {
  await Promise.all([
    ...(await readdir(path)).map(async (name) => {
      await using file = await open(join(path, name), 'r');
      await file.sync();
    }),
    syncFolder(path),
  ]);
  await rename(path, place);
  await syncFolder(dirname(place));
}

/** Whether the process that began this folder is gone. */
export function isAbandoned(name: string): boolean {
  return isGone(Number(UNFINISHED.exec(basename(name))?.[1]));
}

/** Whether there was a process of that number and is none any more; of what is no number nobody knows. */
export function isGone(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH';
  }
}

/** Whether there is a folder. */
export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
