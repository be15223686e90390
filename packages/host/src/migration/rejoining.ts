/**
 * Machines that run at another daemon already while their pages are still here, and whose link is lost: this daemon connects again, sooner and then later, and
 * carries what is missing over the new link. When it has tried for long it waits until somebody says that the machine is to move there (`migrate`) once more.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod/mini';
import { FRAME, type FrameLink, jsonIn } from '../control/frames.ts';
import { FAILURE } from '../control/operations.ts';
import { errorOf } from '../control/wire.ts';
import { HostError } from '../failure.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { goneOf, type RunningMachine } from '../vm-process/running.ts';
import { carry } from './carry.ts';
import type { Identity } from './identity.ts';
import { type Leaving, writeLeaving } from './leaving.ts';
import { DAEMON_PROTOCOL, QUIET_MS, RESUMED } from './protocol.ts';
import { type Address, connectToDaemon, limitSilence } from './tls-link.ts';
import type { Trust } from './trust.ts';

/** How often it connects before it waits to be told to: four minutes, about. */
export const MAXIMUM_REJOINS = 30;
const FIRST_PAUSE_MS = 250;
/** The longest one, in first ones: 10 s. */
const LONGEST_PAUSE = 40;
/** A link over which messages went for so long counts as one that was there. */
const LASTING_MS = 2000;

export interface RejoiningOptions {
  readonly identity: Identity;
  readonly trust: Trust;
  /** The daemon ends. */
  readonly ending: AbortSignal;
}

export interface KeptPages {
  readonly folder: MachineFolder;
  readonly run: RunningMachine;
  leaving: Leaving;
  readonly onStep: (text: string) => void;
  /** They are not wanted any more: the machine there ends at the first of them. */
  readonly givenUp: AbortSignal;
  /** Its process has said what has become of it. */
  readonly over: AbortSignal;
}

export class Rejoining {
  readonly #options: RejoiningOptions;
  /** By the machine's folder, who is to be woken. */
  readonly #waiting = new Map<string, (to: Address) => void>();
  readonly #firstPauseMs: number;

  constructor(options: RejoiningOptions, firstPauseMs = FIRST_PAUSE_MS) {
    this.#options = options;
    this.#firstPauseMs = firstPauseMs;
  }

  /** Whether the machine in the folder is one whose pages wait for a link: then it is tried at once, at that address. */
  wake(folder: MachineFolder, to: Address): boolean {
    const wake = this.#waiting.get(folder.path);
    wake?.(to);
    return wake !== undefined;
  }

  /** Resolves when its process keeps pages no more, or is gone; rejects when the daemon ends. */
  async follow(kept: KeptPages): Promise<void> {
    const { folder, run, onStep, givenUp, over } = kept;
    const { ending } = this.#options;
    const isGone = goneOf(run);
    let woken = Promise.withResolvers<Address>();
    this.#waiting.set(folder.path, (to) => woken.resolve(to));
    const stop = AbortSignal.any([ending, givenUp, over]);
    const pause = async (ms: number | undefined): Promise<boolean> => {
      const ended = new Promise<undefined>((resolve) => {
        if (stop.aborted) resolve(undefined);
        else stop.addEventListener('abort', () => resolve(undefined), { once: true });
      });
      const timer = new AbortController();
      const late = ms === undefined ? [] : [sleep(ms, undefined, { signal: timer.signal }).catch(() => undefined)];
      const to = await Promise.race([woken.promise, ended, run.ended.then(() => undefined), ...late]);
      timer.abort();
      if (to === undefined) return false;
      woken = Promise.withResolvers();
      kept.leaving = { ...kept.leaving, ...to };
      return true;
    };
    try {
      let pauseMs = this.#firstPauseMs;
      for (let attempt = 1; !over.aborted && !isGone(); attempt++) {
        ending.throwIfAborted();
        if (givenUp.aborted) return await run.letGo('never').catch(() => undefined);
        const sinceMs = performance.now();
        let reason = LOST_AGAIN;
        try {
          if (await this.#once(kept)) return;
        } catch (error) {
          reason = error instanceof Error ? error.message : String(error);
        }
        const { host, port } = kept.leaving;
        if (performance.now() - sinceMs > LASTING_MS && reason === LOST_AGAIN)
          [attempt, pauseMs] = [0, this.#firstPauseMs];
        const isEnough = attempt >= MAXIMUM_REJOINS;
        onStep(
          isEnough
            ? `${attempt} times in vain: its pages wait here until it is told to move to ${host}:${port} again: ${reason}`
            : `the rest waits for a connection with ${host}:${port}: ${reason}`,
        );
        if ((await pause(isEnough ? undefined : pauseMs)) || isEnough) [attempt, pauseMs] = [0, this.#firstPauseMs];
        else pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE * this.#firstPauseMs);
      }
    } finally {
      this.#waiting.delete(folder.path);
    }
  }

  /** True when nothing is to follow any more. Of a link that was lost again it may not be known yet. */
  async #once({ folder, run, leaving, onStep, givenUp, over }: KeptPages): Promise<boolean> {
    const { identity, trust, ending } = this.#options;
    const { migration, host, port, fingerprint } = leaving;
    const { link } = await connectToDaemon(identity, trust, { host, port }, fingerprint);
    const leave = (): void => link.destroy();
    const stop = AbortSignal.any([ending, givenUp]);
    try {
      if (stop.aborted) return false;
      stop.addEventListener('abort', leave);
      await link.sendJson(FRAME.REQUEST, { kind: 'resume', protocol: DAEMON_PROTOCOL, migration });
      limitSilence(link, QUIET_MS);
      const frame = await link.next();
      if (frame?.kind === FRAME.ERROR) throw errorOf(z.parse(FAILURE, jsonIn(frame)));
      if (frame?.kind === FRAME.RESULT) {
        const { isComplete } = z.parse(RESUMED, jsonIn(frame));
        await run.letGo(isComplete ? 'complete' : 'never');
        return true;
      }
      if (frame?.kind !== FRAME.STARTED)
        throw new HostError('unavailable', 'the other daemon cannot be heard any more');
      const process = await run.rejoin();
      // It may be found at another address now.
      await writeLeaving(folder, leaving).catch(() => undefined);
      onStep('sending the rest');
      await this.#carry(process, link);
      if (over.aborted) return true;
      const status = await run.status().catch(() => undefined);
      return status?.isMoved === true;
    } finally {
      stop.removeEventListener('abort', leave);
      link.destroy();
    }
  }

  /** Until the link is lost, or the process needs it no more. */
  async #carry(process: FrameLink, link: FrameLink): Promise<void> {
    const back = carry(link, process, () => undefined).then(() => void process.stream.end());
    let failure: Error | undefined;
    await carry(process, link, (frame) => {
      if (frame.kind === FRAME.ERROR) failure = errorOf(z.parse(FAILURE, jsonIn(frame)));
      if (frame.kind === FRAME.INPUT_END) process.destroy();
    });
    link.destroy();
    await back;
    if (failure) throw failure;
  }
}

const LOST_AGAIN = 'the connection was lost again';
