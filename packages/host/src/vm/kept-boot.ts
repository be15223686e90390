/**
 * Machines that were kept as they were when they had booted, for later ones that are alike: these go on from there instead of booting.
 *
 *     first   boots under a neutral name, its agent opens its port --> snapshot, while it goes on
 *     later   a blank machine of the same make --> that snapshot --> another name, seed and clock (VM) --> whatever is asked of it
 *
 * What was kept is before anything of a user: nobody has spoken to the agent, no folder is mounted, no command has run. It is known by all
 * that shapes it: the program, the image, processors, memory, devices, network, kernel command line. What cannot be in it (a user's disk, words
 * for the kernel, boot messages to be seen) has a machine boot.
 */

import { randomBytes } from 'node:crypto';
import { readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  INDEX_FILE,
  type Machine,
  type MachineRunner,
  PAGES_FILE,
  restoreInto,
  SnapshotError,
  type SnapshotManifest,
} from '@ringfence/core';
import { cacheFolder } from '@ringfence/images/cache-folder';
import type { OpenDisks } from '../disk/disks.ts';
import { HostError } from '../failure.ts';
import type { MachineNetwork } from '../network/machine-network.ts';
import {
  HotFile,
  type HotSnapshot,
  keepHotPagesIfPossible,
  NOTHING_PLACED,
  type PlacedPages,
} from '../snapshot/hot-pages.ts';
import { programFingerprint } from '../snapshot/program-fingerprint.ts';
import type { SharedPages } from '../snapshot/shared-pages.ts';
import { isFolder, SnapshotFolder } from '../snapshot/snapshot-folder.ts';
import { type OpenStoredSnapshot, SnapshotStore } from '../snapshot/snapshot-store.ts';
import { nodeClock } from '../machine/ports.ts';
import type { HeldAgentPort } from './held-agent-port.ts';
import type { KnownCard } from '../guest/move-card.ts';
import { cardOf, knownCard } from './known-card.ts';
import type { FoundImage } from './images.ts';
import type { VMOptions, VMSettings } from './options.ts';

/** Machines that are kept, and their bytes; those used longest ago go first. */
export const MAXIMUM_KEPT = 16;
export const MAXIMUM_KEPT_BYTES = 1024 ** 3;

/** How often, and for how long at most, it is looked whether a machine that has booted has nothing to do. */
const IDLE_LOOK_MS = 2;
const PATIENCE_MS = 200;
/** A system with services has to be so in all of the last looks: it waits for its disk, too. They go on starting when the agent is there. */
const PATIENCE_WITH_SERVICES_MS = 4000;
const QUIET_LOOKS = 50;

const NS_PER_MS = 1e6;

const NETWORKS: readonly string[] = ['user', 'none'];
const ORDINARY_ARGUMENTS: readonly string[] = ['quiet'];

/** Why a machine of these options boots; undefined when it may go on from a kept one. A sentence's end. */
export function whyItBoots(options: VMOptions, settings: VMSettings): string | undefined {
  if (options.keptBoot !== true) return 'nobody asked for a kept one';
  if (settings.image.find === undefined) return `machines of the image ${settings.imageName} are not kept`;
  if (settings.disks.length > 0) return 'it has a disk of its own';
  if ([options.userData, options.metaData, options.networkConfig, options.instanceId].some((one) => one !== undefined))
    return 'its guest is told something of its own when it boots';
  if (options.onSerial !== undefined) return 'its boot messages are to be seen';
  if (!NETWORKS.includes(settings.network.net)) return 'its network is shared with others';
  if (options.kernelArguments?.some((word) => !ORDINARY_ARGUMENTS.includes(word)) === true)
    return 'its kernel gets words of its own';
  return undefined;
}

/** What a kept machine is found by. */
export interface KeptBootKey {
  /** The name of its folder. */
  readonly name: string;
  /** All that shapes it, as text: two may have the same name, and then it is none of the other's. */
  readonly shape: string;
}

