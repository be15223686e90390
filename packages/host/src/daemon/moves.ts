/** Machines that go to other daemons, and come from there: their place in the daemon's books. What carries them is in ../migration. */

import { existsSync, readdirSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { formatSize } from '@ringfence/core/sizes';
import type { HostEvent, LongOperation } from '@ringfence/api';
import type { MigrationOutcome } from '../control/operations.ts';
import { hasEnded, HostError } from '../failure.ts';
import type { ExpectedMachine } from '../migration/arrivals.ts';
import type { DepartureOptions, Departures } from '../migration/departures.ts';
import type { Leaving } from '../migration/leaving.ts';
import { checkMovable } from '../migration/movable.ts';
import type { Address } from '../migration/tls-link.ts';
import type { MachineConfig } from '../machine-folder/config.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { syncFolder } from '../sync-folder.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import type { Entry } from './entry.ts';
import type { Labels } from './labels.ts';
import { memoryOf } from './memory.ts';
import type { Outcome, Progress } from './long-operations.ts';
import type { Runs } from './runs.ts';

export interface MovesOptions {
  readonly departures: Departures | undefined;
  readonly runs: Runs;
  readonly labels: Labels;
  readonly find: (key: string) => Entry;
  /** Takes note of a machine that is to come. */
  readonly expect: (config: MachineConfig, folder?: string) => Promise<Entry>;
  readonly begin: (entry: Entry, work: (progress: Progress) => Promise<Outcome>) => LongOperation;
  readonly save: (entry: Entry) => Promise<void>;
  readonly forget: (entry: Entry) => Promise<void>;
  readonly event: (kind: string, vm: HostEvent['vm'], detail?: HostEvent['detail']) => void;
}

export class Moves {
  readonly #options: MovesOptions;
  /** Of machines, by their ids. */
  readonly #underWay = new Map<string, LongOperation>();

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  /** Whether a machine is on its way to another daemon. */
  get isMoving(): boolean {
    return this.#underWay.size > 0;
  }

  /** Begins to move a machine to the daemon at `to`. */
  migrate(key: string, to: Address, options: Omit<DepartureOptions, 'onStep' | 'onLabel' | 'givenUp'>): LongOperation {
    const { departures, find, runs, labels } = this.#options;
    const entry = find(key);
    if (departures === undefined) throw new HostError('unsupported', 'this daemon moves no machines');
    // It runs there, and has pages here that are missing there.
    const under = this.#underWay.get(entry.id);
    if (under !== undefined && departures.rejoining.wake(entry.folder, to)) return under;
    checkMoves(entry);
    const notes: string[] = [];
    const move = async (run: RunningMachine | undefined, progress: Progress, givenUp: AbortSignal): Promise<void> => {
      if (run === undefined) throw hasEnded(key);
      // Before anything is sent; its process looks again.
      checkMovable(entry.name, (await run.forks()).length);
      const onStep = (text: string, done?: number, total?: number): void => progress.step(text, done, total);
      let keeps: string | undefined;
      const onLabel = (there: string): void => void (keeps = there);
      const outcome = await departures.move(entry.folder, run, to, { ...options, onStep, onLabel, givenUp });
      if (outcome !== undefined) notes.push(...notesOf(outcome));
      const label = labels.of(entry);
      if (label !== undefined)
        notes.push(
          keeps === label
            ? `it has the label "${label}" there, too, and the process of those that have it`
            : 'it has no label there, and a process of its own',
        );
    };
    const work = runs.migrate(entry, move, () => this.#left(entry, to, departures));
    return this.#begin(entry, async (progress) => {
      await work(progress);
      return notes;
    });
  }

  /** Until it is over it may be asked for once more. */
  #begin(entry: Entry, work: (progress: Progress) => Promise<Outcome>): LongOperation {
    const operation = this.#options.begin(entry, async (progress) => {
      try {
        return await work(progress);
      } finally {
        this.#underWay.delete(entry.id);
      }
    });
    this.#underWay.set(entry.id, operation);
    return operation;
  }

  /** One that was on its way when the last daemon ended: nothing is done with it before it is known whose it is. */
  recover(entry: Entry, run: RunningMachine | undefined): void {
    const { departures, runs } = this.#options;
    if (departures === undefined) return;
    const owner = async (progress: Progress, givenUp: AbortSignal): Promise<'source' | 'target'> => {
      // Its process may have said itself that it runs there.
      if (run === undefined && (await runs.leftEnd(entry)).kind === 'moved') return 'target';
      return departures.recover(entry.folder, run, (text) => progress.step(text), givenUp);
    };
    const work = runs.migrate(
      entry,
      async (_run, progress, givenUp) => {
        if ((await owner(progress, givenUp)) === 'target') return;
        await rm(entry.folder.leaving, { force: true });
        throw new HostError('interrupted', 'the daemon ended before it was moved');
      },
      () => this.#left(entry, undefined, departures),
    );
    this.#begin(entry, work);
  }

  /** A machine that another daemon is about to hand over, in that folder if one is given; throws `no-processors` or `no-memory` when there is not enough for what it reserves. */
  async expect(config: MachineConfig, folder?: string): Promise<Entry> {
    const entry = await this.#options.expect(config, folder);
    try {
      this.#options.runs.reserve(entry, config.cpu ?? {}, memoryOf(config));
      return entry;
    } catch (error) {
      await this.notArrived(entry);
      throw error;
    }
  }

  /** What it may have of memory at first, as Memory.room says, and whose process it is to be in: where others do not give what it needs, it does not come. */
  async room(entry: Entry, config: MachineConfig): Promise<Pick<ExpectedMachine, 'poolBytes' | 'place'>> {
    try {
      const poolBytes = await this.#options.runs.room(entry);
      return { poolBytes, place: await this.#options.labels.place(entry, config, poolBytes) };
    } catch (error) {
      await this.notArrived(entry);
      throw error;
    }
  }

  async arrived(entry: Entry, run: RunningMachine): Promise<void> {
    this.#options.runs.arrived(entry, run);
    await this.#options.save(entry);
    this.#options.event('vm.arrived', entry.vm);
  }

  async notArrived(entry: Entry): Promise<void> {
    entry.life.failed('arrive');
    await this.#options.forget(entry);
  }

  /** It is another daemon's. That it was leaving stays written down until nothing else says that it is here. */
  async #left(entry: Entry, to: Address | undefined, departures: Departures): Promise<void> {
    const { folder, owned } = entry;
    const leaving = leavingIn(folder, departures);
    const { host, port } = to ?? leaving ?? {};
    if (leaving !== undefined) departures.owe(leaving);
    if (owned) await removeFolder(entry);
    await this.#options.forget(entry);
    await rm(folder.leaving, { force: true });
    this.#options.event('vm.migrated', entry.vm, host === undefined ? {} : { to: `${host}:${port}` });
    if (leaving === undefined) return;
    // Durable before the other daemon may forget it.
    const holds = owned ? dirname(folder.path) : folder.path;
    // That of a label goes with its last machine.
    await syncFolder(existsSync(holds) ? holds : dirname(holds));
    void departures.settled(leaving);
  }
}

