/** A virtual machine on its way to another process: the end that it leaves. */

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  BlockStoreError,
  type MigrationErrorCode,
  MigrationError,
  MigrationSource,
  SECRET_DIGITS,
} from '@ringfence/core';
import { isErrorCode, type ErrorCode } from '@ringfence/api/errors';
import { FRAME, type FrameLink } from '../control/frames.ts';
import type { MigrationOutcome, OperationInput } from '../control/operations.ts';
import { HostError } from '../failure.ts';
import { MessageLink } from '../migration/message-link.ts';
import { migrationClock, nodeMigrationCodec } from '../migration/node-codec.ts';
import type { OpenedDisk } from '../disk/disks.ts';
import type { MachineNetwork } from '../network/machine-network.ts';
import type { MachineRunner } from '@ringfence/core';
import type { VMParts } from './assemble.ts';

/** How long the other side may keep what this one lent it, and how often it is looked. It hears within less that a link is silent. */
const BACK_MS = 300_000;
const BACK_AGAIN_MS = 50;
/** Progress is told no more often. */
const TELL_MS = 200;
/** How long published ports that are somebody's may be waited for when it stays, and how often. */
const REOPEN_MS = 5000;
const REOPEN_AGAIN_MS = 50;

/** Whether it waits to be told whose it is, or keeps pages for the other end, where it runs. */
export type DepartureState = 'in-doubt' | { readonly pagesLeft: number } | undefined;

export class Departure {
  readonly #settled = Promise.withResolvers<'source' | 'target'>();
  readonly #over = Promise.withResolvers<void>();
  #isInDoubt = false;
  /** It runs at the other end, and keeps so many pages for it. */
  #pagesLeft: number | undefined;
  #rejoining: ((how: MessageLink | 'complete' | undefined) => void) | undefined;

  /** Resolves when the machine runs at the other end of `link`; rejects with a HostError when it goes on here. */
  async go(
    { name, settings, machine, network, openDisks }: DepartingParts,
    runner: MachineRunner,
    { downtimeMs, postCopy, disks }: OperationInput<'migrate'>,
    link: FrameLink,
  ): Promise<MigrationOutcome> {
    if (settings.shares.length > 0)
      throw new HostError(
        'unsupported',
        `the virtual machine "${name}" has folders of this computer, which do not move`,
      );
    if (disks.length !== openDisks.disks.length || openDisks.disks.some(({ hasTemporary }) => hasTemporary))
      throw new HostError(
        'unsupported',
        `the virtual machine "${name}" has disks that nobody keeps, which do not move`,
      );
    const shared = openDisks.disks.filter((_disk, index) => disks[index]?.isShared === true);
    const given: OpenedDisk[] = [];
    let [isClosed, toldMs] = [false, 0];
    const source = new MigrationSource({
      machine,
      runner,
      clock: migrationClock,
      codec: nodeMigrationCodec(),
      link: new MessageLink(link),
      about: null,
      disks: openDisks.disks.map(({ store }, index) => ({
        store,
        ...(disks[index] ?? { layers: 0, isBlank: false }),
      })),
      downtimeMs,
      postCopy,
      held: async () => {
        // Who comes here from now on is let in there.
        isClosed = true;
        network.closePorts();
        for (const disk of shared) {
          given.push(disk);
          await disk.handOver();
        }
        return null;
      },
      kept: async () => {
        const tell = (reason: string): void => void link.sendJson(FRAME.STEP, { kind: 'waiting', reason });
        try {
          // One that could not be handed over is here still.
          for (const disk of given) if (disk.store.isHandedOver) await hasAgain(disk, tell);
        } catch (error) {
          // Without its disk it cannot go on.
          if (error instanceof Error) runner.fail(error);
          throw error;
        }
      },
      settle: () => {
        this.#isInDoubt = true;
        void link.sendJson(FRAME.STEP, { kind: 'in-doubt' });
        return this.#settled.promise;
      },
      secret: randomBytes(SECRET_DIGITS / 2).toString('hex'),
      rejoin: (pagesLeft) => {
        const { promise, resolve } = Promise.withResolvers<MessageLink | 'complete' | undefined>();
        this.#rejoining = resolve;
        this.#pagesLeft = pagesLeft;
        void link.sendJson(FRAME.STEP, { kind: 'cut', pagesLeft });
        return promise;
      },
      onProgress: (progress) => {
        if (progress.phase === 'sending the rest') this.#pagesLeft = progress.pagesLeft;
        if (performance.now() - toldMs < TELL_MS) return;
        toldMs = performance.now();
        void link.sendJson(FRAME.STEP, { kind: 'progress', ...progress });
      },
    });
    try {
      return await source.run();
    } catch (error) {
      const closed = isClosed ? await openAgain(network) : undefined;
      const failure = asHostError(error);
      if (closed === undefined || !(failure instanceof HostError)) throw failure;
      throw new HostError(failure.code, `${failure.message}; its published ports stay closed: ${closed}`, error);
    } finally {
      this.#isInDoubt = false;
      this.#over.resolve();
    }
  }

