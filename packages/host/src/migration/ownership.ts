/**
 * Whose a machine is that was on its way to another daemon: that daemon is asked, and none but it, and the machine's process is told. What its process says
 * itself counts first.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod/mini';
import { FRAME, jsonIn } from '../control/frames.ts';
import { HostError } from '../failure.ts';
import { goneOf, type RunningMachine } from '../vm-process/running.ts';
import type { Identity } from './identity.ts';
import type { Leaving } from './leaving.ts';
import { answerOf, DAEMON_PROTOCOL, OWNER } from './protocol.ts';
import { connectToDaemon } from './tls-link.ts';
import type { Trust } from './trust.ts';

/** Between two times that the other daemon is asked whose a machine is. */
export const ASK_AGAIN_MS = 500;

/** How long its answer may take, all in all: what is under way there is brought to its end first. */
const ANSWER_MS = 10_000;

/** How often, and how far apart, it is looked whether a machine stands in doubt. */
const LOOKS = 5;
const LOOK_MS = 100;

/** A move is given up, and nobody says whose the machine is. */
export class UnknownOwner extends HostError {
  /** A sentence for people. */
  readonly doubt: string;

  constructor(doubt: string, cause: unknown) {
    super('aborted', `its move was given up: ${doubt}`, cause);
    this.doubt = doubt;
  }
}

export interface OwnershipOptions {
  readonly identity: Identity;
  readonly trust: Trust;
  /** The daemon ends: nobody is asked any more. */
  readonly ending: AbortSignal;
}

export const NEVER: AbortSignal = new AbortController().signal;

export class Ownership {
  readonly #options: OwnershipOptions;

  constructor(options: OwnershipOptions) {
    this.#options = options;
  }

