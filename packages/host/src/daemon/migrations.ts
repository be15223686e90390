/** How the daemon's database came to be what it is. A migration that was published is never changed; another one follows it. */

import type { Kysely, Migration } from 'kysely';

export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-machines-events-operations': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('machines')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('name', 'text', (column) => column.notNull().unique())
        .addColumn('folder', 'text', (column) => column.notNull().unique())
        .addColumn('owned', 'integer', (column) => column.notNull())
        .addColumn('state', 'text', (column) => column.notNull())
        .addColumn('created_at', 'text', (column) => column.notNull())
        .addColumn('started_at', 'text')
        .addColumn('pid', 'integer')
        .addColumn('end', 'text')
        .execute();
      await db.schema
        .createTable('events')
        .addColumn('seq', 'integer', (column) => column.primaryKey())
        .addColumn('at', 'text', (column) => column.notNull())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('vm_id', 'text', (column) => column.notNull())
        .addColumn('vm_name', 'text', (column) => column.notNull())
        .addColumn('detail', 'text', (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('operations')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('started_at', 'text', (column) => column.notNull())
        .addColumn('value', 'text', (column) => column.notNull())
        .execute();
    },
  },
  '0002-files-outside': {
    async up(db: Kysely<unknown>) {
      // Those that were taken in before keep what they have.
      await db.schema
        .alterTable('machines')
        .addColumn('outside', 'integer', (column) => column.notNull().defaultTo(1))
        .execute();
    },
  },
  '0003-how-runs-began': {
    async up(db: Kysely<unknown>) {
      await db.schema.alterTable('machines').addColumn('began', 'text').execute();
    },
  },
};
