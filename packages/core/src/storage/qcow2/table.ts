/**
 * Tables of one cluster each (L2 tables, refcount blocks) in memory, and which of their bytes the file does not have yet.
 *
 *     touch  ->  take (a copy of what changed)  ->  the copy is written to the file  ->  written
 *
 * A table may change again while its copy is being written; it is then dirty again, and not forgotten before the file has it all.
 */

import { viewOf } from './big-endian.ts';

/** Parts of a table are written in whole sectors, so that a power failure leaves every entry old or new. */
const SECTOR_BYTES = 512;

export class Table {
  /** Where it is in the file. */
  offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Copies of it that are on their way to the file. */
  writing = 0;
  dirtyFrom = Infinity;
  dirtyTo = 0;

  constructor(offset: number, bytes: Uint8Array) {
    this.offset = offset;
    this.bytes = bytes;
    this.view = viewOf(bytes);
  }
}

export interface TakenTable {
  readonly table: Table;
  readonly from: number;
  /** Where it goes in the file. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Tables by number, those used last at the end. Only tables that the file has wholly are forgotten. */
export class TableCache {
  /** How many are kept; more only while the file does not have them. */
  readonly limit: number;
  readonly #tables = new Map<number, Table>();
  readonly #loading = new Map<number, Promise<Table>>();
  readonly #dirty = new Set<Table>();

  constructor(limit: number) {
    this.limit = limit;
  }

  /** How many wait to be taken. */
  get dirtyTables(): number {
    return this.#dirty.size;
  }

  /** The table when it is in memory. */
  peek(index: number): Table | undefined {
    const table = this.#tables.get(index);
    if (table === undefined) return undefined;
    this.#tables.delete(index);
    this.#tables.set(index, table);
    return table;
  }

  /** The table, read by `read` unless it is in memory or on its way. By the time the caller sees it, it may be forgotten already. */
  async load(index: number, read: () => Promise<Table>): Promise<Table> {
    const there = this.peek(index);
    if (there !== undefined) return there;
    let loading = this.#loading.get(index);
    if (loading === undefined) {
      loading = read()
        .then((table) => {
          this.insert(index, table);
          return table;
        })
        .finally(() => this.#loading.delete(index));
      this.#loading.set(index, loading);
    }
    return loading;
  }

  insert(index: number, table: Table): void {
    this.#tables.set(index, table);
    if (this.#tables.size <= this.limit) return;
    for (const [oldIndex, old] of this.#tables) {
      if (oldIndex === index || old.writing > 0 || this.#dirty.has(old)) continue;
      this.#tables.delete(oldIndex);
      if (this.#tables.size <= this.limit) return;
    }
  }

  /** Bytes from `from` to `to` of a table that is in memory were changed. */
  touch(table: Table, from = 0, to: number = table.bytes.length): void {
    table.dirtyFrom = Math.min(table.dirtyFrom, from);
    table.dirtyTo = Math.max(table.dirtyTo, to);
    this.#dirty.add(table);
  }

  /** Copies of everything that changed, which is now the caller's to write. Each must come back to `written`. */
  take(): TakenTable[] {
    const taken = [...this.#dirty].map((table) => {
      const from = Math.floor(table.dirtyFrom / SECTOR_BYTES) * SECTOR_BYTES;
      const to = Math.ceil(table.dirtyTo / SECTOR_BYTES) * SECTOR_BYTES;
      table.dirtyFrom = Infinity;
      table.dirtyTo = 0;
      table.writing++;
      return { table, from, at: table.offset + from, bytes: table.bytes.slice(from, to) };
    });
    this.#dirty.clear();
    return taken;
  }

  /** Says how the writing of what `take` gave went: what failed is dirty again. */
  written(taken: readonly TakenTable[], succeeded: boolean): void {
    for (const { table, from, bytes } of taken) {
      table.writing--;
      if (!succeeded) this.touch(table, from, from + bytes.length);
    }
  }
}