  get state(): DepartureState {
    if (this.#pagesLeft !== undefined) return { pagesLeft: this.#pagesLeft };
    return this.#isInDoubt ? 'in-doubt' : undefined;
  }

  settle(owner: 'source' | 'target'): void {
    if (!this.#isInDoubt) throw new HostError('wrong-state', 'the virtual machine knows whose it is');
    this.#settled.resolve(owner);
  }

  /** Goes on over that link, or ends; resolves when the link is not needed any more. */
  async rejoin(how: OperationInput<'rejoin'>['with'], link: FrameLink): Promise<void> {
    const rejoining = this.#rejoining;
    if (rejoining === undefined)
      throw new HostError('wrong-state', 'the virtual machine keeps no pages that wait for a link');
    this.#rejoining = undefined;
    if (how !== 'link') return rejoining(how === 'complete' ? how : undefined);
    rejoining(new MessageLink(link));
    await Promise.race([link.over(), this.#over.promise]);
  }
}

/** The other side lets go of its files when it hears that it has not got the machine, or ends. Rejects when it does not, with what names the disk. */
export async function hasAgain(
  disk: Pick<OpenedDisk, 'takeBack'>,
  tell: (reason: string) => void,
  patienceMs = BACK_MS,
): Promise<void> {
  let told = '';
  for (const until = performance.now() + patienceMs; ; await sleep(BACK_AGAIN_MS))
    try {
      return await disk.takeBack();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (performance.now() >= until)
        throw new HostError('unavailable', `a disk that was lent to the other daemon is not back: ${reason}`, error);
      if (reason !== told) tell(reason);
      told = reason;
    }
}

/**
 * Lets others in again. On the same computer, where it was to come to lets go of the ports only a little later. Gives why they stay closed, if they do.
 */
export async function openAgain(
  network: Pick<MachineNetwork, 'openPorts'>,
  patienceMs = REOPEN_MS,
): Promise<string | undefined> {
  for (const until = performance.now() + patienceMs; ; await sleep(REOPEN_AGAIN_MS))
    try {
      await network.openPorts();
      return undefined;
    } catch (error) {
      if (performance.now() >= until) return error instanceof Error ? error.message : String(error);
    }
}

type DepartingParts = Pick<VMParts, 'name' | 'settings' | 'machine' | 'network' | 'openDisks'>;

const CODES: Readonly<Record<Exclude<MigrationErrorCode, 'refused'>, ErrorCode>> = {
  lost: 'unavailable',
  protocol: 'protocol',
  version: 'other-version',
  'other-machine': 'other-machine',
  'not-now': 'wrong-state',
  aborted: 'aborted',
  'not-converged': 'timeout',
};

export function asHostError(error: unknown): unknown {
  if (error instanceof BlockStoreError) return new HostError('unavailable', error.message, error);
  if (!(error instanceof MigrationError)) return error;
  const { code, reason, message } = error;
  if (code === 'not-converged')
    return new HostError(CODES[code], `${message}; it moves when it writes less, or with --post-copy`, error);
  if (code !== 'refused') return new HostError(CODES[code], message, error);
  return new HostError(reason !== undefined && isErrorCode(reason) ? reason : 'unavailable', message, error);
}
