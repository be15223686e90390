/** What a guest has open: files and folders by the numbers it was given for them. */

import type { Saved, SavedReader } from '../../base/saved.ts';
import { FileError } from './errno.ts';
import type { OpenFile, OpenMode } from './file-tree.ts';
import { Listing } from './listing.ts';
import type { KnownNode, NodeTable } from './nodes.ts';

/** Files and folders that a guest may have open at once; one more is ENFILE. */
export const MAXIMUM_HANDLES = 16384;
/** Numbers of handles are below this. */
const LARGEST_ID = 2 ** 48;

const ACCESSES = ['read', 'write', 'both'] as const;
const DURABILITIES = ['no', 'data', 'all'] as const;

interface FileHandle {
  readonly kind: 'file';
  readonly node: KnownNode;
  readonly mode: OpenMode;
  /** Undefined after a restore until it is used: it is opened again then. */
  file: Promise<OpenFile> | undefined;
}

interface FolderHandle {
  readonly kind: 'folder';
  readonly node: KnownNode;
  readonly listing: Listing;
}

export class HandleTable {
  readonly #nodes: NodeTable;
  readonly #byId = new Map<number, FileHandle | FolderHandle>();
  #nextId = 1;

  constructor(nodes: NodeTable) {
    this.#nodes = nodes;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Whether one more may be opened; ask before opening. */
  checkRoom(): void {
    if (this.#byId.size >= MAXIMUM_HANDLES) throw new FileError('ENFILE');
  }

  /** Keeps an open file under a number. The node stays known for as long. */
  addFile(node: KnownNode, mode: OpenMode, file: OpenFile): number {
    return this.#add({ kind: 'file', node, mode: { ...mode, truncate: false }, file: Promise.resolve(file) });
  }

  /** Opens a folder, so that whether it may be read is said now and not with the first name. */
  async openFolder(node: KnownNode): Promise<number> {
    const listing = this.#listing(node);
    await listing.begin();
    return this.#add({ kind: 'folder', node, listing });
  }

  /** The open file of a number, which must be one of `node`; EBADF otherwise. */
  file(id: number, node: KnownNode): Promise<OpenFile> {
    const handle = this.#byId.get(id);
    if (handle?.kind !== 'file' || handle.node !== node) throw new FileError('EBADF');
    handle.file ??= this.#reopen(handle);
    return handle.file;
  }

  folder(id: number, node: KnownNode): Listing {
    const handle = this.#byId.get(id);
    if (handle?.kind !== 'folder' || handle.node !== node) throw new FileError('EBADF');
    return handle.listing;
  }

  async close(id: number, node: KnownNode, kind: 'file' | 'folder'): Promise<void> {
    const handle = this.#byId.get(id);
    if (handle?.kind !== kind || handle.node !== node) throw new FileError('EBADF');
    this.#byId.delete(id);
    await this.#end(handle);
  }

  async closeAll(): Promise<void> {
    const handles = [...this.#byId.values()];
    this.#byId.clear();
    await Promise.allSettled(handles.map((handle) => this.#end(handle)));
  }

  save(): Saved {
    const handles = [...this.#byId].map(([id, handle]) =>
      handle.kind === 'file'
        ? { id, node: handle.node.id, mode: { ...handle.mode }, listing: null }
        : { id, node: handle.node.id, mode: null, listing: handle.listing.save() },
    );
    return { nextId: this.#nextId, handles };
  }

  /** Takes what `save` gave into a table that is new, for nodes that are restored already. */
  restore(reader: SavedReader): void {
    const nextId = reader.field('nextId').integer(1, LARGEST_ID);
    const list = reader.field('handles').list();
    if (list.length > MAXIMUM_HANDLES) reader.refuse('holds too many handles');
    for (const item of list) {
      const id = item.field('id').integer(1, nextId - 1);
      const node = this.#nodes.restored(item.field('node'));
      const mode = item.field('mode');
      if (this.#byId.has(id)) item.refuse('is there twice');
      if (mode.raw() === null) {
        if (!node.isFolder) item.refuse('lists a file');
        const listing = this.#listing(node);
        listing.restore(item.field('listing'));
        this.#byId.set(id, { kind: 'folder', node, listing });
      } else {
        if (item.field('listing').raw() !== null || node.isFolder) item.refuse('is a file and a folder');
        this.#byId.set(id, { kind: 'file', node, mode: restoredMode(mode), file: undefined });
      }
      this.#nodes.retain(node);
    }
    this.#nextId = nextId;
  }

  #add(handle: FileHandle | FolderHandle): number {
    const id = this.#nextId++;
    this.#byId.set(id, handle);
    this.#nodes.retain(handle.node);
    return id;
  }

  #listing(node: KnownNode): Listing {
    return new Listing(() => this.#nodes.withRoom(() => this.#nodes.using(node, (folder) => folder.list())));
  }

  async #reopen(handle: FileHandle): Promise<OpenFile> {
    try {
      return await this.#nodes.withRoom(() => this.#nodes.using(handle.node, (file) => file.open(handle.mode)));
    } catch (error) {
      handle.file = undefined;
      throw error;
    }
  }

  async #end(handle: FileHandle | FolderHandle): Promise<void> {
    try {
      if (handle.kind === 'folder') await handle.listing.close();
      else await (await handle.file)?.close();
    } finally {
      this.#nodes.release(handle.node);
    }
  }
}

function restoredMode(reader: SavedReader): OpenMode {
  const word = <Word extends string>(key: string, words: readonly Word[]): Word => {
    const field = reader.field(key);
    const text = field.text();
    return words.find((one) => one === text) ?? field.refuse('is not among what there is');
  };
  return {
    access: word('access', ACCESSES),
    append: reader.field('append').boolean(),
    truncate: reader.field('truncate').boolean(),
    durable: word('durable', DURABILITIES),
  };
}