/** What stands for a machine that is made like this, whatever runs in it. */
export function keptBootKey(image: FoundImage, options: VMOptions, settings: VMSettings): KeptBootKey {
  const { imageName, cpus, memoryBytes, network, shares } = settings;
  const shape = JSON.stringify({
    program: programFingerprint(),
    image: [imageName, image.fingerprint],
    cpus,
    memoryBytes,
    network: network.net,
    // Whose they are and where they are mounted comes later.
    shares: shares.map(({ readOnly }) => readOnly),
    kernelArguments: options.kernelArguments ?? [],
    balloon: options.balloon === true,
  });
  return { name: nameOf(shape), shape };
}

/** 32 hexadecimal digits that depend on the text: four times FNV-1a with other beginnings, because node:crypto takes milliseconds to load. */
function nameOf(text: string): string {
  const words = [0x811c_9dc5, 0x2b4e_9d31, 0x7f4a_7c15, 0x1656_67b1];
  for (let at = 0; at < text.length; at++)
    for (let word = 0; word < words.length; word++)
      words[word] = Math.imul((words[word] ?? 0) ^ (text.charCodeAt(at) + (word << 8)), 0x0100_0193) >>> 0;
  return words.map((word) => word.toString(16).padStart(8, '0')).join('');
}

/** A kept boot, and who has it. */
export interface KeptPlace {
  /** Where kept boots lie. */
  readonly folder: string;
  readonly key: KeptBootKey;
  /** Puts a new one into its place, where a process may not do that itself; undefined where it only goes on from what others have kept. */
  readonly finish?: ((path: string) => Promise<void>) | undefined;
}

export function keptBootsFolder(): string {
  return join(cacheFolder(undefined, process.env), 'booted');
}

export interface KeptBootsOptions {
  /** Whether they are another process's: nothing is added, changed or removed. */
  readonly isReadOnly?: boolean;
  /** As that of a KeptPlace; the store's when it is not given. */
  readonly finish?: KeptPlace['finish'];
}

export class KeptBoots {
  readonly isReadOnly: boolean;
  readonly #store: SnapshotStore;
  readonly #finish: (name: string, path: string) => Promise<void>;

  constructor(folder: string = keptBootsFolder(), { isReadOnly = false, finish }: KeptBootsOptions = {}) {
    this.#store = new SnapshotStore(folder);
    this.isReadOnly = isReadOnly;
    this.#finish = finish === undefined ? (name, path) => this.finish({ name }, path) : (_name, path) => finish(path);
  }

