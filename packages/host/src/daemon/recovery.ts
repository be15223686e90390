/** What a daemon makes of the machines that the last one left, however that ended: by what it wrote, and by what runs. */

import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LIVE_STATES, type State } from '@ringfence/api';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { readMachine, unfinished } from '../machine-folder/machine-files.ts';
import { arrivedBy } from '../migration/arrivals.ts';
import type { Departures } from '../migration/departures.ts';
import { syncFolder } from '../sync-folder.ts';
import { removeMarks } from '../migration/moved-disks.ts';
import type { FoundRun, MachineProcesses } from '../vm-process/running.ts';
import type { VMStatus } from '../control/operations.ts';
import type { Entry } from './entry.ts';
import type { EventLog } from './event-log.ts';
import { failureOf } from './failures.ts';
import type { Memory } from './memory.ts';
import { goneFolder, type Moves, removeFolder } from './moves.ts';
import type { Processors } from './processors.ts';
import type { Runs } from './runs.ts';
import { removeLeftovers } from './snapshots.ts';
import type { Store, StoredMachine } from './store.ts';

export interface RecoveryOptions {
  readonly store: Store;
  readonly processes: MachineProcesses;
  readonly events: EventLog;
  readonly departures: Departures | undefined;
  /** Where the folders of new machines are made. */
  readonly folder: string;
  readonly runs: Runs;
  readonly moves: Moves;
  readonly processors: Processors;
  readonly memory: Memory;
  readonly onFailure: (error: unknown) => void;
  readonly add: (stored: StoredMachine) => Entry;
  readonly save: (entry: Entry) => Promise<void>;
  readonly forget: (entry: Entry) => Promise<void>;
  /** What a label's machines have in common goes with the last one. */
  readonly clear: (folder: MachineFolder) => void;
  readonly start: (id: string) => void;
  readonly restore: (id: string, snapshot: string) => Promise<void>;
}

/** What a machine's process says of itself, as the daemon's states. */
const STATES_OF_STATUS = {
  booting: 'starting',
  running: 'running',
  paused: 'paused',
  stopping: 'stopping',
} as const satisfies Record<VMStatus['state'], State>;

export async function recover(options: RecoveryOptions): Promise<void> {
  const { store, processes, memory, onFailure } = options;
  const stored = await store.machines();
  const found = await processes.find(stored);
  // Done when all that runs is known, and what it can come to: nobody begins in the place of another one.
  const afterwards: (() => unknown)[] = [];
  for (const machine of stored) {
    await removeMarks(machineFolder(machine.folder)).catch(onFailure);
    const there = found.get(machine.id);
    const state = there?.status?.state ?? (there && silentAs(machine, there.isShared));
    if (there === undefined || state === undefined) await recoverStopped(machine, options, afterwards);
    else await recoverRunning(machine, there, state, options);
  }
  await memory.look();
  // One of each folder is enough: a label's machines lie in one.
  for (const folder of new Map(stored.map((each) => [dirname(each.folder), each.folder])).values())
    options.clear(machineFolder(folder));
  for (const work of afterwards) await work();
}

/**
 * What one is taken for whose process is there and does not answer, until it does: what was known of it last. It is not ended, for it may be slow, or
 * held; undefined of one that is nothing yet that could be lost. A process that others share ends neither way, and is there for them.
 */
function silentAs(machine: StoredMachine, isShared = false): VMStatus['state'] | undefined {
  switch (machine.state) {
    case 'creating':
    case 'removing':
      return undefined;
    case 'restoring':
      // It goes on from the same snapshot again; what it does in a process that runs on is not known.
      return isShared ? 'running' : undefined;
    case 'arriving':
      return mayHaveArrived(machine) ? 'booting' : undefined;
    case 'starting':
    case 'resetting':
      return 'booting';
    case 'paused':
    case 'resuming':
      return 'paused';
    case 'stopping':
      return 'stopping';
    case 'stopped':
      return isShared || isHalfCopied(machine) ? undefined : 'running';
    default:
      return 'running';
  }
}

async function recoverRunning(
  machine: StoredMachine,
  { run, status }: FoundRun,
  state: VMStatus['state'],
  { departures, runs, moves, processors, memory, add, save, onFailure }: RecoveryOptions,
): Promise<void> {
  const leaving = departures?.wasLeaving(machineFolder(machine.folder)) === true;
  const entry = add({ ...machine, state: leaving ? 'running' : STATES_OF_STATUS[state] });
  // A rename that was cut short: what is remembered counts.
  if (status !== undefined && status.name !== machine.name) await run.rename(machine.name).catch(onFailure);
  const isChanging = status?.isChanging === true;
  // One that has left stands still: it is not taken for one that was paused before it is looked whose it is.
  const release = leaving ? entry.life.hold('migrate', machine.name) : undefined;
  runs.adopt(entry, run, { state: leaving ? 'running' : state, isChanging }, status === undefined);
  await save(entry);
  await processors.remember(entry);
  await memory.remember(entry);
  await removeLeftovers(entry).catch(onFailure);
  release?.();
  if (leaving) moves.recover(entry, run);
}

