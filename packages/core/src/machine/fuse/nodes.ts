/**
 * The files that a guest knows: its numbers for them, how often it counts on each, and where each was last seen.
 *
 *     number  ->  KnownNode { identity, place: (folder, name), lookups }  ->  FileNode, held while there is room for it
 *
 * A guest may know a million files, and a host process cannot hold so many open. So a node is held only while it is used and some time
 * after; then it is let go, and found again at its place when it is needed, which must lead to the same identity, or the answer is
 * ESTALE and the guest looks the name up anew. A machine that was restored begins like that: with nothing held.
 *
 * INVARIANT: a node's place is an entry of `children` of the folder it names, and no entry of `children` is without such a node; places
 * lead to the root. A node is in the table while the guest counts on it, a request or handle uses it, or it has children.
 */

import { assert, defined } from '../../base/assert.ts';
import type { Saved, SavedReader } from '../../base/saved.ts';
import { ROOT_ID } from './abi.ts';
import { ERRNO, FileError } from './errno.ts';
import type { FileAttributes, FileNode, FileTree } from './file-tree.ts';
import { FILE_TYPE } from './file-tree.ts';
import { checkedName, nameKey, nameOfKey } from './names.ts';

/** Files that a guest may know at once, in all its trees; a guest that wants more is told ENFILE. */
export const MAXIMUM_NODES = 1 << 20;
/** Nodes held (a file descriptor each) that nobody uses at the moment. */
export const MAXIMUM_IDLE_HELD = 512;
/** Nodes without a name, which only their holding keeps reachable. Beyond it the oldest are lost to the guest, as ESTALE. */
export const MAXIMUM_NAMELESS_HELD = 512;
/** Numbers of nodes are below this. */
const LARGEST_ID = 2 ** 48;
const LARGEST_COUNT = 2 ** 52;

interface Place {
  readonly folder: KnownNode;
  readonly key: string;
}

/** What a file is by, apart from its names. */
type Identity = Pick<FileAttributes, 'device' | 'ino' | 'birthNs'>;

export class KnownNode {
  readonly id: number;
  /** Undefined only for the root that nobody has looked at yet. */
  identity: Identity | undefined;
  readonly isFolder: boolean;
  place: Place | undefined;
  /** By nameKey. */
  readonly children = new Map<string, KnownNode>();
  /** How often the guest was told of it and has not forgotten it. */
  lookups = 0;
  /** Requests under way and open handles. */
  uses = 0;
  held: Promise<FileNode> | undefined;
  /** What an open file's pages were read from, if the guest keeps any: they are good while this stays so. */
  content: { readonly sizeBytes: number; readonly modifiedNs: bigint; readonly changedNs: bigint } | undefined;

  constructor(id: number, identity: Identity | undefined, isFolder: boolean) {
    this.id = id;
    this.identity = identity;
    this.isFolder = isFolder;
  }
}

/** The tables of one machine's guest, which have room for so many nodes together. */
export class NodeBudget {
  readonly #maximum: number;
  readonly #tables = new Set<NodeTable>();

  constructor(maximum = MAXIMUM_NODES) {
    this.#maximum = maximum;
  }

  add(table: NodeTable): void {
    this.#tables.add(table);
  }

  remove(table: NodeTable): void {
    this.#tables.delete(table);
  }

  /** How many more there may be. */
  get room(): number {
    let room = this.#maximum;
    for (const { size } of this.#tables) room -= size;
    return room;
  }
}

export class NodeTable {
  readonly #tree: FileTree;
  readonly #budget: NodeBudget;
  readonly #byId = new Map<number, KnownNode>();
  readonly #byIdentity = new Map<string, KnownNode>();
  /** Nodes that are held and idle, least recently used first: those that a place leads to, and those without one. */
  readonly #idle = new Set<KnownNode>();
  readonly #nameless = new Set<KnownNode>();
  readonly #root: KnownNode;
  #nextId = ROOT_ID + 1;
  #isClosed = false;

