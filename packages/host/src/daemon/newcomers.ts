/** Machines that are new here: made, taken in, made of another one's snapshot, or about to come from another daemon. Nothing is left of one that fails. */

import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, realpath, rm } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import type { Creation, LongOperation, MachineView, OperationName } from '@ringfence/api';
import { formatSize } from '@ringfence/core/sizes';
import { HostError } from '../failure.ts';
import { loadBootFiles } from '../machine-folder/boot-files.ts';
import { type MachineConfig, memoryBytesOf } from '../machine-folder/config.ts';
import { copiedConfig, copySnapshot } from '../machine-folder/copy-snapshot.ts';
import { checkFiles, forgetRuns } from '../machine-folder/foreign-folder.ts';
import { machineFolder } from '../machine-folder/layout.ts';
import {
  changeMachine,
  configOf,
  machineDisks,
  makeMachine,
  readMachine,
  unfinished,
} from '../machine-folder/machine-files.ts';
import { bootLimitsOf, checkBoots } from '../vm/boot-limits.ts';
import { DEFAULT_IMAGE, type Image, imageNamed } from '../vm/images.ts';
import { READY_TIMEOUT_MS } from '../vm/options.ts';
import type { Boots } from './boots.ts';
import type { Entry } from './entry.ts';
import type { EventLog } from './event-log.ts';
import type { Labels } from './labels.ts';
import { type Outcome, type Progress, tellImage } from './long-operations.ts';
import { type Memory, memoryOf } from './memory.ts';
import { removeFolder } from './moves.ts';
import type { Names } from './names.ts';
import { newIdentity } from './new-identity.ts';
import type { Processors } from './processors.ts';
import type { Runs, Work } from './runs.ts';
import { prepareRestore, storeOf } from './snapshots.ts';
import type { StoredMachine } from './store.ts';

export const MAXIMUM_MACHINES = 4096;

export type CreatingWork = Work | ((progress: Progress) => Promise<Outcome>);

export interface NewcomersOptions {
  /** All machines, by their ids. */
  readonly entries: Map<string, Entry>;
  readonly names: Names;
  /** Where the folders of new machines are made. */
  readonly folder: string;
  readonly imageNamed?: ((name: string) => Image) | undefined;
  readonly events: EventLog;
  readonly runs: Runs;
  readonly labels: Labels;
  readonly processors: Processors;
  readonly memory: Memory;
  readonly boots: Boots | undefined;
  readonly onFailure: (error: unknown) => void;
  readonly add: (stored: StoredMachine) => Entry;
  readonly save: (entry: Entry) => Promise<void>;
  readonly forget: (entry: Entry) => Promise<void>;
  readonly begin: (kind: OperationName, entry: Entry, work: CreatingWork) => LongOperation;
  readonly list: () => Promise<MachineView[]>;
}

export class Newcomers {
  readonly #options: NewcomersOptions;
  /** Ids and folders of machines that are about to be added. */
  readonly #coming = new Set<string>();

  constructor(options: NewcomersOptions) {
    this.#options = options;
  }

