/** A virtual machine on its way to another process: the end that it leaves. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type MigrationErrorCode, MigrationError, MigrationSource } from '@ringfence/core';
import { isErrorCode, type ErrorCode } from '@ringfence/api/errors';
import { FRAME, type FrameLink } from '../control/frames.ts';
import type { MigrationOutcome, OperationInput } from '../control/operations.ts';
import { HostError } from '../failure.ts';
import { nodeClock } from '../machine/ports.ts';
import { messagesOn } from '../migration/message-link.ts';
import { nodeMigrationCodec } from '../migration/node-codec.ts';
import type { MachineNetwork } from '../network/machine-network.ts';
import type { MachineRunner } from '@ringfence/core';
import type { VMParts } from './assemble.ts';

/** Progress is told no more often. */
const TELL_MS = 200;
/** How long published ports that are somebody's may be waited for when it stays, and how often. */
const REOPEN_MS = 5000;
const REOPEN_AGAIN_MS = 50;

export class Departure {
  readonly #settled = Promise.withResolvers<'source' | 'target'>();
  #isInDoubt = false;

  /** Resolves when the machine runs at the other end of `link`; rejects with a HostError when it goes on here. */
  async go(
    { name, settings, machine, network }: Pick<VMParts, 'name' | 'settings' | 'machine' | 'network'>,
    runner: MachineRunner,
    { downtimeMs, postCopy }: OperationInput<'migrate'>,
    link: FrameLink,
  ): Promise<MigrationOutcome> {
    if (settings.disks.length > 0 || settings.shares.length > 0)
      throw new HostError(
        'unsupported',
        `the virtual machine "${name}" has disks or folders of this computer, which do not move yet`,
      );
    let [isClosed, toldMs] = [false, 0];
    const source = new MigrationSource({
      machine,
      runner,
      clock: nodeClock,
      codec: nodeMigrationCodec(),
      link: messagesOn(link),
      about: null,
      downtimeMs,
      postCopy,
      held: () => {
        // Who comes here from now on is let in there.
        isClosed = true;
        network.closePorts();
        return Promise.resolve(null);
      },
      settle: () => {
        this.#isInDoubt = true;
        void link.sendJson(FRAME.STEP, { kind: 'in-doubt' });
        return this.#settled.promise;
      },
      onProgress: (progress) => {
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
    }
  }

  /** Whether it stands still until it is told whose it is. */
  get isInDoubt(): boolean {
    return this.#isInDoubt;
  }

  settle(owner: 'source' | 'target'): void {
    if (!this.#isInDoubt) throw new HostError('wrong-state', 'the virtual machine knows whose it is');
    this.#settled.resolve(owner);
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
  if (!(error instanceof MigrationError)) return error;
  const { code, reason, message } = error;
  if (code !== 'refused') return new HostError(CODES[code], message, error);
  return new HostError(reason !== undefined && isErrorCode(reason) ? reason : 'unavailable', message, error);
}