  /**
   * Asks until there is an answer; rejects when the daemon ends. When it is given up it asks once more, and rejects with UnknownOwner when that is not
   * answered.
   */
  async owner(
    leaving: Leaving,
    onStep: (text: string) => void,
    givenUp: AbortSignal = NEVER,
  ): Promise<'source' | 'target'> {
    const { host, port } = leaving;
    for (;;) {
      const isLast = givenUp.aborted;
      try {
        return z.parse(OWNER, await this.ask('ask', leaving, isLast ? NEVER : givenUp)).owner;
      } catch (error) {
        this.#options.ending.throwIfAborted();
        if (isLast) throw new UnknownOwner(`it may run at ${host}:${port}, which did not answer`, error);
        onStep(
          `asking ${host}:${port} whether it has the machine: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
      await this.pause(ASK_AGAIN_MS, givenUp);
    }
  }

  /** Whose a machine is whose process may be in doubt, or gone, or slow to say so; the process, if there is one, is told. Rejects as `owner` does. */
  async settle(
    leaving: Leaving,
    run: RunningMachine | undefined,
    onStep: (text: string) => void,
    givenUp: AbortSignal = NEVER,
  ): Promise<'source' | 'target'> {
    if (run === undefined) return this.owner(leaving, onStep, givenUp);
    const said = await this.look(run, givenUp);
    if (said !== undefined) return said;
    try {
      return await this.decide(leaving, run, onStep, givenUp);
    } catch (error) {
      const status = error instanceof UnknownOwner ? await run.status().catch(() => undefined) : undefined;
      if (status?.isMoved === true) return 'target';
      throw error;
    }
  }

  /** Whose a machine is as its process has it; undefined where that is in doubt, gone, or silent. */
  async look(run: RunningMachine, givenUp: AbortSignal): Promise<'source' | 'target' | undefined> {
    const isGone = goneOf(run);
    let isKnown = false;
    for (let look = 0; look < LOOKS && !isGone(); look++) {
      const status = await run.status().catch(() => undefined);
      if (status?.isMoved === true || status?.pagesLeft !== undefined) return 'target';
      isKnown = status !== undefined && status.isInDoubt !== true;
      if (status?.isInDoubt === true || (status === undefined && givenUp.aborted)) return undefined;
      await this.pause(LOOK_MS, givenUp);
    }
    // It has heard that its connection is gone, and went on.
    return isKnown && !isGone() ? 'source' : undefined;
  }

  /** Asks whose it is, and tells its process. */
  async decide(
    leaving: Leaving,
    run: RunningMachine,
    onStep: (text: string) => void,
    givenUp: AbortSignal,
  ): Promise<'source' | 'target'> {
    const owner = await this.owner(leaving, onStep, givenUp);
    await this.tell(run, owner, onStep, givenUp);
    return owner;
  }

  /**
   * Tells a process whose its machine is. One that is slow, or held, and wakes in doubt would stand so for ever: it is told again until it has heard it, is
   * seen not to be in doubt for a while, or is gone. Where the machine is the other daemon's it is told once: its process is ended, or asked
   * what it keeps.
   */
  async tell(
    run: RunningMachine,
    owner: 'source' | 'target',
    onStep: (text: string) => void,
    givenUp: AbortSignal,
  ): Promise<void> {
    const isGone = goneOf(run);
    for (let looks = 0; looks < LOOKS && !isGone(); looks++) {
      const status = await run.status().catch(() => undefined);
      const isTold =
        status?.isInDoubt === true &&
        (await run.settle(owner).then(
          () => true,
          () => false,
        ));
      if (isTold || owner === 'target' || givenUp.aborted) return;
      if (status === undefined || status.isInDoubt === true) {
        looks = -1;
        onStep('telling its process that it stays');
      }
      await this.pause(LOOK_MS, givenUp);
    }
  }

  /**
   * Whether a machine that is the other daemon's has pages in its process here that it needs there; it may have been told only now whose it is. One that does
   * not answer may have some: it is asked again until it says so, is gone, or is given up.
   */
  async keepsPages(run: RunningMachine, onStep: (text: string) => void, givenUp: AbortSignal): Promise<boolean> {
    const isGone = goneOf(run);
    for (let looks = 0; looks < LOOKS && !isGone(); looks++) {
      const status = await run.status().catch(() => undefined);
      if (status?.isMoved === true) return false;
      if (status?.pagesLeft !== undefined) return true;
      if (givenUp.aborted) return false;
      if (status?.isInDoubt === true) await run.settle('target').catch(() => undefined);
      if (status === undefined) onStep('its process does not answer, and may keep pages that are missing there');
      if (status === undefined || status.isInDoubt === true) looks = -1;
      await this.pause(LOOK_MS, givenUp);
    }
    return false;
  }

  /** What the daemon that the machine went to says, and no other; rejects when it is given up before. */
  async ask(
    kind: 'ask' | 'settled',
    { migration, host, port, fingerprint }: Leaving,
    givenUp: AbortSignal = NEVER,
  ): Promise<unknown> {
    const { identity, trust } = this.#options;
    const { promise: enough, reject } = Promise.withResolvers<never>();
    const giveUp = (): void => reject(new HostError('timeout', 'it does not answer'));
    const patience = setTimeout(giveUp, ANSWER_MS);
    givenUp.addEventListener('abort', giveUp);
    const connecting = connectToDaemon(identity, trust, { host, port }, fingerprint);
    const answered = connecting.then(async ({ link }) => {
      await link.sendJson(FRAME.REQUEST, { kind, protocol: DAEMON_PROTOCOL, migration });
      return jsonIn(await answerOf(link, FRAME.RESULT));
    });
    try {
      return await Promise.race([answered, enough]);
    } finally {
      clearTimeout(patience);
      givenUp.removeEventListener('abort', giveUp);
      connecting.then(
        ({ link }) => link.destroy(),
        () => undefined,
      );
    }
  }

  /** For less when it is given up; rejects when the daemon ends. */
  async pause(ms: number, givenUp: AbortSignal = NEVER): Promise<void> {
    const signal = AbortSignal.any([this.#options.ending, givenUp]);
    await sleep(ms, undefined, { signal }).catch(() => undefined);
    this.#options.ending.throwIfAborted();
  }
}
