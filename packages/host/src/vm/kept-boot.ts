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

import { hash, randomBytes } from 'node:crypto';
import { readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Machine, type MachineRunner, SnapshotError } from '@ringfence/core';
import { cacheFolder } from '@ringfence/images/cache-folder';
import { keepHotPages, type PlacedPages } from '../snapshot/hot-pages.ts';
import { programFingerprint } from '../snapshot/program-fingerprint.ts';
import { type OpenStoredSnapshot, SnapshotStore } from '../snapshot/snapshot-store.ts';
import { nodeClock } from '../machine/ports.ts';
import type { HeldAgentPort } from './held-agent-port.ts';
import type { FoundImage } from './images.ts';
import type { VMOptions, VMSettings } from './options.ts';

/** Machines that are kept, and their bytes; those used longest ago go first. */
export const MAXIMUM_KEPT = 16;
export const MAXIMUM_KEPT_BYTES = 1024 ** 3;

/** How often, and how many milliseconds apart, it is looked whether a machine that has booted has nothing to do. */
const IDLE_LOOKS = 100;
const IDLE_LOOK_MS = 2;

const NETWORKS: readonly string[] = ['user', 'none'];
const ORDINARY_ARGUMENTS: readonly string[] = ['quiet'];

/** Why a machine of these options boots; undefined when it may go on from a kept one. A sentence's end. */
export function whyItBoots(options: VMOptions, settings: VMSettings): string | undefined {
  if (options.keptBoot !== true) return 'nobody asked for a kept one';
  if (settings.image.find === undefined) return `machines of the image ${settings.imageName} are not kept`;
  if (settings.disks.length > 0) return 'it has a disk of its own';
  if (options.onSerial !== undefined) return 'its boot messages are to be seen';
  if (!NETWORKS.includes(settings.network.net)) return 'its network is shared with others';
  if (options.kernelArguments?.some((word) => !ORDINARY_ARGUMENTS.includes(word)) === true)
    return 'its kernel gets words of its own';
  return undefined;
}

/** What stands for a machine that is made like this, whatever runs in it. */
export function keptBootKey(image: FoundImage, options: VMOptions, settings: VMSettings): string {
  const { imageName, cpus, memoryBytes, network, shares } = settings;
  const shape = {
    program: programFingerprint(),
    image: [imageName, image.fingerprint],
    cpus,
    memoryBytes,
    network: network.net,
    // Whose they are and where they are mounted comes later.
    shares: shares.map(({ readOnly }) => readOnly),
    kernelArguments: options.kernelArguments ?? [],
    balloon: options.balloon === true,
  };
  return hash('sha256', JSON.stringify(shape)).slice(0, 32);
}

export class KeptBoots {
  readonly #store: SnapshotStore;

  constructor(folder: string = join(cacheFolder(undefined, process.env), 'booted')) {
    this.#store = new SnapshotStore(folder);
  }

  /** The machine kept by that key; undefined when there is none that can be used. One that cannot be is removed. */
  async open(key: string): Promise<OpenStoredSnapshot | undefined> {
    try {
      const opened = this.#store.open(key, { verify: false });
      const now = new Date();
      // The one used last is removed last.
      utimesSync(join(this.#store.folder, key), now, now);
      return opened;
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
    key: string,
    port: HeldAgentPort,
    { machine, runner }: { readonly machine: Machine; readonly runner: MachineRunner },
    ended: Promise<unknown>,
  ): Promise<void> {
    try {
      await Promise.race([port.opened, ended]);
      for (let look = 0; look < IDLE_LOOKS && !runner.isIdle; look++) await sleep(IDLE_LOOK_MS);
      const { finished } = await this.#store.hold(key, {
        machine,
        runner,
        clock: nodeClock,
        id: randomBytes(16).toString('hex'),
        createdBy: programFingerprint(),
        createdAt: new Date().toISOString(),
      });
      // The guest goes on while its pages are written.
      port.release();
      await finished;
      this.#makeRoom(key);
    } catch {
      // Another process was faster, the disk is full, the guest has ended: the next machine boots as well.
    } finally {
      port.release();
    }
  }

  /** Leaves behind what a machine that went on has needed beside what was placed. */
  keepHotPages(machine: Machine, snapshot: OpenStoredSnapshot, placed: PlacedPages): void {
    try {
      keepHotPages(machine, snapshot, placed);
    } catch {
      // Then the next one loads them one by one as well.
    }
  }

  async remove(key: string): Promise<void> {
    await this.#store.remove(key).catch(() => undefined);
  }

  /** Removes those used longest ago, until the rest is no more than it may be. */
  #makeRoom(newest: string): void {
    const { folder } = this.#store;
    const all = this.#store
      .list()
      .map(({ name }) => ({
        name,
        usedMs: statSync(join(folder, name)).mtimeMs,
        bytes: folderBytes(join(folder, name)),
      }))
      .toSorted((a, b) => b.usedMs - a.usedMs);
    let bytes = 0;
    for (const [n, one] of all.entries()) {
      bytes += one.bytes;
      if (one.name !== newest && (n >= MAXIMUM_KEPT || bytes > MAXIMUM_KEPT_BYTES)) void this.remove(one.name);
    }
  }
}

function folderBytes(path: string): number {
  return readdirSync(path).reduce((sum, name) => sum + statSync(join(path, name)).size, 0);
}
