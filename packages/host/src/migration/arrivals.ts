/**
 * Machines that come from other daemons: each gets a folder and a process that waits for it, and is there when it runs. What does not come leaves nothing.
 */

import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { complaint } from '@ringfence/api';
import { formatSize } from '@ringfence/core/sizes';
import * as z from 'zod/mini';
import { FRAME, type FrameLink, jsonIn } from '../control/frames.ts';
import { FAILURE } from '../control/operations.ts';
import { errorOf, wireFailure } from '../control/wire.ts';
import { errnoOf, HostError, systemReason } from '../failure.ts';
import { hasCard, type MachineConfig, memoryBytesOf } from '../machine-folder/config.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { type MachineDisks, unfinished } from '../machine-folder/machine-files.ts';
import { changedVmYaml, parseVmYaml } from '../machine-folder/vm-yaml.ts';
import { syncFolder } from '../sync-folder.ts';
import { isAbsent, readRegularSync } from '../regular-file.ts';
import type { DomainPlace } from '../vm-process/domains.ts';
import type { MachineProcesses, RunningMachine } from '../vm-process/running.ts';
import type { SpareProcess } from '../vm-process/spare.ts';
import type { Arriving } from '../vm-process/start.ts';
import { takeFiles } from './arriving-files.ts';
import { carry } from './carry.ts';
import { FollowingLink } from './following-link.ts';
import { cameFrom, missesForEver, openMailbox, removeMailbox } from './mailbox.ts';
import { arrivingDisks } from './moved-disks.ts';
import { answerOf, DAEMON_PROTOCOL, DAEMON_REQUEST, type MigrateRequest, nameOf, sayWorking } from './protocol.ts';
import { limitSilence } from './tls-link.ts';
import type { Trust } from './trust.ts';

/** How long the first message of a daemon may take: it reads all images of the machine before. */
const REQUEST_MS = 3_600_000;

/** Between two times that it is tried to read whose a machine is. */
const READ_AGAIN_MS = 500;

/** `isSettled` is what the daemon adds when nobody asks any more. */
const ARRIVED = z.object({ migration: z.string(), isSettled: z.optional(z.boolean()) });

/** Machines that come at once. */
const MAXIMUM_ARRIVING = 16;

/** A machine that is to come, as the daemon has it. */
export interface ExpectedMachine {
  readonly id: string;
  readonly name: string;
  readonly folder: MachineFolder;
  /** What one that may be given less than its memory may have at first. */
  readonly poolBytes?: number | undefined;
  /** The process that it is to be in with others of its trust label; undefined of one that has none. */
  readonly place?: DomainPlace | undefined;
}

export interface ArrivalsOptions {
  readonly trust: Trust;
  readonly version: string;
  readonly processes: MachineProcesses;
  /** Where folders of machines are made. */
  readonly machines: string;
  readonly freeMemoryBytes: () => number;
  /** Takes note that it is to come; throws where it cannot be here. */
  readonly expect: (config: MachineConfig, folder?: MachineFolder) => Promise<ExpectedMachine>;
  /** It runs here; or it ran, and its process is gone. */
  readonly arrived: (machine: ExpectedMachine, run: RunningMachine) => Promise<void>;
  readonly failed: (machine: ExpectedMachine) => Promise<void>;
  /** Folders of machines that are here, whose files may be those that it needs. */
  readonly folders: () => readonly MachineFolder[];
  /** The process of the machine in that folder, while there is one. */
  readonly running: (folder: MachineFolder) => Pick<RunningMachine, 'ended'> | undefined;
  /** The cache, whose images' files may be, too. */
  readonly cache?: string;
  readonly onFailure: (error: unknown) => void;
}

interface Session {
  /** Of the daemon that the machine comes from. */
  readonly from: string;
  /** Ends it as a lost link would. */
  link: Pick<FrameLink, 'destroy'>;
  /** The connection with a process whose machine is here; pages may follow over it. */
  process?: FrameLink;
  follows?: FollowingLink;
  /** Resolves when it is known whether the machine is here. */
  readonly known: PromiseWithResolvers<void>;
  readonly over: Promise<unknown>;
}

