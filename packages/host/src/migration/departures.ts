/**
 * Machines that leave: what the daemon does for them. Where one goes is kept in its folder (leaving.json) before it can have been handed over, so that a
 * daemon that was killed meanwhile asks there before it lets the machine run again.
 */

import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { FRAME, type FrameLink, jsonIn } from '../control/frames.ts';
import { FAILURE, MIGRATION_STEP, type MigrationOutcome, OPERATIONS } from '../control/operations.ts';
import { errorOf } from '../control/wire.ts';
import { HostError } from '../failure.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import { digestOf, FILE_CHUNK_BYTES } from './file-digests.ts';
import type { Identity } from './identity.ts';
import { carry } from './carry.ts';
import { type Leaving, readLeaving, writeLeaving } from './leaving.ts';
import { leavingDisks, type SentDisk } from './moved-disks.ts';
import { type KeptPages, Rejoining } from './rejoining.ts';
import { ASK_AGAIN_MS, NEVER, Ownership, UnknownOwner } from './ownership.ts';
import { answerOf, DAEMON_PROTOCOL, type MovedFile, nameOf, NEEDED, placeOf, QUIET_MS } from './protocol.ts';
import { type Address, connectToDaemon, limitSilence } from './tls-link.ts';
import type { Trust } from './trust.ts';

/** How often it is told that nothing of a machine is here any more. */
const TELL_TIMES = 10;

/** How often it is told what it could not be told then. */
const OWED_MS = 60_000;

/** How long a machine's process may take to say what becomes of it when its move is given up, or it is known that it is the other daemon's. */
const GIVE_UP_MS = 2000;

export interface DeparturesOptions {
  readonly identity: Identity;
  readonly trust: Trust;
  readonly version: string;
}

export interface DepartureOptions {
  readonly downtimeMs?: number | undefined;
  readonly postCopy?: boolean | undefined;
  /** Disks outside of its folder are the same files there. */
  readonly sharedDisks?: boolean | undefined;
  readonly onStep: (text: string, done?: number, total?: number) => void;
  /** Told the trust label that it has there, if it has one. */
  readonly onLabel?: ((label: string) => void) | undefined;
  /** Somebody gives it up: what is not handed over is this daemon's then, as is what nobody answers for. */
  readonly givenUp?: AbortSignal | undefined;
}

export class Departures {
  readonly #options: DeparturesOptions;
  readonly #ending = new AbortController();
  /** Migrations whose machines are being removed here. */
  readonly #going = new Set<string>();
  readonly ownership: Ownership;
  /** Of machines that are the other daemon's and have pages here. */
  readonly rejoining: Rejoining;

