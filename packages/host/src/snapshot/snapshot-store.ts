/**
 * A folder with snapshots, each a folder of its own by its name: what a virtual machine has in `snapshots`. Whatever happens while one is
 * written, the others stay whole: it is written beside them under another name, made durable, and renamed.
 *
 *     FOLDER/NAME/   manifest.json   index   pages   and a file for each disk that has a point of its own
 */

import { readdirSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  type OpenSnapshot,
  type PointedDisks,
  openSnapshot,
  SnapshotError,
  type SnapshotManifest,
  type SnapshotRequest,
  type TakenSnapshot,
  holdPoint,
  verifyPack,
} from '@ringfence/core';
import { systemReason } from '../failure.ts';
import type { OpenedDisk } from '../disk/disks.ts';
import { checkDisks, pointDisks, verifyDisks } from './disk-points.ts';
import { FileDigests } from './file-digests.ts';
import { nodeSnapshotCodec } from './node-codec.ts';
import type { SharedPages } from './shared-pages.ts';
import {
  isAbandoned,
  finishSnapshotFolder,
  isFolder,
  NewSnapshotFolder,
  SnapshotFolder,
  type SnapshotHead,
  newUnfinished,
  UNFINISHED,
} from './snapshot-folder.ts';

const NAME = /^[a-z0-9](?:[a-z0-9_.-]{0,62})$/i;

/** What a store adds to a request by itself. */
export type StoredRequest = Omit<SnapshotRequest, 'codec' | 'sink' | 'parent' | 'disks'> & {
  /** The name of the snapshot that this one builds on. */
  readonly parent?: OpenStoredSnapshot | undefined;
  /** The machine's. */
  readonly disks?: readonly OpenedDisk[] | undefined;
};

/** A snapshot of a store, with its files open until `close`. */
export interface OpenStoredSnapshot extends OpenSnapshot {
  readonly name: string;
  readonly folder: string;
  /** The path of a file beside its manifest. */
  readonly pathOf: (file: string) => string;
  close(): void;
}

export interface StoredSnapshot extends SnapshotHead {
  readonly name: string;
}

export class SnapshotStore {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Takes a snapshot by that name; resolves when it is whole and durable. Rejects with a SnapshotError, and nothing is left of it. */
  async take(name: string, request: StoredRequest): Promise<TakenSnapshot> {
    const { finished } = await this.hold(name, request);
    return finished;
  }

  /** As `take`, and resolves as soon as the guest goes on; `finished` when the snapshot is whole. */
  async hold(name: string, request: StoredRequest): Promise<{ readonly finished: Promise<TakenSnapshot> }> {
    const { written } = await this.write(name, request);
    const finished = written.then(async ({ taken, path }) => {
      await this.finish(name, path);
      return taken;
    });
    finished.catch(() => undefined);
    return { finished };
  }

  /** Puts into its place, durably, what was written beside it. */
  async finish(name: string, path: string): Promise<void> {
    const place = this.#placeOf(name);
    if (dirname(path) !== this.folder || !UNFINISHED.test(basename(path)))
      throw new Error(`${path} is no snapshot of the store ${this.folder} that was being written`);
    try {
      await finishSnapshotFolder(path, place);
    } catch (error) {
      await rm(path, { recursive: true, force: true });
      throw asSnapshotError(name, error);
    }
  }

  /** What was being written when nobody is there any more who would put it into its place. */
  async removeUnfinished(): Promise<void> {
    const names = await readdir(this.folder).catch(() => []);
    for (const name of names)
      if (UNFINISHED.test(name)) await rm(join(this.folder, name), { recursive: true, force: true });
  }

  /** As `hold`, but that it is left to `finish` to put it into its place. */
  async write(
    name: string,
    request: StoredRequest,
  ): Promise<{ readonly written: Promise<{ readonly taken: TakenSnapshot; readonly path: string }> }> {
    const place = this.#placeOf(name);
    if (isFolder(place)) throw new SnapshotError('exists', `there is a snapshot "${name}" already`);
    const { disks = [], parent, ...rest } = request;
    const made = await this.#attempt(name, () => NewSnapshotFolder.create(place));
    await this.#removeAbandoned();
    let points: PointedDisks | undefined;
    const dropped = async (error: unknown): Promise<never> => {
      await points?.release();
      await made.drop();
      throw asSnapshotError(name, error);
    };
    try {
      if (disks.length > 0) points = await pointDisks(disks, this.folder, made.path, parent);
      const point = await holdPoint({ ...rest, codec: nodeSnapshotCodec, sink: made, parent, disks: points });
      const written = point
        .write()
        .then(async (taken) => {
          await made.close();
          return { taken, path: made.path };
        })
        .catch(dropped);
      written.catch(() => undefined);
      return { written };
    } catch (error) {
      return dropped(error);
    }
  }

