/**
 * Kept boots of the daemon's machines (vm/kept-boot.ts): a machine that is started goes on from one of a machine of the same make, where there is one, instead
 * of booting.
 *
 *     start      choose: its make --> kept? --> the process that waits for that make already, or a new one
 *                     none is kept: it boots, and when it is there another process boots the same for nobody, and keeps that (keep-program.ts)
 *     then       the next process of that make is made ready, for the next start
 *
 * INVARIANT: what machines go on from was written by a process in which nobody ever had anything executed.
 */

import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import process from 'node:process';
import { HostError } from '../failure.ts';
import type { HowStarted } from '../control/operations.ts';
import { bootFilesOf } from '../machine-folder/boot-files.ts';
import type { MachineConfig } from '../machine-folder/config.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { digestFileInTurns } from '../snapshot/file-digests.ts';
import { keptBootKey, KeptBoots, keptBootsFolder, type KeptPlace, whyItBoots } from '../vm/kept-boot.ts';
import { vmSettings } from '../vm/options.ts';
import { keepBoot } from '../vm-process/keeper.ts';
import { shapeOf } from '../vm-process/machine-run.ts';
import type { MachineMake } from '../vm-process/messages.ts';
import type { SpareProcess, SpareProcesses } from '../vm-process/spare.ts';
import { keptFolders } from '../vm-process/start.ts';

/** Digests of files that are remembered. */
const MAXIMUM_DIGESTS = 1024;
/** A process that waits and that nobody has wanted for so long ends. */
const SPARE_IDLE_MS = 600_000;
/** A make of which no boot could be kept is not tried again for so long. */
const AFTER_FAILURE_MS = 600_000;
/** Of this computer's memory, what has to be free for a process to wait. */
const SPARE_ROOM_BYTES = 512 * 1024 ** 2;

const NONE_YET = 'none of a machine like it is kept yet';

/** What a machine that is started does. */
export type BootChoice =
  /** A sentence's end. */
  | { readonly kind: 'boot'; readonly reason: string }
  /** There is none of its make yet. */
  | { readonly kind: 'first'; readonly reason: string; readonly make: MachineMake; readonly folder: MachineFolder }
  | { readonly kind: 'kept'; readonly make: MachineMake };

export interface BootsOptions {
  /** Those that wait for machines which go on. */
  readonly spares: Pick<SpareProcesses, 'begin' | 'take' | 'end'>;
  readonly onFailure: (error: unknown) => void;
  /** Of kept boots. */
  readonly folder?: string;
  readonly keep?: typeof keepBoot;
  readonly freeBytes?: () => number;
}