/** Undefined where it cannot be read: then nobody is told that it is over. */
function leavingIn(folder: MachineFolder, departures: Departures): Leaving | undefined {
  try {
    return departures.leavingOf(folder);
  } catch {
    return undefined;
  }
}

/** Throws what speaks against moving it. */
function checkMoves({ folder, name }: Entry): void {
  // Whatever is kept there, damaged or not.
  const kept = existsSync(folder.snapshots)
    ? readdirSync(folder.snapshots).filter((each) => !each.startsWith('.'))
    : [];
  if (kept.length > 0)
    throw new HostError(
      'unsupported',
      `the virtual machine "${name}" has snapshots, which do not move yet; remove them first ("ringfence snapshots ${name}" lists them)`,
    );
}

function notesOf({ downtimeNs, totalNs, pagesAfter, diskBytesSent, isComplete }: MigrationOutcome): string[] {
  const ms = (ns: number): string => `${Math.round(ns / 1e6)} ms`;
  const after = pagesAfter > 0 ? `; ${pagesAfter} pages followed` : '';
  const disks = diskBytesSent > 0 ? `; ${formatSize(diskBytesSent)} of its disks were sent` : '';
  return [
    `it stood still for ${ms(downtimeNs)}; all of it took ${ms(totalNs)}${after}${disks}`,
    ...(isComplete ? [] : ['the connection was lost while pages followed: it ends where it needs one of them']),
  ];
}

/** What the folder of a machine is called while it is removed. */
export function goneFolder(path: string, id: string): string {
  return join(dirname(path), `.gone-${id}`);
}

/** Removes it under another name, so that half of it is never taken for a machine. */
export async function removeFolder({ folder, id }: Pick<Entry, 'folder' | 'id'>): Promise<void> {
  const gone = goneFolder(folder.path, id);
  if (existsSync(folder.path)) await rename(folder.path, gone);
  await rm(gone, { recursive: true, force: true });
}