/** One that came, as it is now. */
interface CameMachine {
  readonly folder: MachineFolder;
  readonly run: Pick<RunningMachine, 'ended'> | undefined;
  /** As `cameFrom` says it. */
  readonly source: string | undefined;
}

/** One that runs while pages are missing. */
type WaitingMachine = CameMachine & { readonly run: Pick<RunningMachine, 'ended'> };

function waitsForPages(came: CameMachine | undefined): came is WaitingMachine {
  return came?.run !== undefined && Boolean(came.source);
}

export class Arrivals {
  readonly #options: ArrivalsOptions;
  readonly #sessions = new Map<string, Session>();
  /** Folders of which it could not be read whether their machines came. */
  #unread: readonly MachineFolder[] = [];
  #isClosing = false;

  constructor(options: ArrivalsOptions) {
    this.#options = options;
  }

  /** Whether a machine is coming. */
  get isReceiving(): boolean {
    return this.#sessions.size > 0;
  }

  /** Serves one connection of a daemon that is trusted. Never rejects. */
  async serve(link: FrameLink, from: string): Promise<void> {
    limitSilence(link, REQUEST_MS);
    try {
      const request = z.safeParse(DAEMON_REQUEST, jsonIn(await answerOf(link, FRAME.REQUEST)));
      if (!request.success)
        throw new HostError(
          'protocol',
          `the other daemon was asked for what makes no sense to it: ${complaint(request.error)}`,
        );
      limitSilence(link, 0);
      const { data } = request;
      if (data.protocol !== DAEMON_PROTOCOL)
        throw new HostError('other-version', 'the daemon there is of another version of Ringfence');
      if (data.kind === 'ask') await link.sendJson(FRAME.RESULT, { owner: await this.#owner(data.migration) });
      else if (data.kind === 'resume') await this.#resume(data.migration, link, from);
      else if (data.kind === 'settled') {
        await this.#settled(data.migration);
        await link.sendJson(FRAME.RESULT, {});
      } else await this.#begin(data, link, from);
    } catch (error) {
      await link.sendJson(FRAME.ERROR, wireFailure(sayable(error)));
    }
    await link.end();
  }

  /** Tells who is not trusted, and hears nothing of what he says. */
  refuse(link: FrameLink, error: HostError): void {
    void link.sendJson(FRAME.ERROR, wireFailure(error)).then(() => link.end());
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    for (const { link, process } of this.#sessions.values()) {
      link.destroy();
      process?.destroy();
    }
    await Promise.all([...this.#sessions.values()].map(({ over }) => over));
  }

  /** Whose a machine is whose link was lost: what is under way is brought to its end first. */
  async #owner(migration: string): Promise<'source' | 'target'> {
    const session = this.#sessions.get(migration);
    session?.link.destroy();
    await session?.known.promise;
    const { trust } = this.#options;
    if (!trust.hasArrived(migration)) this.recall(this.#unread);
    if (trust.hasArrived(migration)) return 'target';
    if (this.#unread.length > 0)
      throw new HostError('unavailable', 'it cannot be read there whose a machine is that came');
    return 'source';
  }

  /** Takes note of the machines in these folders that came while a daemon was killed. Where that cannot be read nobody hears that one has not come. */
  recall(folders: readonly MachineFolder[]): void {
    const { trust, onFailure } = this.#options;
    this.#unread = folders.filter((folder) => {
      try {
        const { migration, isSettled = false } = arrivalIn(folder) ?? {};
        if (migration !== undefined && !isSettled && !trust.hasArrived(migration)) trust.arrived(migration);
        return false;
      } catch (error) {
        onFailure(error);
        return true;
      }
    });
  }

  /** Who it came from has nothing of it any more: no page follows, it is forgotten, and the next daemon does not remember it again. */
  async #settled(migration: string): Promise<void> {
    const { trust, folders, onFailure } = this.#options;
    const mine = folders().filter((folder) => {
      try {
        if (arrivedBy(folder) !== migration) return false;
        // Its process looks here when the connection ends.
        missesForEver(folder);
        return true;
      } catch (error) {
        onFailure(error);
        return false;
      }
    });
    const session = this.#sessions.get(migration);
    session?.process?.destroy();
    await session?.over;
    for (const { arrived } of mine)
      try {
        await writeFile(`${arrived}.new`, JSON.stringify({ migration, isSettled: true }), { mode: 0o600 });
        await rename(`${arrived}.new`, arrived);
      } catch (error) {
        onFailure(error);
      }
    trust.forget(migration);
  }

  /** Whoever asks waits until it can be read; the next daemon looks where this one ends before. */
  async #arrivedBy(folder: MachineFolder): Promise<string | undefined> {
    for (let failed: unknown; ; await sleep(READ_AGAIN_MS))
      try {
        return arrivedBy(folder);
      } catch (error) {
        if (failed === undefined) this.#options.onFailure(error);
        failed = error;
        if (!this.#isClosing) continue;
        this.#unread = [...this.#unread, folder];
        throw error;
      }
  }

  /** Pages go on to follow over another link. */
  async #resume(migration: string, link: FrameLink, from: string): Promise<void> {
    const session = this.#sessions.get(migration) ?? this.#foundAgain(migration, from);
    if (session !== undefined && session.from !== from) throw cameFromAnother();
    await session?.known.promise;
    if (session?.follows !== undefined && this.#sessions.get(migration) === session)
      try {
        return await session.follows.join(link);
      } catch (error) {
        // Whoever completed it without a link reads nothing any more.
        if (!waitsForPages(this.#cameBy(migration))) session.process?.destroy();
        throw error;
      }
    const came = this.#cameBy(migration);
    if (waitsForPages(came))
      throw new HostError('unavailable', 'the process of the machine there cannot be reached now');
    await link.sendJson(FRAME.RESULT, { isComplete: came !== undefined && came.source === undefined });
  }

  /** The machine that this migration brought; throws where none is known to be, and one cannot be read. */
  #cameBy(migration: string): CameMachine | undefined {
    let failure: unknown;
    for (const folder of this.#options.folders()) {
      try {
        if (arrivedBy(folder) !== migration) continue;
      } catch (error) {
        failure = error;
        continue;
      }
      return { folder, run: this.#options.running(folder), source: cameFrom(folder) };
    }
    if (failure !== undefined) throw failure;
    return undefined;
  }

  /** A machine that came while another daemon was here, and waits for pages: its process is reached where it looks then. */
  #foundAgain(migration: string, from: string): Session | undefined {
    const came = this.#cameBy(migration);
    if (!waitsForPages(came)) return undefined;
    if (came.source !== from) throw cameFromAnother();
    if (this.#isClosing) throw new HostError('unavailable', 'the daemon there is ending');
    const over = Promise.withResolvers<void>();
    const nobody = { destroy: () => undefined };
    const session: Session = { from, link: nobody, known: Promise.withResolvers(), over: over.promise };
    this.#sessions.set(migration, session);
    void this.#goOn(came, session)
      .catch(this.#options.onFailure)
      .finally(() => {
        this.#sessions.delete(migration);
        session.known.resolve();
        over.resolve();
      });
    return session;
  }

  /** Until all of its pages are here, or it is gone. */
  async #goOn({ folder, run }: WaitingMachine, session: Session): Promise<void> {
    const there = await openMailbox(folder);
    if (this.#isClosing) there.destroy();
    void run.ended.then(() => there.destroy());
    const follows = new FollowingLink(there);
    [session.process, session.follows, session.link] = [there, follows, follows];
    session.known.resolve();
    await carry(there, follows, (frame) => {
      follows.hear(frame);
      if (frame.kind === FRAME.RESULT) there.destroy();
    });
    follows.destroy();
    removeMailbox(folder);
  }

  async #begin(request: MigrateRequest, link: FrameLink, from: string): Promise<void> {
    const { migration, version } = request;
    if (version !== this.#options.version)
      throw new HostError(
        'other-version',
        `the daemon there is Ringfence ${this.#options.version}, and this one is ${version}; machines move between equal ones`,
      );
    if (this.#sessions.size >= MAXIMUM_ARRIVING)
      throw new HostError('too-many', `${MAXIMUM_ARRIVING} machines are coming there already, which is the most`);
    this.#options.trust.checkRoom();
    if (this.#sessions.has(migration)) throw new HostError('protocol', 'this migration is under way already');
    const over = Promise.withResolvers<void>();
    const session: Session = { from, link, known: Promise.withResolvers(), over: over.promise };
    this.#sessions.set(migration, session);
    const working = sayWorking(link);
    try {
      await this.#take(request, link, working, session);
    } finally {
      working[Symbol.dispose]();
      this.#sessions.delete(migration);
      session.known.resolve();
      over.resolve();
    }
  }

  async #take(
    { yaml: said, files, disks: moved, migration }: MigrateRequest,
    link: FrameLink,
    working: Disposable,
    session: Session,
  ): Promise<void> {
    const { processes, machines, freeMemoryBytes } = this.#options;
    if (new Set(files.map(nameOf)).size < files.length) throw new HostError('protocol', 'a file is named twice');
    const { config, yaml } = this.#admitted(said, session.from);
    if (config.label !== undefined && moved.some(({ shared }) => shared !== undefined))
      throw new HostError(
        'unsupported',
        `the virtual machine "${config.name}" has the label "${config.label}" there, too, and its disks have to lie in its folder`,
      );
    const [needed, free] = [memoryBytesOf(config), freeMemoryBytes()];
    if (config.overcommit === undefined && needed > free)
      throw new HostError(
        'no-memory',
        `the virtual machine "${config.name}" has ${formatSize(needed)} of memory, and the computer there has ${formatSize(free)} left`,
      );
    // It waits for one that has a process of its own.
    const spare = config.label === undefined ? processes.spare?.() : undefined;
    const machine = await this.#options.expect(config, spare?.folder).catch((error: unknown) => {
      spare?.end();
      throw error;
    });
    let run: RunningMachine | undefined;
    try {
      // The first one of a label is where none was.
      const beside = dirname(machine.folder.path);
      if ((await mkdir(beside, { recursive: true, mode: 0o700 })) !== undefined) await syncFolder(dirname(beside));
      const disks = await arrivingDisks(machine.folder, yaml, config, { disks: moved, files });
      await this.#makeFolder(machine, disks.yaml, session.from);
      const { label } = config;
      // Its process begins while what it reads is still on its way.
      const unwanted = new AbortController();
      const image = takeFiles(machine.folder, { files, disks, label, ...this.#options }, link, unwanted.signal);
      const from = { arriving: image, absentDisks: disks.absent };
      const starting = this.#process(machine, config, disks.disks, from, spare);
      starting.catch((error: unknown) => unwanted.abort(error));
      // Who writes into the folder is done before it is removed.
      const [came, started] = await Promise.allSettled([image, starting]);
      if (started.status === 'fulfilled') run = started.value;
      if (came.status === 'rejected') throw came.reason;
      if (started.status === 'rejected') throw started.reason;
      run = started.value;
      const there = await run.arrive(migration);
      working[Symbol.dispose]();
      await link.send(FRAME.STARTED);
      await this.#carry(link, there, machine, run, migration, session);
    } catch (error) {
      spare?.end();
      if (run !== undefined) await this.#end(run);
      if (run !== undefined && (await this.#arrivedBy(machine.folder)) === migration) {
        // It was this computer's when its process was killed.
        return this.#here(machine, run, migration);
      }
      await rm(machine.folder.path, { recursive: true, force: true });
      await rm(unfinished(machines, machine.id), { recursive: true, force: true });
      await this.#options.failed(machine);
      throw error;
    }
  }

  /** Ends one that does not come. A process that it shares with others may do that late: until then nobody hears whose the machine is. */
  async #end(run: RunningMachine): Promise<void> {
    for (;;)
      try {
        await run.kill();
        await run.ended;
        return;
      } catch (error) {
        if (!(error instanceof HostError && error.code === 'timeout')) throw error;
        // Then the next daemon does it.
        if (this.#isClosing) throw error;
        await sleep(READ_AGAIN_MS);
      }
  }

  /** What a machine is here that comes from that daemon: whom it trusts is not for others to say, but for who trusts them with that. */
  #admitted(said: string, from: string): { readonly config: MachineConfig; readonly yaml: string } {
    const config = parseVmYaml(said, 'its vm.yaml');
    const { label, ...others } = config;
    if (label === undefined || this.#options.trust.mayKeep(from, label)) return { config, yaml: said };
    return { config: others, yaml: changedVmYaml(said, 'its vm.yaml', [[['label'], undefined]]) };
  }

  /** Of its own, or that of its label. */
  #process(
    { name, id, folder, poolBytes, place }: ExpectedMachine,
    config: MachineConfig,
    disks: MachineDisks,
    from: Arriving,
    spare: SpareProcess | undefined,
  ): Promise<RunningMachine> {
    const { processes } = this.#options;
    return place === undefined
      ? processes.start(name, id, folder, disks, { from, poolBytes, spare })
      : processes.join(place, { name, id, folder, disks, hasNetwork: hasCard(config), from });
  }

  /** Carries messages until the machine has all of its memory; rejects when it does not come. */
  async #carry(
    link: FrameLink,
    there: FrameLink,
    machine: ExpectedMachine,
    run: RunningMachine,
    migration: string,
    session: Session,
  ): Promise<void> {
    let [isHere, failure]: [boolean, Error | undefined] = [false, undefined];
    const follows = new FollowingLink(there, link);
    session.link = follows;
    follows.begin();
    await carry(there, follows, async (frame) => {
      follows.hear(frame);
      if (frame.kind === FRAME.ERROR) failure = errorOf(z.parse(FAILURE, jsonIn(frame)));
      else if (frame.kind === FRAME.STARTED) {
        isHere = true;
        await this.#here(machine, run, migration);
        [session.process, session.follows] = [there, follows];
        session.known.resolve();
      }
    });
    follows.destroy();
    if (isHere && failure) this.#options.onFailure(failure);
    if (isHere) return;
    throw failure ?? new HostError('unavailable', 'the process of the machine ended before it was there');
  }

  /** It is this daemon's, whether that can be written down here or not: its own folder says so, too. */
  async #here(machine: ExpectedMachine, run: RunningMachine, migration: string): Promise<void> {
    const { trust, arrived, onFailure } = this.#options;
    try {
      trust.arrived(migration);
    } catch (error) {
      onFailure(error);
    }
    await arrived(machine, run).catch(onFailure);
  }

  /** Without its image. What is found here of a machine that is to come and has not is removed when the daemon starts again. */
  async #makeFolder(machine: ExpectedMachine, yaml: string, from: string): Promise<void> {
    const { machines } = this.#options;
    const making = machineFolder(unfinished(machines, machine.id));
    for (const path of [making.path, making.image, making.disks, making.run]) await mkdir(path, { mode: 0o700 });
    await writeFile(making.yaml, yaml, { mode: 0o600, flush: true });
    // Its process, which may sync no folder, writes into a file whose name is durable already.
    await writeFile(making.arrived, '', { mode: 0o600, flush: true });
    // Of one of several in a process no page follows.
    if (machine.place === undefined) await writeFile(making.cameFrom, from, { mode: 0o600, flush: true });
    await syncFolder(making.run);
    await syncFolder(making.path);
    await rename(making.path, machine.folder.path);
    await syncFolder(dirname(machine.folder.path));
  }
}

function cameFromAnother(): HostError {
  return new HostError('untrusted', 'the machine there came from another daemon');
}

/** What the system says of files here is no bug. */
function sayable(error: unknown): unknown {
  const errno = error instanceof HostError ? undefined : errnoOf(error);
  if (errno === undefined) return error;
  const isFull = errno === 'ENOSPC' || errno === 'EDQUOT';
  return new HostError(isFull ? 'no-space' : 'unavailable', `it cannot be there: ${systemReason(error)}`, error);
}

/** Which migration brought the machine here, as its process wrote it down; undefined when none did. Throws where that cannot be read. */
export function arrivedBy(folder: MachineFolder): string | undefined {
  return arrivalIn(folder)?.migration;
}

function arrivalIn({ arrived }: MachineFolder): z.output<typeof ARRIVED> | undefined {
  let text: string;
  try {
    text = readRegularSync(arrived);
  } catch (error) {
    // Who wrote it wrote a file.
    if (isAbsent(error) || errnoOf(error) === undefined) return undefined;
    throw new HostError(
      'unavailable',
      `it cannot be read in ${arrived} whose the machine is: ${systemReason(error)}`,
      error,
    );
  }
  try {
    return z.parse(ARRIVED, JSON.parse(text));
  } catch {
    return undefined;
  }
}