export class Boots {
  readonly #options: BootsOptions;
  readonly #folder: string;
  readonly #boots: KeptBoots;
  readonly #digests = new Map<string, Promise<string>>();
  /** Makes of which no boot could be kept, and when. */
  readonly #failed = new Map<string, number>();
  #keeping: AbortController | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: BootsOptions) {
    this.#options = options;
    this.#folder = options.folder ?? keptBootsFolder();
    this.#boots = new KeptBoots(this.#folder);
  }

  close(): void {
    clearTimeout(this.#idle);
    this.#keeping?.abort();
  }

  /** What a machine does that is started. Never rejects: one of which that cannot be found out boots. */
  async choose(folder: MachineFolder, config: MachineConfig): Promise<BootChoice> {
    try {
      const make = await this.#makeOf(folder, config);
      if (typeof make === 'string') return { kind: 'boot', reason: make };
      return this.#boots.has(make.kept.key)
        ? { kind: 'kept', make }
        : { kind: 'first', reason: NONE_YET, make, folder };
    } catch (error) {
      // Whoever boots it says what is wrong with its image.
      if (!(error instanceof HostError)) this.#options.onFailure(error);
      return { kind: 'boot', reason: 'its image cannot be read' };
    }
  }

  /** How its process is started. */
  begins(
    choice: BootChoice | undefined,
    folder: MachineFolder,
  ): { readonly kept?: KeptPlace; readonly spare?: SpareProcess | undefined } {
    if (choice?.kind !== 'kept') return {};
    const { kept } = choice.make;
    const spare = this.#options.spares.take(spareKey(choice.make), folder);
    if (!this.#hasRoom) this.#options.spares.end();
    return { kept, spare };
  }

  /** It takes commands, and has begun like this. */
  began(choice: BootChoice | undefined, how: HowStarted | undefined): void {
    if (choice?.kind === 'first') this.#keep(choice.make, choice.folder);
    else if (choice?.kind === 'kept' && how?.from === 'kept-boot') this.#wait(choice.make);
    // It booted, because what is kept cannot be used.
    else this.failed(choice);
  }

  /** One that was to go on did not, or failed later: what it went on from is looked at, and removed when it is not what was written. */
  failed(choice: BootChoice | undefined): void {
    if (choice?.kind !== 'kept') return;
    const { make } = choice;
    void this.#verify(make).catch(this.#options.onFailure);
  }

  async #verify({ kept }: MachineMake): Promise<void> {
    // One that waits has the same.
    if (!(await this.#boots.verify(kept.key))) this.#options.spares.end();
  }

  /** One like this was made, and may be started soon. */
  async expect(folder: MachineFolder, config: MachineConfig): Promise<void> {
    const choice = await this.choose(folder, config);
    if (choice.kind === 'kept') this.#wait(choice.make);
  }

  /** What shapes it; or why it boots. */
  async #makeOf(folder: MachineFolder, config: MachineConfig): Promise<MachineMake | string> {
    if (config.label !== undefined) return 'it shares its process with others';
    if (config.overcommit !== undefined) return 'it may be given less memory than it has';
    if (config.disks !== undefined && config.disks.length > 0) return 'it has a disk of its own';
    const shape = shapeOf(config);
    const options = { ...shape, keptBoot: true };
    const settings = vmSettings(options);
    const reason = whyItBoots(options, settings);
    if (reason !== undefined) return reason;
    const { description, payloads } = bootFilesOf(folder);
    const [text, ...rest] = await Promise.all([description, ...payloads].map((path) => this.#digest(path)));
    const found = { suite: config.suite, fingerprint: [text, ...rest].join(' '), hasDisk: false };
    const key = keptBootKey(found, options, settings);
    return { shape, kept: { folder: this.#folder, key } };
  }

  /** SHA-256 of a file of an image. Nobody writes to these; a link that is made to one changes nothing that this looks at. */
  async #digest(path: string): Promise<string> {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
    const stamp = [dev, ino, size, mtimeNs].join(':');
    let known = this.#digests.get(stamp);
    if (known === undefined) {
      known = digestFileInTurns(path).then(({ sha256 }) => sha256);
      known.catch(() => this.#digests.delete(stamp));
      this.#digests.set(stamp, known);
      const [oldest = ''] = this.#digests.keys();
      if (this.#digests.size > MAXIMUM_DIGESTS) this.#digests.delete(oldest);
    }
    return known;
  }

  /** Has another process boot the same. One at a time does. */
  #keep(make: MachineMake, folder: MachineFolder): void {
    const { name } = make.kept.key;
    const hasFailed = performance.now() - (this.#failed.get(name) ?? -Infinity) < AFTER_FAILURE_MS;
    if (this.#keeping !== undefined || hasFailed || this.#boots.has(make.kept.key)) return;
    this.#keeping = new AbortController();
    const { keep = keepBoot, onFailure } = this.#options;
    const finish = (path: string): Promise<void> => this.#boots.finish(make.kept.key, path);
    keep(make, folder, finish, this.#keeping.signal)
      .then(
        () => this.#wait(make),
        (error: unknown) => {
          // One that was removed meanwhile says nothing of others of its make.
          if (this.#keeping?.signal.aborted === true || !existsSync(folder.yaml)) return;
          this.#failed.set(name, performance.now());
          onFailure(error);
        },
      )
      .finally(() => (this.#keeping = undefined));
  }

  /** Whether a process may wait. */
  get #hasRoom(): boolean {
    const { freeBytes = () => process.availableMemory() } = this.#options;
    return freeBytes() >= SPARE_ROOM_BYTES;
  }

  /** Has a process wait for the next machine of that make. */
  #wait(make: MachineMake): void {
    const { spares } = this.#options;
    if (!this.#hasRoom) return spares.end();
    const { kept } = make;
    spares.begin({ key: spareKey(make), message: { kind: 'spare', make }, readable: keptFolders(kept) });
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => spares.end(), SPARE_IDLE_MS).unref();
  }
}

/** A kept boot may be executed by either engine. */
function spareKey({ shape: { engine = 'jit' }, kept }: MachineMake): string {
  return `${kept.key.name} ${engine}`;
}