  constructor(tree: FileTree, budget = new NodeBudget()) {
    this.#tree = tree;
    this.#budget = budget;
    budget.add(this);
    this.#root = new KnownNode(ROOT_ID, undefined, true);
    this.#byId.set(ROOT_ID, this.#root);
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Nodes held and used by nobody. */
  get idleHeld(): number {
    return this.#idle.size + this.#nameless.size;
  }

  /** The node of a number that the guest uses; a number it was never given, or has given back, is ESTALE. */
  get(id: number): KnownNode {
    const node = this.#byId.get(id);
    if (node === undefined || (node !== this.#root && node.lookups === 0)) throw new FileError('ESTALE');
    return node;
  }

  /** The node of a file that was just seen under `name` in `folder`. Says nothing to the guest yet: see `told`. */
  seen(folder: KnownNode, name: Uint8Array, attributes: FileAttributes): KnownNode {
    const key = nameKey(name);
    const isFolder = (attributes.mode & FILE_TYPE.mask) === FILE_TYPE.folder;
    let node = this.#byIdentity.get(identityKey(attributes));
    if (node === undefined || node.isFolder !== isFolder) {
      if (this.#budget.room <= 0) throw new FileError('ENFILE');
      node = new KnownNode(this.#nextId++, identityOf(attributes), isFolder);
      this.#byId.set(node.id, node);
      this.#byIdentity.set(identityKey(attributes), node);
    }
    this.#place(node, folder, key);
    return node;
  }

  /** The guest is told of the node once more. */
  told(node: KnownNode): void {
    if (node.lookups < LARGEST_COUNT) node.lookups++;
  }

  /** The guest gives back `count` of what it was told. Gives false for a number or count it never had. */
  forget(id: number, count: number): boolean {
    const node = this.#byId.get(id);
    if (id === ROOT_ID) return true;
    if (node === undefined || count > node.lookups) return false;
    node.lookups -= count;
    this.#dropIfUnneeded(node);
    return true;
  }

  /** Whatever `act` does with the file itself. The file stays held until that is over. */
  async using<Result>(node: KnownNode, act: (file: FileNode) => Promise<Result>): Promise<Result> {
    this.retain(node);
    try {
      return await act(await this.#reach(node));
    } finally {
      this.release(node);
    }
  }

  /** Opens something; where the host has no room for one more open file, idle ones make it. */
  async withRoom<Result>(open: () => Promise<Result>): Promise<Result> {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof FileError) || (error.errno !== ERRNO.EMFILE && error.errno !== ERRNO.ENFILE)) throw error;
      const idle = [...this.#idle];
      this.#idle.clear();
      await Promise.all(idle.map(letGo));
      return open();
    }
  }

  /** The attributes, with as little opening as possible. */
  async attributes(node: KnownNode): Promise<FileAttributes> {
    const { place } = node;
    if (node.held !== undefined || place === undefined) return this.using(node, (file) => file.attributes());
    const attributes = await this.using(place.folder, (folder) => folder.look(nameOfKey(place.key)));
    if (!isSame(node.identity, attributes)) throw this.#stale(node);
    return attributes;
  }

  /** Keeps a node in the table, for a handle. */
  retain(node: KnownNode): void {
    node.uses++;
    this.#notIdle(node);
  }

  release(node: KnownNode): void {
    node.uses--;
    assert(node.uses >= 0, 'a node was released too often');
    this.#idleIfHeld(node);
    this.#trim();
    this.#dropIfUnneeded(node);
  }

  /** The node whose place is `name` in `folder`, if the table knows one. */
  at(folder: KnownNode, name: Uint8Array): KnownNode | undefined {
    return folder.children.get(nameKey(name));
  }

  /** Before a name goes away: what only this name leads to is held from here on, as far as there is room. */
  async keepNameless(node: KnownNode | undefined): Promise<void> {
    if (node === undefined || node === this.#root) return;
    try {
      await this.using(node, () => Promise.resolve());
    } catch (error) {
      // It is not there any more, or is another one: then nothing is lost with its name.
      if (!(error instanceof FileError)) throw error;
    }
  }

  /** A name has gone away. */
  unnamed(folder: KnownNode, name: Uint8Array): void {
    const node = this.at(folder, name);
    if (node !== undefined) this.#unplace(node);
  }

  /** An entry has moved, and what was at its new place has lost its name. */
  moved(folder: KnownNode, name: Uint8Array, toFolder: KnownNode, toName: Uint8Array): void {
    const node = this.at(folder, name);
    const target = this.at(toFolder, toName);
    // Two names of one file: rename(2) does nothing then.
    if (node !== undefined && node === target) return;
    this.unnamed(toFolder, toName);
    if (node === undefined) return;
    // A folder cannot come to lie in itself. The host refuses it; what the table says may be older than what the host knows.
    if (this.#isWithin(toFolder, node)) this.#unplace(node);
    else this.#place(node, toFolder, nameKey(toName));
  }

  /** Two entries have changed places. */
  exchanged(folder: KnownNode, name: Uint8Array, other: KnownNode, otherName: Uint8Array): void {
    const [first, second] = [this.at(folder, name), this.at(other, otherName)];
    if (first === second) return;
    for (const node of [first, second]) if (node !== undefined) this.retain(node);
    this.unnamed(folder, name);
    this.unnamed(other, otherName);
    if (first !== undefined && !this.#isWithin(other, first)) this.#place(first, other, nameKey(otherName));
    if (second !== undefined && !this.#isWithin(folder, second)) this.#place(second, folder, nameKey(name));
    for (const node of [first, second]) if (node !== undefined) this.release(node);
  }

  /** Whether the folder that `node` was seen in lies on another file system, so far as it is known. */
  isSubmount(node: KnownNode): boolean {
    const above = node.place?.folder.identity;
    return node.isFolder && above !== undefined && node.identity !== undefined && above.device !== node.identity.device;
  }

  /** The number of the file system that the root lies on; undefined until somebody looked. */
  get rootDevice(): bigint | undefined {
    return this.#root.identity?.device;
  }

  /** Lets go of everything; operations under way end as they end. */
  close(): void {
    this.#isClosed = true;
    this.#budget.remove(this);
    this.#trim();
    this.#byId.clear();
    this.#byIdentity.clear();
  }

  save(): Saved {
    const nodes = [...this.#byId.values()].map((node) => ({
      id: node.id,
      identity:
        node.identity === undefined
          ? null
          : {
              device: node.identity.device,
              ino: node.identity.ino,
              birthNs: BigInt.asUintN(64, node.identity.birthNs),
            },
      isFolder: node.isFolder,
      lookups: node.lookups,
      place: node.place === undefined ? null : { folder: node.place.folder.id, name: nameOfKey(node.place.key) },
    }));
    return { nextId: this.#nextId, nodes };
  }

  /** Takes what `save` gave into a table that is new. Throws SavedStateError; the table is then worthless. */
  restore(reader: SavedReader): void {
    const nextId = reader.field('nextId').integer(ROOT_ID + 1, LARGEST_ID);
    const list = reader.field('nodes').list();
    // The root is there already.
    if (list.length > this.#budget.room + 1) reader.field('nodes').refuse(`holds more than ${MAXIMUM_NODES} nodes`);
    for (const item of list) {
      const id = item.field('id').integer(ROOT_ID, nextId - 1);
      const identityReader = item.field('identity');
      const identity =
        identityReader.raw() === null
          ? undefined
          : {
              device: identityReader.field('device').u64(),
              ino: identityReader.field('ino').u64(),
              birthNs: BigInt.asIntN(64, identityReader.field('birthNs').u64()),
            };
      const isFolder = item.field('isFolder').boolean();
      const lookups = item.field('lookups').integer(0, LARGEST_COUNT);
      const isRoot = id === ROOT_ID;
      if (isRoot ? !isFolder : identity === undefined) item.refuse('lacks what its kind of node has');
      if (this.#byId.has(id) && !(isRoot && this.#root.identity === undefined)) item.refuse('is there twice');
      const node = isRoot ? this.#root : new KnownNode(id, identity, isFolder);
      node.identity = identity;
      node.lookups = lookups;
      this.#byId.set(id, node);
      if (identity === undefined) continue;
      if (this.#byIdentity.has(identityKey(identity))) item.refuse('is the same file as another node');
      this.#byIdentity.set(identityKey(identity), node);
    }
    for (const item of list) this.#restorePlace(item);
    this.#nextId = nextId;
  }

  /** The node that a saved state names; for who keeps numbers of nodes. */
  restored(reader: SavedReader): KnownNode {
    return this.#byId.get(reader.integer(ROOT_ID, LARGEST_ID)) ?? reader.refuse('is no node');
  }

  #restorePlace(item: SavedReader): void {
    const node = defined(this.#byId.get(item.field('id').integer()), 'a node just read');
    const placeReader = item.field('place');
    if (placeReader.raw() === null) return;
    const folder = this.#byId.get(placeReader.field('folder').integer(ROOT_ID, LARGEST_ID));
    if (folder === undefined || !folder.isFolder || node === this.#root) return placeReader.refuse('names no folder');
    if (this.#isWithin(folder, node)) return placeReader.refuse('lies within itself');
    const key = savedKey(placeReader.field('name'));
    if (folder.children.has(key)) return placeReader.refuse('is the place of another node');
    this.#place(node, folder, key);
    return undefined;
  }

  #place(node: KnownNode, folder: KnownNode, key: string): void {
    const { place } = node;
    if (node === this.#root || (place?.folder === folder && place.key === key)) return;
    if (this.#isWithin(folder, node)) throw new FileError('ESTALE');
    const before = folder.children.get(key);
    if (before !== undefined) this.#unplace(before);
    if (place !== undefined) this.#unplace(node);
    this.#notIdle(node);
    node.place = { folder, key };
    folder.children.set(key, node);
    this.#idleIfHeld(node);
  }

  #unplace(node: KnownNode): void {
    const { place } = node;
    if (place === undefined) return;
    this.#notIdle(node);
    node.place = undefined;
    this.#idleIfHeld(node);
    place.folder.children.delete(place.key);
    this.#dropIfUnneeded(place.folder);
    this.#dropIfUnneeded(node);
  }

  #isWithin(folder: KnownNode, node: KnownNode): boolean {
    if (!node.isFolder) return false;
    for (let at: KnownNode | undefined = folder; at !== undefined; at = at.place?.folder) if (at === node) return true;
    return false;
  }

  /** The file itself, held. The caller has retained the node. */
  async #reach(node: KnownNode): Promise<FileNode> {
    if (node.held !== undefined) return node.held;
    const held = this.#find(node);
    node.held = held;
    try {
      return await held;
    } catch (error) {
      if (node.held === held) node.held = undefined;
      throw error;
    }
  }

  async #find(node: KnownNode): Promise<FileNode> {
    const { place } = node;
    if (place === undefined && node !== this.#root) throw new FileError('ESTALE');
    const found = await this.withRoom(() =>
      place === undefined ? this.#tree.root() : this.using(place.folder, (folder) => folder.hold(nameOfKey(place.key))),
    );
    try {
      const attributes = await found.attributes();
      if (node === this.#root && node.identity === undefined) {
        node.identity = identityOf(attributes);
        this.#byIdentity.set(identityKey(attributes), node);
      }
      if (!isSame(node.identity, attributes)) throw this.#stale(node);
    } catch (error) {
      await found.close();
      throw error;
    }
    return found;
  }

  /** The node is not where it was. */
  #stale(node: KnownNode): FileError {
    this.#unplace(node);
    return new FileError('ESTALE');
  }

  #idleIfHeld(node: KnownNode): void {
    if (node.held === undefined || node.uses > 0) return;
    (node.place === undefined && node !== this.#root ? this.#nameless : this.#idle).add(node);
  }

  #notIdle(node: KnownNode): void {
    this.#idle.delete(node);
    this.#nameless.delete(node);
  }

  /** Lets go of what has been idle for longest. */
  #trim(): void {
    for (const [idle, maximum] of [
      [this.#idle, MAXIMUM_IDLE_HELD],
      [this.#nameless, MAXIMUM_NAMELESS_HELD],
    ] as const) {
      for (const node of idle) {
        if (idle.size <= (this.#isClosed ? 0 : maximum)) break;
        idle.delete(node);
        void letGo(node);
      }
    }
  }

  #dropIfUnneeded(node: KnownNode): void {
    if (node === this.#root || node.lookups > 0 || node.uses > 0 || node.children.size > 0) return;
    if (this.#byId.get(node.id) === node) this.#byId.delete(node.id);
    if (node.identity !== undefined && this.#byIdentity.get(identityKey(node.identity)) === node)
      this.#byIdentity.delete(identityKey(node.identity));
    this.#notIdle(node);
    void letGo(node);
    this.#unplace(node);
  }
}

/** Resolves when the file is closed. What cannot be found need not be, and there is nobody to tell that closing failed. */
async function letGo(node: KnownNode): Promise<void> {
  const { held } = node;
  node.held = undefined;
  try {
    await (await held)?.close();
  } catch {}
}

function identityOf({ device, ino, birthNs }: Identity): Identity {
  return { device, ino, birthNs };
}

function identityKey({ device, ino, birthNs }: Identity): string {
  return `${device}:${ino}:${birthNs}`;
}

function isSame(identity: Identity | undefined, attributes: FileAttributes): boolean {
  return identity !== undefined && identityKey(identity) === identityKey(attributes);
}

function savedKey(reader: SavedReader): string {
  try {
    return nameKey(checkedName(reader.bytes()));
  } catch (error) {
    if (error instanceof FileError) return reader.refuse('is no name');
    throw error;
  }
}
