/**
 * What the daemon remembers, in one SQLite database: which machines there are and in which state, what has happened, and long operations. A
 * machine's own properties are in its folder (machine-folder/), not here.
 */

import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import type { HostEvent, LongOperation, MachineEnd, State } from '@ringfence/api';
import { Kysely, Migrator, SqliteDialect } from 'kysely';
import type { HowStarted } from '../control/operations.ts';
import { HostError, systemReason } from '../failure.ts';
import { MIGRATIONS } from './migrations.ts';

/** Events that are remembered. */
export const MAXIMUM_EVENTS = 10_000;
/** Long operations that are remembered. */
export const MAXIMUM_OPERATIONS = 1000;
/** SQLite, "Result and Error Codes". */
const SQLITE_FULL = 13;
const SQLITE_IOERR = 10;

export interface StoredMachine {
  readonly id: string;
  readonly name: string;
  readonly folder: string;
  /** Whether its files go when it is removed. */
  readonly owned: boolean;
  /** Whether its files may be outside of its folder. */
  readonly mayLeadOutside: boolean;
  readonly state: State;
  readonly createdAt: string;
  readonly startedAt: string | undefined;
  /** How its last run began; undefined of one that was restored, or came from elsewhere. */
  readonly began?: HowStarted | undefined;
  readonly pid: number | undefined;
  readonly end: MachineEnd | undefined;
}

interface Tables {
  machines: {
    id: string;
    name: string;
    folder: string;
    owned: number;
    outside: number;
    state: string;
    created_at: string;
    started_at: string | null;
    pid: number | null;
    end: string | null;
    began: string | null;
  };
  events: { seq: number; at: string; kind: string; vm_id: string; vm_name: string; detail: string };
  operations: { id: string; started_at: string; value: string };
}

export class Store {
  readonly #db: Kysely<Tables>;

  private constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  /** Opens the database and brings it to the present version; makes it when it is not there. */
  static async open(path: string): Promise<Store> {
    const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: adapted(path) }) });
    const { error } = await new Migrator({
      db,
      provider: { getMigrations: () => Promise.resolve(MIGRATIONS) },
    }).migrateToLatest();
    if (error !== undefined) {
      await db.destroy();
      throw failed(`the daemon's state ${path} cannot be used`, error);
    }
    return new Store(db);
  }

  async machines(): Promise<StoredMachine[]> {
    const rows = await this.#db.selectFrom('machines').selectAll().orderBy('name').execute();
    return rows.map((row) => ({
      id: row.id,
      name: row.name,
      folder: row.folder,
      owned: row.owned !== 0,
      mayLeadOutside: row.outside !== 0,
      state: row.state as State,
      createdAt: row.created_at,
      startedAt: row.started_at ?? undefined,
      pid: row.pid ?? undefined,
      end: row.end === null ? undefined : (JSON.parse(row.end) as MachineEnd),
      began: row.began === null ? undefined : (JSON.parse(row.began) as HowStarted),
    }));
  }

  putMachine(machine: StoredMachine): Promise<void> {
    const row = {
      id: machine.id,
      name: machine.name,
      folder: machine.folder,
      owned: machine.owned ? 1 : 0,
      outside: machine.mayLeadOutside ? 1 : 0,
      state: machine.state,
      created_at: machine.createdAt,
      started_at: machine.startedAt ?? null,
      pid: machine.pid ?? null,
      end: machine.end === undefined ? null : JSON.stringify(machine.end),
      began: machine.began === undefined ? null : JSON.stringify(machine.began),
    };
    return this.#written(async () => {
      await this.#db
        .insertInto('machines')
        .values(row)
        .onConflict((conflict) => conflict.column('id').doUpdateSet(row))
        .execute();
    });
  }

  removeMachine(id: string): Promise<void> {
    return this.#written(async () => {
      await this.#db.deleteFrom('machines').where('id', '=', id).execute();
    });
  }

  async lastEvent(): Promise<number> {
    const row = await this.#db
      .selectFrom('events')
      .select(({ fn }) => fn.max('seq').as('seq'))
      .executeTakeFirst();
    return row?.seq ?? 0;
  }

  addEvent(event: HostEvent): Promise<void> {
    const { seq, at, kind, vm, detail } = event;
    return this.#written(async () => {
      await this.#db
        .insertInto('events')
        .values({ seq, at, kind, vm_id: vm.id, vm_name: vm.name, detail: JSON.stringify(detail) })
        .execute();
      await this.#db
        .deleteFrom('events')
        .where('seq', '<=', seq - MAXIMUM_EVENTS)
        .execute();
    });
  }

  /** In their order, at most `limit` of those after `seq`. */
  async eventsAfter(seq: number, limit: number): Promise<HostEvent[]> {
    const rows = await this.#db
      .selectFrom('events')
      .selectAll()
      .where('seq', '>', seq)
      .orderBy('seq')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      seq: row.seq,
      at: row.at,
      kind: row.kind,
      vm: { id: row.vm_id, name: row.vm_name },
      detail: JSON.parse(row.detail) as Record<string, string>,
    }));
  }

  async operations(): Promise<LongOperation[]> {
    const rows = await this.#db.selectFrom('operations').select('value').orderBy('started_at').execute();
    return rows.map(({ value }) => JSON.parse(value) as LongOperation);
  }

  putOperation(operation: LongOperation): Promise<void> {
    const row = { id: operation.id, started_at: operation.startedAt, value: JSON.stringify(operation) };
    return this.#written(async () => {
      await this.#db
        .insertInto('operations')
        .values(row)
        .onConflict((conflict) => conflict.column('id').doUpdateSet(row))
        .execute();
    });
  }

  removeOperation(id: string): Promise<void> {
    return this.#written(async () => {
      await this.#db.deleteFrom('operations').where('id', '=', id).execute();
    });
  }

  close(): Promise<void> {
    return this.#db.destroy();
  }

  async #written(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      throw failed("the daemon's state cannot be written", error);
    }
  }
}

function failed(what: string, error: unknown): HostError {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined;
  const isFull = code === SQLITE_FULL || (typeof code === 'number' && (code & 0xff) === SQLITE_IOERR);
  return new HostError(isFull ? 'no-space' : 'unavailable', `${what}: ${systemReason(error)}`, error);
}

/** Node's SQLite with the shape that Kysely's dialect asks for. */
function adapted(
  path: string,
): ConstructorParameters<typeof SqliteDialect>[0]['database'] extends infer Database
  ? Extract<Database, object>
  : never {
  const database = new DatabaseSync(path);
  // A daemon that is killed loses nothing that was committed; readers and the writer do not wait for one another.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
  const adapter = {
    close: () => database.close(),
    prepare(sql: string) {
      const statement = database.prepare(sql);
      const values = (parameters: readonly unknown[]): SQLInputValue[] => parameters as SQLInputValue[];
      return {
        reader: statement.columns().length > 0,
        all: (parameters: readonly unknown[]) => statement.all(...values(parameters)),
        run: (parameters: readonly unknown[]) => statement.run(...values(parameters)),
        iterate: (parameters: readonly unknown[]) => statement.iterate(...values(parameters)),
      };
    },
  };
  return adapter;
}