/** One whose process is gone, or never was; what lets it run again goes to `afterwards`. */
async function recoverStopped(
  machine: StoredMachine,
  options: RecoveryOptions,
  afterwards: (() => unknown)[],
): Promise<void> {
  const { store, processes, folder, events, departures, moves, runs, add, save, forget, onFailure } = options;
  if (isHalfCopied(machine)) {
    await processes.endLeftover(machine);
    await removeFolder({ folder: machineFolder(machine.folder), id: machine.id }).catch(onFailure);
    return store.removeMachine(machine.id);
  }
  if (machine.state === 'creating') {
    await rm(unfinished(folder, machine.id), { recursive: true, force: true }).catch(onFailure);
    const config = await readMachine(machineFolder(machine.folder)).catch(() => undefined);
    // A folder is there when it is whole. One that was only to be taken in is left as it is.
    if (config?.id !== machine.id || !machine.owned) return store.removeMachine(machine.id);
    const entry = add({ ...machine, state: 'stopped' });
    await save(entry);
    events.add('vm.created', entry.vm);
    return;
  }
  // Its folder goes when it runs elsewhere, and not before.
  const isMoved = machine.state === 'migrating' && machine.owned && !existsSync(machine.folder);
  if (machine.state === 'removing' || isMoved) {
    const entry = add({ ...machine, state: 'stopped' });
    // Whether its files were to be kept is not known any more: it is asked for again.
    if (entry.owned && !existsSync(entry.folder.yaml)) {
      await removeFolder(entry).catch(onFailure);
      // Durable before who has the machine hears of it.
      await syncFolder(folder).catch(onFailure);
      await forget(entry);
    } else await save(entry);
    return;
  }
  const wasLive = LIVE_STATES.includes(machine.state) || machine.state === 'arriving';
  if (wasLive) await processes.endLeftover(machine);
  if (machine.state === 'arriving' && isUnreadable(machine, onFailure)) return;
  if (machine.state === 'arriving' && !mayHaveArrived(machine) && (await removeComing(machine, options)))
    return store.removeMachine(machine.id);
  // Also of one that is said to be stopped: the last daemon ended in an orderly way, and did not know.
  if (departures?.wasLeaving(machineFolder(machine.folder)) === true) {
    moves.recover(add({ ...machine, state: 'running', pid: undefined }), undefined);
    return;
  }
  const entry = add({ ...machine, state: 'stopped', pid: undefined });
  const snapshot = await removeLeftovers(entry).catch(onFailure);
  if (!wasLive) return;
  entry.end = await runs.leftEnd(entry);
  await save(entry);
  if (machine.state === 'restoring' && typeof snapshot === 'string')
    afterwards.push(() =>
      // One whose snapshot is gone is no reason not to have the others.
      options.restore(entry.id, snapshot).catch((error: unknown) => {
        events.add('vm.start-failed', entry.vm, { reason: failureOf(error).message });
        onFailure(error);
      }),
    );
  else if (entry.end.kind === 'reboot' && machine.state === 'running') afterwards.push(() => options.start(entry.id));
  else events.add('vm.ended', entry.vm, { how: entry.end.kind });
}

/**
 * Removes what there is of a machine that was to come. Under another name first, where a process that it was to share, and that answers only now, finds nothing
 * to write down that it is here; false when it has done that before.
 */
async function removeComing(machine: StoredMachine, { folder, onFailure }: RecoveryOptions): Promise<boolean> {
  const gone = goneFolder(machine.folder, machine.id);
  if (existsSync(machine.folder)) {
    await rename(machine.folder, gone).catch(onFailure);
    if (mayHaveArrived({ ...machine, folder: gone })) {
      await rename(gone, machine.folder).catch(onFailure);
      return false;
    }
  }
  for (const path of [unfinished(folder, machine.id), gone, machine.folder])
    await rm(path, { recursive: true, force: true }).catch(onFailure);
  return true;
}

function mayHaveArrived(machine: StoredMachine): boolean {
  try {
    return arrivedBy(machineFolder(machine.folder)) !== undefined;
  } catch {
    return true;
  }
}

/** Whether it cannot be read now whose a machine is: it is left as it is, for the next daemon, and nobody is told that it has not come (arrivals.ts). */
function isUnreadable(machine: StoredMachine, onFailure: (error: unknown) => void): boolean {
  try {
    arrivedBy(machineFolder(machine.folder));
    return false;
  } catch (error) {
    onFailure(error);
    return true;
  }
}

/** One that was to go on from a snapshot of another one and never did. */
function isHalfCopied({ state, owned, folder, startedAt }: StoredMachine): boolean {
  const hasNotRun = state === 'creating' || state === 'restoring' || (state === 'stopped' && startedAt === undefined);
  return owned && hasNotRun && existsSync(machineFolder(folder).copying);
}
