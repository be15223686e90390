/**
 * An open folder: its names in one order that stays while it is open, so that a position in it means the same whatever comes and goes
 * (POSIX readdir). The offset of an entry is how many entries come up to it, itself included; 0 begins anew with what is there now.
 */

import type { Saved, SavedReader } from '../../base/saved.ts';
import { FileError } from './errno.ts';
import type { FolderList, ListedName } from './file-tree.ts';
import { FILE_TYPE } from './file-tree.ts';
import { checkedName, nameKey } from './names.ts';

/** Names of one folder that are kept; a larger folder cannot be listed to its end (EOVERFLOW). */
export const MAXIMUM_LISTED = 1 << 20;

const DOTS: readonly ListedName[] = [[0x2e], [0x2e, 0x2e]].map((name) => ({
  name: Uint8Array.from(name),
  type: FILE_TYPE.folder,
}));

export class Listing {
  readonly #open: () => Promise<FolderList>;
  #list: Promise<FolderList> | undefined;
  #entries: ListedName[] = [];
  #isComplete = false;
  /** After a restore: the list begins anew, and what is in it already is passed over. */
  #known: Set<string> | undefined;
  /** One request after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(open: () => Promise<FolderList>) {
    this.#open = open;
  }

  async begin(): Promise<FolderList> {
    this.#list ??= this.#open();
    try {
      return await this.#list;
    } catch (error) {
      this.#list = undefined;
      throw error;
    }
  }

  /** Gives `act` the entries behind `offset`, up to `count` of them; none at the end. Requests of one folder wait for each other. */
  read<Result>(
    offset: number,
    count: number,
    act: (entries: readonly ListedName[]) => Promise<Result>,
  ): Promise<Result> {
    const result = this.#turn.then(async () => {
      if (offset === 0) await this.#rewind();
      if (this.#entries.length === 0) this.#entries.push(...DOTS);
      while (this.#entries.length < offset + count && !this.#isComplete) await this.#readMore();
      return act(this.#entries.slice(offset, offset + count));
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async close(): Promise<void> {
    const list = this.#list;
    this.#list = undefined;
    await (await list)?.close();
  }

  save(): Saved {
    return {
      names: this.#entries.slice(DOTS.length).map(({ name }) => name),
      types: this.#entries.slice(DOTS.length).map(({ type }) => type),
      isComplete: this.#isComplete,
    };
  }

  restore(reader: SavedReader): void {
    const names = reader.field('names').list();
    const types = reader.field('types').list(names.length);
    if (names.length > MAXIMUM_LISTED) reader.refuse('holds too many names');
    const entries = names.map((item, index): ListedName => {
      const type = types[index]?.integer(0, FILE_TYPE.mask) ?? 0;
      try {
        return { name: checkedName(item.bytes()), type };
      } catch (error) {
        if (error instanceof FileError) return item.refuse('is no name');
        throw error;
      }
    });
    this.#isComplete = reader.field('isComplete').boolean();
    if (entries.length > 0) this.#entries = [...DOTS, ...entries];
    this.#known = new Set(entries.map(({ name }) => nameKey(name)));
  }

  async #rewind(): Promise<void> {
    if (this.#entries.length === 0) return;
    await this.close();
    this.#entries = [];
    this.#isComplete = false;
    this.#known = undefined;
  }

  async #readMore(): Promise<void> {
    if (this.#entries.length > MAXIMUM_LISTED) throw new FileError('EOVERFLOW');
    const list = await this.begin();
    const more = await list.next();
    if (more !== undefined) {
      const known = this.#known;
      for (const entry of more) if (known?.has(nameKey(entry.name)) !== true) this.#entries.push(entry);
      return;
    }
    this.#isComplete = true;
    this.#known = undefined;
    await this.close();
  }
}