  constructor(options: DeparturesOptions) {
    this.#options = options;
    this.ownership = new Ownership({ ...options, ending: this.#ending.signal });
    this.rejoining = new Rejoining({ ...options, ending: this.#ending.signal });
  }

  /**
   * Moves a machine that runs; rejects with a HostError when it is this daemon's. Resolves when it is the other one's: that it was leaving is to stay
   * written down until nothing of it is here.
   */
  async move(
    folder: MachineFolder,
    run: RunningMachine,
    to: Address,
    options: DepartureOptions,
  ): Promise<MigrationOutcome | undefined> {
    const { downtimeMs, postCopy, onStep, givenUp = NEVER } = options;
    const { identity, trust } = this.#options;
    onStep('connecting');
    const { link: there, fingerprint } = await connectToDaemon(identity, trust, to);
    const leaving: Leaving = { migration: randomUUID(), ...to, fingerprint, postCopy: postCopy === true };
    let isKnown = true;
    const leave = (): void => there.destroy();
    givenUp.addEventListener('abort', leave);
    try {
      givenUp.throwIfAborted();
      const [announced, written] = await Promise.allSettled([
        this.#announce(there, folder, run, leaving, options),
        writeLeaving(folder, leaving),
      ]);
      if (announced.status === 'rejected') throw announced.reason;
      if (written.status === 'rejected') throw written.reason;
      const disks = announced.value;
      const here = await run.migrate({
        ...(downtimeMs === undefined ? {} : { downtimeMs }),
        ...(postCopy === undefined ? {} : { postCopy }),
        disks,
      });
      isKnown = false;
      const { said, asked } = await this.#carry(here, there, { folder, run, leaving }, { onStep, givenUp });
      // A process that went without a word may have handed it over.
      const owner =
        said === undefined ? await (asked ?? this.ownership.settle(leaving, run, onStep, givenUp)) : undefined;
      if (owner === 'target') await this.#follow({ folder, run, leaving, onStep, givenUp });
      isKnown = true;
      const outcome = said?.() ?? owner;
      if (outcome === 'source') throw new HostError('ended', 'its process ended before it was moved');
      return outcome === 'target' ? undefined : outcome;
    } catch (error) {
      // While nobody knows whose it is, it stays written down that this has to be asked; of one that is given up, until its process is ended.
      if (isKnown) await rm(folder.leaving, { force: true });
      const isGivenUp = givenUp.aborted && !(error instanceof UnknownOwner);
      throw isGivenUp ? new HostError('aborted', 'its move was given up', error) : error;
    } finally {
      givenUp.removeEventListener('abort', leave);
      there.destroy();
    }
  }

  /** Where a machine was going when the last daemon ended; undefined where nothing says that it was, and throws where that cannot be read. */
  leavingOf(folder: MachineFolder): Leaving | undefined {
    return readLeaving(folder);
  }

  /** Whether a machine was going somewhere, also where that cannot be read: nothing is done with it before it is known whose it is. */
  wasLeaving(folder: MachineFolder): boolean {
    try {
      return this.leavingOf(folder) !== undefined;
    } catch {
      return true;
    }
  }

  /** As `settle`, of one that was going somewhere; where that cannot be read its process may say whose it is, and otherwise it is read again and again. */
  async recover(
    folder: MachineFolder,
    run: RunningMachine | undefined,
    onStep: (text: string) => void,
    givenUp: AbortSignal = NEVER,
  ): Promise<'source' | 'target'> {
    for (;;) {
      const isLast = givenUp.aborted;
      try {
        const leaving = this.leavingOf(folder);
        if (leaving !== undefined) {
          const owner = await this.ownership.settle(leaving, run, onStep, givenUp);
          if (owner === 'target' && run !== undefined) await this.#follow({ folder, run, leaving, onStep, givenUp });
          return owner;
        }
        // Somebody has removed what could not be read.
        if (run !== undefined) await this.ownership.tell(run, 'source', onStep, givenUp);
        return 'source';
      } catch (error) {
        if (!this.#isUnreadable(folder)) throw error;
        const said = run === undefined ? undefined : await this.ownership.look(run, givenUp);
        // Of pages that it keeps, nobody knows yet for whom.
        const keeps = said === 'target' && run !== undefined && (await this.ownership.keepsPages(run, onStep, givenUp));
        if (said !== undefined && (!keeps || isLast)) return said;
        const reason = error instanceof Error ? error.message : String(error);
        if (isLast) throw new UnknownOwner(`it may run elsewhere, and ${reason}`, error);
        onStep(reason);
      }
      await this.ownership.pause(ASK_AGAIN_MS, givenUp);
    }
  }

  /** What a machine that is the other daemon's still needs of its process here is sent, unless it was given up. */
  async #follow(kept: Omit<KeptPages, 'over'>): Promise<void> {
    const { run, leaving, onStep, givenUp } = kept;
    // What was written down before this was says nothing of it.
    if (leaving.postCopy !== false && (await this.ownership.keepsPages(run, onStep, givenUp)))
      await this.rejoining.follow({ ...kept, over: NEVER });
  }

  #isUnreadable(folder: MachineFolder): boolean {
    try {
      this.leavingOf(folder);
      return false;
    } catch {
      return true;
    }
  }

  /** It is about to be told that nothing of a machine is here any more: by the next daemon, if this one ends before. Never throws. */
  owe(leaving: Leaving): void {
    this.#going.add(leaving.migration);
    try {
      this.#options.trust.owe(leaving);
    } catch {
      // Then this daemon alone can say it.
    }
  }

  /** Tells the other daemon that nothing of a machine is here any more; it remembers until then that it has it. Never rejects. */
  async settled(leaving: Leaving): Promise<void> {
    this.#going.delete(leaving.migration);
    try {
      for (let times = 0; times < TELL_TIMES; times++) {
        if (await this.#said(leaving)) return;
        await this.ownership.pause(ASK_AGAIN_MS);
      }
    } catch {
      // Whoever tells what is owed does it.
    }
  }

  /** From now on tells what is owed, now and then, until this is closed. `folders` are those of the machines that are here. Never rejects. */
  async begin(folders: () => readonly MachineFolder[]): Promise<void> {
    try {
      for (;;) {
        await this.#sayOwed(folders());
        await this.ownership.pause(OWED_MS);
      }
    } catch {
      // The daemon ends.
    }
  }

  /** Of one that is still here the other daemon would forget whose it is. */
  async #sayOwed(folders: readonly MachineFolder[]): Promise<void> {
    const { owed } = this.#options.trust;
    if (owed.length === 0) return;
    let going: Set<string | undefined>;
    try {
      going = new Set([...this.#going, ...folders.map((folder) => readLeaving(folder)?.migration)]);
    } catch {
      return;
    }
    const silent = new Set<string>();
    for (const leaving of owed) {
      const there = `${leaving.host}:${leaving.port}`;
      if (going.has(leaving.migration) || silent.has(there)) continue;
      this.#ending.signal.throwIfAborted();
      if (!(await this.#said(leaving))) silent.add(there);
    }
  }

  async #said(leaving: Leaving): Promise<boolean> {
    try {
      await this.ownership.ask('settled', leaving);
      this.#options.trust.told(leaving.migration);
      return true;
    } catch {
      return false;
    }
  }

  /** Nobody is asked any more. */
  close(): void {
    this.#ending.abort(new HostError('interrupted', 'the daemon ended before it was known whose the machine is'));
  }

  async #announce(
    link: FrameLink,
    folder: MachineFolder,
    run: RunningMachine,
    { migration }: Leaving,
    { sharedDisks = false, postCopy = false, onStep, onLabel }: DepartureOptions,
  ): Promise<SentDisk[]> {
    await using leaving = await leavingDisks(folder, await run.disks(), sharedDisks);
    const { disks } = leaving;
    const files = [...(await filesOf(folder)), ...leaving.files];
    const yaml = await readFile(folder.yaml, 'utf8');
    const { version } = this.#options;
    const request = { kind: 'migrate', protocol: DAEMON_PROTOCOL, version, migration, yaml, files, disks };
    await link.sendJson(FRAME.REQUEST, request);
    limitSilence(link, QUIET_MS);
    const { need, behind, label } = z.parse(NEEDED, jsonIn(await answerOf(link, FRAME.STEP)));
    if (label !== undefined && postCopy)
      throw new HostError(
        'unsupported',
        `it has the label "${label}" there, too, and all machines of a label would wait for pages that follow: move it without --post-copy`,
      );
    if (label !== undefined) onLabel?.(label);
    const needed = files.filter((file) => need.includes(nameOf(file)));
    const total = needed.reduce((sum, { bytes }) => sum + bytes, 0);
    let done = 0;
    for (const file of needed)
      for await (const chunk of createReadStream(placeOf(folder, file), { highWaterMark: FILE_CHUNK_BYTES })) {
        await link.send(FRAME.DATA, chunk as Buffer);
        onStep('sending its image', (done += (chunk as Buffer).length), total);
      }
    await answerOf(link, FRAME.STARTED);
    return leaving.sent(behind);
  }

  /** Carries messages between the machine's process and the other daemon, to the end; gives what the process says that has become of it, if it does, and what was answered for it when it was in doubt. */
  async #carry(
    here: FrameLink,
    there: FrameLink,
    kept: Pick<KeptPages, 'folder' | 'run' | 'leaving'>,
    { onStep, givenUp = NEVER }: Pick<DepartureOptions, 'onStep' | 'givenUp'>,
  ): Promise<{ said: (() => MigrationOutcome) | undefined; asked: Promise<'source' | 'target'> | undefined }> {
    // A process that does not say what becomes of the machine, now that its connection is gone, is not waited for.
    const { run, leaving } = kept;
    const over = new AbortController();
    let follows: Promise<void> | undefined;
    const giveUp = (): unknown => (follows === undefined || givenUp.aborted) && here.destroy();
    const hurry = (): void => void setTimeout(giveUp, GIVE_UP_MS);
    if (givenUp.aborted) hurry();
    else givenUp.addEventListener('abort', hurry);
    if (givenUp.aborted) there.destroy();
    let said: (() => MigrationOutcome) | undefined;
    let asked: Promise<'source' | 'target'> | undefined;
    let refusal: Error | undefined;
    const back = carry(there, here, (frame) => {
      if (frame.kind === FRAME.ERROR) refusal = errorOf(z.parse(FAILURE, jsonIn(frame)));
    });
    // The machine's process hears that the link is gone, and can say what becomes of it.
    void back.then(() => here.send(FRAME.INPUT_END));
    await carry(here, there, (frame) => {
      switch (frame.kind) {
        case FRAME.INPUT_END:
          there.stream.end();
          return undefined;
        case FRAME.STEP: {
          const step = z.parse(MIGRATION_STEP, jsonIn(frame));
          if (step.kind === 'progress') {
            const { phase, round, pagesSent, pagesLeft, diskBytesSent, diskBytesLeft } = step;
            return phase === 'disks'
              ? onStep('sending its disks', diskBytesSent, diskBytesSent + diskBytesLeft)
              : onStep(`${phase}, round ${round}`, pagesSent, pagesSent + pagesLeft);
          }
          if (step.kind === 'cut') {
            follows ??= this.rejoining.follow({ ...kept, onStep, givenUp, over: over.signal });
            return void follows.catch(() => here.destroy());
          }
          if (step.kind === 'waiting') return onStep(`waiting for a disk: ${step.reason}`);
          asked = this.ownership.decide(leaving, run, onStep, givenUp);
          asked.then((owner) => owner === 'target' && hurry(), hurry);
          return undefined;
        }
        case FRAME.RESULT: {
          const outcome = z.parse(OPERATIONS.migrate.output, jsonIn(frame));
          said = () => outcome;
          return undefined;
        }
        case FRAME.ERROR: {
          const failure = errorOf(z.parse(FAILURE, jsonIn(frame)));
          said = () => {
            throw refusal ?? failure;
          };
          return undefined;
        }
        default:
          return undefined;
      }
    });
    there.destroy();
    over.abort();
    await follows;
    return { said, asked };
  }
}

/** Of its image; what begins with a dot is a lock on a file, or on its way there. */
async function filesOf({ image }: MachineFolder): Promise<MovedFile[]> {
  const found = await readdir(image, { withFileTypes: true });
  const names = found
    .filter((each) => each.isFile() && !each.name.startsWith('.'))
    .map(({ name }) => name)
    .toSorted();
  return Promise.all(
    names.map(async (name) => ({
      folder: 'image' as const,
      name,
      bytes: (await stat(join(image, name))).size,
      sha256: await digestOf(join(image, name)),
    })),
  );
}