  async create(wanted: Creation): Promise<LongOperation> {
    const { imageNamed: named = imageNamed } = this.#options;
    const imageName = wanted.image ?? DEFAULT_IMAGE;
    const image = named(imageName);
    const id = randomUUID();
    return this.#named(id, wanted.name, [], async (name) => {
      const config = configOf({ ...wanted, name }, id, { name: imageName, image }, wanted.suite ?? 'stable');
      const neededBytes = memoryBytesOf(config);
      if (neededBytes > totalmem())
        throw new HostError(
          'no-memory',
          `${formatSize(neededBytes)} of memory is more than this computer has (${formatSize(totalmem())})`,
        );
      checkBoots(imageName, image, bootLimitsOf(config), READY_TIMEOUT_MS);
      this.#options.processors.checkAlone(config.cpu ?? {});
      this.#options.memory.checkAlone(memoryOf(config));
      await this.#options.labels.checkNew(name, config);
      const folder = this.#freeFolder(name, id, config.label);
      // What a label's process may open is in its folder.
      const mayLeadOutside = config.label === undefined;
      const entry = await this.#added({ id, name, folder, owned: true, mayLeadOutside, state: 'creating' });
      return this.#beginNew('vm.create', entry, async (progress) => {
        progress.step('fetching the image');
        const boot = await image.load({
          suite: wanted.suite,
          mirror: wanted.mirror,
          packages: wanted.packages,
          userData: wanted.userData,
          metaData: wanted.metaData,
          networkConfig: wanted.networkConfig,
          onProgress: (now) => tellImage(progress, now),
        });
        progress.step('making its files');
        const whole = { ...config, suite: boot.suite };
        await mkdir(dirname(folder), { recursive: true, mode: 0o700 });
        await makeMachine(unfinished(this.#options.folder, id), folder, whole, wanted.disks, boot);
        void this.#options.boots?.expect(entry.folder, whole);
        return this.#created(entry, 'create', 'vm.created', boot.notes ?? []);
      });
    });
  }

  /** Takes in a folder that came from elsewhere; with `allowOutside` its files may be anywhere. */
  async register(
    path: string,
    {
      name: wanted,
      allowOutside: mayLeadOutside = false,
    }: { readonly name?: string | undefined; readonly allowOutside?: boolean | undefined } = {},
  ): Promise<LongOperation> {
    const folder = machineFolder(await realpath(path).catch(() => path));
    const config = await readMachine(folder);
    // From here to the reservation in one turn.
    const other = [...this.#options.entries.values()].find((entry) => entry.folder.path === folder.path);
    if (other !== undefined)
      throw new HostError('bad-argument', `the folder ${folder.path} is that of "${other.name}" already`);
    if (this.#coming.has(folder.path))
      throw new HostError('bad-argument', `the folder ${folder.path} is being taken in already`);
    // A copy is another machine than the one it was copied from.
    const isThere = this.#options.entries.has(config.id) || this.#coming.has(config.id);
    const id = isThere ? randomUUID() : config.id;
    return this.#named(id, wanted ?? config.name, [folder.path, id], async (name) => {
      this.#options.labels.checkPlace(name, folder, config);
      if (mayLeadOutside && config.label !== undefined)
        throw new HostError(
          'forbidden',
          `the virtual machine "${name}" has the label "${config.label}": all of its files lie in its folder, because others of that label have its process, too`,
        );
      await checkFiles(folder, mayLeadOutside);
      await forgetRuns(folder);
      const { path: place } = folder;
      const entry = await this.#added({ id, name, folder: place, owned: false, mayLeadOutside, state: 'creating' });
      return this.#beginNew('vm.register', entry, async (progress) => {
        progress.step('looking at its files');
        await loadBootFiles(folder);
        await machineDisks(folder, config, { mayLeadOutside });
        const changes = newIdentity(entry, config, await this.#options.list());
        if (changes.length > 0) await changeMachine(folder, changes);
        return this.#created(entry, 'create', 'vm.registered', []);
      });
    });
  }

  /** One that another daemon is about to hand over, in the folder at `place` if that is given. */
  async expect(config: MachineConfig, place?: string): Promise<Entry> {
    const { id, name: wantedName, label } = config;
    const there = this.#options.entries.get(id)?.name ?? (this.#coming.has(id) ? wantedName : undefined);
    if (there !== undefined) throw new HostError('name-taken', `the machine is there already, as "${there}"`);
    return this.#named(id, wantedName, [id], async (name) => {
      await this.#options.labels.checkNew(name, config);
      const folder = place ?? this.#freeFolder(name, id, label);
      return this.#added({ id, name, folder, owned: true, mayLeadOutside: label === undefined, state: 'arriving' });
    });
  }

  /** Takes the name for a machine that `make` adds; until then nobody else is given what is `reserved`, and nothing is left when that fails. */
  async #named<T>(
    id: string,
    wanted: string | undefined,
    reserved: readonly string[],
    make: (name: string) => Promise<T>,
  ): Promise<T> {
    for (const each of reserved) this.#coming.add(each);
    let name: string | undefined;
    try {
      name = await this.#options.names.take(wanted, id);
      return await make(name);
    } catch (error) {
      if (name !== undefined && !this.#options.entries.has(id)) this.#options.names.release(name, id);
      throw error;
    } finally {
      for (const each of reserved) this.#coming.delete(each);
    }
  }

  /** A machine of its own that goes on from a snapshot of another one. */
  async restoreAs(from: Entry, snapshot: string, wanted: string): Promise<LongOperation> {
    // Nobody removes the snapshot meanwhile.
    const release = from.life.hold('restore', from.name);
    const id = randomUUID();
    try {
      return await this.#named(id, wanted, [], async (name) => {
        const config = copiedConfig(await readMachine(from.folder), id, name);
        const folder = this.#freeFolder(name, id, config.label);
        const mayLeadOutside = from.mayLeadOutside && config.label === undefined;
        const entry = await this.#added({ id, name, folder, owned: true, mayLeadOutside, state: 'creating' });
        return this.#beginNew('snapshot.restore', entry, async (progress) => {
          try {
            progress.step('looking at the snapshot');
            const store = storeOf(from.folder);
            const manifest = await store.verify(snapshot);
            progress.step('making its files');
            const what = { folder: from.folder, store, name: snapshot, manifest };
            await copySnapshot(unfinished(this.#options.folder, id), folder, config, what);
          } finally {
            release();
          }
          await this.#created(entry, 'create', 'vm.created', []);
          try {
            await this.#options.runs.restore(entry, (now) => prepareRestore(entry, snapshot, now))(progress);
            await rm(entry.folder.copying, { force: true }).catch(this.#options.onFailure);
          } catch (error) {
            // One that does not go on is not what was asked for.
            if (entry.life.state === 'stopped') {
              entry.life.begin('rm', entry.name);
              await removeFolder(entry);
              entry.life.done('rm');
              await this.#options.forget(entry);
            }
            throw error;
          }
          return [];
        });
      });
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Of a machine that is being made: nothing is left of it when that fails. One that is made stays, whatever comes afterwards. */
  #beginNew(kind: OperationName, entry: Entry, work: CreatingWork): LongOperation {
    return this.#options.begin(kind, entry, async (progress) => {
      try {
        return await work(progress);
      } catch (error) {
        if (entry.life.failed('create')) await this.#options.forget(entry);
        throw error;
      }
    });
  }

  async #added(machine: Omit<StoredMachine, 'createdAt' | 'startedAt' | 'pid' | 'end'>): Promise<Entry> {
    if (this.#options.entries.size >= MAXIMUM_MACHINES)
      throw new HostError('too-many', `there are ${MAXIMUM_MACHINES} virtual machines already, which is the most`);
    const createdAt = new Date().toISOString();
    const entry = this.#options.add({ ...machine, createdAt, startedAt: undefined, pid: undefined, end: undefined });
    try {
      await this.#options.save(entry);
    } catch (error) {
      this.#options.entries.delete(entry.id);
      throw error;
    }
    return entry;
  }

  async #created(entry: Entry, what: 'create', event: string, notes: readonly string[]): Promise<readonly string[]> {
    entry.life.done(what);
    await this.#options.save(entry);
    this.#options.events.add(event, entry.vm);
    return notes;
  }

  /** A folder that is called like the machine, where that is free; of one with a label a number. */
  #freeFolder(name: string, id: string, label?: string): string {
    if (label !== undefined) return this.#options.labels.freeFolder(label);
    const path = join(this.#options.folder, name);
    const isUsed = existsSync(path) || [...this.#options.entries.values()].some(({ folder }) => folder.path === path);
    return isUsed ? `${path}-${id.slice(0, 8)}` : path;
  }
}