  /** Whether there is one by that key, which may not be sound. Takes note that it is used. */
  has(key: KeptBootKey): boolean {
    const folder = join(this.#store.folder, key.name);
    if (!isFolder(folder)) return false;
    noteUse(folder);
    return true;
  }

  /** Puts one into its place that was written beside it, and makes room for it. */
  async finish({ name }: Pick<KeptBootKey, 'name'>, path: string): Promise<void> {
    await this.#store.finish(name, path);
    this.#makeRoom(name);
  }

  /** Reads all of it, while others have the thread, and removes one that is not sound; gives whether it is there then. */
  async verify(key: KeptBootKey): Promise<boolean> {
    try {
      const manifest = await this.#store.verify(key.name);
      if (manifest.about['shape'] === key.shape) return true;
    } catch (error) {
      if (!(error instanceof SnapshotError)) throw error;
    }
    await this.remove(key);
    return false;
  }

  /** The machine kept by that key; undefined when there is none that can be used. One that cannot be is removed. */
  async open(key: KeptBootKey, hasDisk = false): Promise<KeptBoot | undefined> {
    const hot = HotFile.open(join(this.#store.folder, key.name));
    // Its disk is wanted before its memory is, and known by the manifest.
    if (hot !== undefined && !hasDisk) return new KeptBoot(key, this.#store, hot);
    const opened = await this.#opened(key);
    if (opened !== undefined) return new KeptBoot(key, this.#store, hot, opened);
    hot?.[Symbol.dispose]();
    return undefined;
  }

  async #opened(key: KeptBootKey): Promise<OpenStoredSnapshot | undefined> {
    try {
      return openedKept(this.#store, key);
    } catch (error) {
      if (!(error instanceof SnapshotError) || error.code !== 'not-found') await this.remove(key);
      return undefined;
    }
  }

  /**
   * Keeps a machine when its guest has opened the agent's port and has nothing more to do, before anybody speaks to it: then the port is released.
   * Resolves when it is kept, or will not be: that is as good as if nobody had asked for it.
   */
  async keep(
    { name, shape }: KeptBootKey,
    port: HeldAgentPort,
    { machine, openDisks: { disks }, network }: KeptParts,
    runner: MachineRunner,
  ): Promise<void> {
    const guest = { hasEnded: false };
    const noted = (): void => void (guest.hasEnded = true);
    // When everything of it is closed comes later: that waits for this.
    const ended = runner.ended.then(noted, noted);
    try {
      await Promise.race([port.opened, ended]);
      const [patienceMs, quiet] = disks.length > 0 ? [PATIENCE_WITH_SERVICES_MS, QUIET_LOOKS] : [PATIENCE_MS, 1];
      // Beside a busy guest a look comes late: they are not counted.
      const endNs = nodeClock.monotonicNs() + patienceMs * NS_PER_MS;
      for (let idle = runner.isIdle ? 1 : 0; idle < quiet && nodeClock.monotonicNs() < endNs;) {
        await Promise.race([sleep(IDLE_LOOK_MS), ended]);
        idle = runner.isIdle ? idle + 1 : 0;
      }
      if (guest.hasEnded) return;
      const { written } = await this.#store.write(name, {
        machine,
        runner,
        disks,
        clock: nodeClock,
        id: randomBytes(16).toString('hex'),
        createdBy: programFingerprint(),
        createdAt: new Date().toISOString(),
        about: { shape, card: cardOf(network) },
      });
      // The guest goes on while its pages are written.
      port.release();
      const { path } = await written;
      await this.#finish(name, path);
    } catch {
      // Another process was faster, the disk is full, the guest has ended: the next machine boots as well.
    } finally {
      port.release();
    }
  }

  async remove({ name }: KeptBootKey): Promise<void> {
    if (!this.isReadOnly) await this.#store.remove(name).catch(() => undefined);
  }

  /** Removes those used longest ago, until the rest is no more than it may be. */
  #makeRoom(newest: string): void {
    const { folder } = this.#store;
    const all = this.#store
      .list()
      .map(({ name }) => ({
        name,
        usedMs: statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
        bytes: folderBytes(join(folder, name)),
      }))
      .toSorted((a, b) => b.usedMs - a.usedMs);
    let bytes = 0;
    for (const [n, one] of all.entries()) {
      bytes += one.bytes;
      if (one.name !== newest && (n >= MAXIMUM_KEPT || bytes > MAXIMUM_KEPT_BYTES))
        void this.#store.remove(one.name).catch(() => undefined);
    }
  }
}

/** What is kept of a machine. */
interface KeptParts {
  readonly machine: Machine;
  readonly openDisks: Pick<OpenDisks, 'disks'>;
  readonly network: Pick<MachineNetwork, 'cards' | 'settings'>;
}

/** Those used last are removed last. */
function noteUse(folder: string): void {
  const now = new Date();
  try {
    utimesSync(folder, now, now);
  } catch {
    // Removed already, or not ours to write to.
  }
}

function openedKept(store: SnapshotStore, { name, shape }: KeptBootKey, files?: SnapshotFolder): OpenStoredSnapshot {
  const opened = store.open(name, { verify: false, files });
  if (opened.manifest.about['shape'] === shape) return opened;
  opened.close();
  throw new SnapshotError('other-machine', 'it was kept of another machine');
}

/** A kept machine that another one goes on from. */
export class KeptBoot {
  readonly key: KeptBootKey;
  readonly #store: SnapshotStore;
  readonly #hot: HotFile | undefined;
  /** Its other files, open but not read, from before the machine runs: who removes it then takes nothing from the machine. */
  #files: SnapshotFolder | undefined;
  #opened: OpenStoredSnapshot | undefined;
  #snapshot: HotSnapshot | undefined;
  #placed: PlacedPages = NOTHING_PLACED;

  constructor(key: KeptBootKey, store: SnapshotStore, hot: HotFile | undefined, opened?: OpenStoredSnapshot) {
    this.key = key;
    this.#store = store;
    this.#hot = hot;
    this.#opened = opened;
  }

  /** Lets a blank machine go on from it: from what lies beside it alone, as long as that is sound. Throws a SnapshotError when it cannot be used. */
  restore(machine: Machine): void {
    using hot = this.#hot;
    using list = hot?.list(machine);
    const manifest = list?.manifest;
    const isWhole = list !== undefined && manifest?.about['shape'] === this.key.shape && this.#isBeside(manifest);
    this.#snapshot = isWhole && manifest !== undefined ? this.#late(manifest, [...list.runs()]) : this.#open();
    restoreInto(machine, this.#snapshot, () => {
      if (isWhole) this.#placed = list.place();
    });
    noteUse(this.#folder);
  }

  /** The network card that its guest knows, once it was restored. */
  get card(): KnownCard {
    return knownCard(this.#snapshot?.manifest);
  }

  /** The image of its system disk as that was then, if it has one. */
  get diskPath(): string | undefined {
    const [disk] = this.#opened?.manifest.disks ?? [];
    return disk === undefined || disk.file === null ? undefined : join(this.#folder, disk.file);
  }

  /**
   * What `open` opens of its disk: that of the machine whose memory this has, and of no other that was kept since. Rejects with a SnapshotError when it cannot
   * be had.
   */
  async withDisk(open: () => Promise<OpenDisks>): Promise<OpenDisks> {
    let disks: OpenDisks;
    try {
      disks = await open();
    } catch (error) {
      if (this.diskPath === undefined || !(error instanceof HostError)) throw error;
      throw new SnapshotError('broken', `its disk cannot be opened: ${error.message}`, error);
    }
    // Once removed, one of that id is never there again.
    using there = new SnapshotFolder(this.#folder);
    if (this.#opened === undefined || there.head?.id === this.#opened.manifest.id) return disks;
    await disks.close();
    throw new SnapshotError('broken', 'the machine that was kept is another one by now');
  }

  /** Opens what is read late, where there is time now; false when it cannot be used. */
  openRest(): boolean {
    try {
      this.#open();
      return true;
    } catch (error) {
      if (!(error instanceof SnapshotError)) throw error;
      return false;
    }
  }

  /** Leaves behind what a machine that went on has needed beside what was placed. */
  keepHotPages(machine: Machine): void {
    if (this.#snapshot !== undefined) keepHotPagesIfPossible(machine, this.#snapshot, this.#placed);
  }

  close(): void {
    this.#hot?.[Symbol.dispose]();
    this.#files?.close();
    this.#opened?.close();
  }

  get #folder(): string {
    return join(this.#store.folder, this.key.name);
  }

  /** Opens the files of the snapshot; whether they are those of the one with this manifest, as far as that is seen without reading them. */
  #isBeside({ id, memory: { index, packs } }: SnapshotManifest): boolean {
    const files = (this.#files = new SnapshotFolder(this.#folder));
    const [pack] = packs;
    try {
      return (
        files.head?.id === id &&
        files.sizeOf(INDEX_FILE) === index.bytes &&
        (files.sizeOf(PAGES_FILE) ?? 0) === pack?.bytes &&
        packs.length === 1
      );
    } catch {
      return false;
    }
  }

  #open(): OpenStoredSnapshot {
    this.#opened ??= openedKept(this.#store, this.key, this.#files);
    return this.#opened;
  }

  /** Of which the rest is opened and checked when a page is wanted that is not among those placed. */
  #late(manifest: SnapshotManifest, runs: readonly (readonly [number, number])[]): HotSnapshot {
    const folder = this.#folder;
    const loaded: number[] = [];
    const load = (index: number, into: Uint8Array): void => {
      const opened = this.#open();
      if (opened.manifest.id !== manifest.id)
        throw new SnapshotError('broken', 'the machine that was kept is another one by now');
      opened.source.load(index, into);
    };
    const touched = (index: number): void => void loaded.push(index);
    const packs = this.#files === undefined ? [] : [this.#files.openFiles];
    const shared: SharedPages = { id: manifest.id, packs };
    return {
      manifest,
      source: { load, touched, loaded, shared },
      runs: () => runs,
      pathOf: (file) => join(folder, file),
    };
  }
}

/** Without what others remove, or give its name, meanwhile. */
function folderBytes(path: string): number {
  const sizeOf = (name: string): number => statSync(join(path, name), { throwIfNoEntry: false })?.size ?? 0;
  try {
    return readdirSync(path).reduce((sum, name) => sum + sizeOf(name), 0);
  } catch {
    return 0;
  }
}
