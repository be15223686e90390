/** What the end that a machine leaves (source.ts) is given by its host, and asks it. */

import type { Machine } from '../../machine/machine.ts';
import type { MachineRunner } from '../../vm/runner.ts';
import type { Json } from '../../vm/snapshot/saved-json.ts';
import type { MigrationProgress } from './migration-report.ts';
import type { OutgoingDisk } from './outgoing-disks.ts';
import type { MigrationCodec, MigrationLink, MigrationTimers } from './ports.ts';

export interface OutgoingMigration {
  readonly machine: Machine;
  readonly runner: Pick<MachineRunner, 'pause' | 'resume' | 'runFor'>;
  readonly clock: MigrationTimers;
  readonly codec: MigrationCodec;
  readonly link: MigrationLink;
  /** What the other end has to know to make a machine like this one. */
  readonly about: Json;
  /** All of the machine's, in their order. */
  readonly disks?: readonly OutgoingDisk[] | undefined;
  readonly downtimeMs?: number | undefined;
  /** Rounds at most; MAXIMUM_ROUNDS (convergence.ts) when it is not given. */
  readonly rounds?: number | undefined;
  /** Whether pages may follow when the machine runs there; for those whose harts are executed by several threads they never do. Default false. */
  readonly postCopy?: boolean | undefined;
  /** Asked when the machine stands still, for what else goes with its state. */
  readonly held?: (() => Promise<Json>) | undefined;
  /** Takes back what `held` gave away, before the machine goes on here. Resolves when it may, however long that takes. */
  readonly kept?: (() => Promise<void>) | undefined;
  /** Its answer is kept for good before COMMIT is said. */
  readonly givingUp?: (() => Promise<void>) | undefined;
  /** Finds out whose the machine is when COMMIT was said and the link was lost. Resolves when it is known, however long that takes. */
  readonly settle: () => Promise<'source' | 'target'>;
  /** SECRET_DIGITS that nobody else can guess, with which both ends know each other again; without it `rejoin` is not asked. */
  readonly secret?: string | undefined;
  /**
   * Asked when the link is lost while pages follow. Resolves, however long that takes, with another link to the machine there, with that it has all of its
   * pages, or with undefined when it cannot be had: the machine there ends at the first page that it has not got.
   */
  readonly rejoin?: ((pagesLeft: number) => Promise<MigrationLink | 'complete' | undefined>) | undefined;
  readonly onProgress?: ((progress: MigrationProgress) => void) | undefined;
}