  /**
   * Opens a snapshot and checks it, all its pages too unless `verify` is false; throws a SnapshotError with the reason. `all`: what `list` gave,
   * for who opens one after the other. `files`: its own, where they are open; they are closed with it, or when it is not to be used.
   */
  open(
    name: string,
    {
      verify = true,
      all,
      files,
    }: {
      readonly verify?: boolean;
      readonly all?: readonly StoredSnapshot[];
      readonly files?: SnapshotFolder | undefined;
    } = {},
  ): OpenStoredSnapshot {
    const place = this.#placeOf(name);
    if (files === undefined && !isFolder(place)) throw new SnapshotError('not-found', `there is no snapshot "${name}"`);
    const opened: SnapshotFolder[] = [];
    const openFolder = (path: string, folder = new SnapshotFolder(path)): SnapshotFolder => {
      opened.push(folder);
      return folder;
    };
    const close = (): void => {
      for (const folder of opened) folder.close();
    };
    try {
      const shared: { -readonly [K in keyof SharedPages]: SharedPages[K] } = { id: '', packs: [] };
      let known: ReadonlyMap<string, string> | undefined;
      const snapshot = openSnapshot(openFolder(place, files), {
        codec: nodeSnapshotCodec,
        verify,
        shared,
        parent: (id) => {
          known ??= new Map((all ?? this.list()).map((one) => [one.id, one.name]));
          const parentName = known.get(id);
          if (parentName === undefined) return undefined;
          return openFolder(join(this.folder, parentName));
        },
      });
      [shared.id, shared.packs] = [snapshot.manifest.id, opened.map(({ openFiles }) => openFiles)];
      checkDisks(snapshot.manifest, place, verify);
      return { ...snapshot, name, folder: place, pathOf: (file) => join(place, file), close };
    } catch (error) {
      close();
      throw asSnapshotError(name, error);
    }
  }

  /** Reads all of a snapshot and what it builds on, while others have the thread; rejects with a SnapshotError when it is not to be used. */
  async verify(name: string): Promise<SnapshotManifest> {
    const opened = this.open(name, { verify: false });
    opened.close();
    const { manifest, folder } = opened;
    const digests = new FileDigests(this.folder);
    try {
      const names = new Map(this.list().map((one) => [one.id, one.name]));
      for (const pack of manifest.memory.packs) {
        const files = new SnapshotFolder(join(this.folder, names.get(pack.snapshot) ?? ''));
        try {
          const steps = verifyPack(files, pack, nodeSnapshotCodec);
          while (steps.next().done !== true) await nodeSnapshotCodec.turn();
        } finally {
          files.close();
        }
      }
      await verifyDisks(manifest, folder, digests);
      return manifest;
    } catch (error) {
      throw asSnapshotError(name, error);
    }
  }

  /** All there are, by name. What is in the folder and no snapshot is left out. */
  list(): readonly StoredSnapshot[] {
    let names: string[];
    try {
      names = readdirSync(this.folder);
    } catch {
      return [];
    }
    return names
      .filter((name) => NAME.test(name))
      .toSorted()
      .flatMap((name) => {
        const head = headOf(join(this.folder, name));
        return head === undefined ? [] : [{ name, ...head }];
      });
  }

  /** Removes a snapshot that no other builds on. */
  async remove(name: string): Promise<void> {
    const place = this.#placeOf(name);
    if (!isFolder(place)) throw new SnapshotError('not-found', `there is no snapshot "${name}"`);
    const all = this.list();
    const id = all.find((one) => one.name === name)?.id;
    const child = id === undefined ? undefined : all.find(({ parent }) => parent === id);
    if (child !== undefined)
      throw new SnapshotError('in-use', `the snapshot "${child.name}" builds on "${name}"; remove that one first`);
    // Not half of it is left in its place when this is interrupted.
    const aside = newUnfinished(this.folder);
    await this.#attempt(name, async () => {
      await rename(place, aside);
      await rm(aside, { recursive: true, force: true });
    });
  }

  #placeOf(name: string): string {
    if (!NAME.test(name))
      throw new SnapshotError(
        'not-found',
        `"${name}" is no name of a snapshot; use letters, digits, dots, dashes and underscores`,
      );
    return join(this.folder, name);
  }

  /** What processes that are gone have left unfinished. */
  async #removeAbandoned(): Promise<void> {
    for (const name of readdirSync(this.folder))
      if (UNFINISHED.test(name) && isAbandoned(name))
        await rm(join(this.folder, name), { recursive: true, force: true }).catch(() => undefined);
  }

  async #attempt<T>(name: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw asSnapshotError(name, error);
    }
  }
}

/** One sentence that names the snapshot. */
function asSnapshotError(name: string, error: unknown): SnapshotError {
  if (!(error instanceof SnapshotError))
    return new SnapshotError('unavailable', `the snapshot "${name}" cannot be written: ${systemReason(error)}`, error);
  if (error.message.startsWith('the snapshot') || error.message.startsWith('there is')) return error;
  const verb = error.code === 'not-now' || error.code === 'too-many' ? 'taken' : 'used';
  return new SnapshotError(error.code, `the snapshot "${name}" cannot be ${verb}: ${error.message}`, error);
}

function headOf(path: string): SnapshotHead | undefined {
  using files = new SnapshotFolder(path);
  try {
    return files.head;
  } catch {
    return undefined;
  }
}
