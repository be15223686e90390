/**
 * Forks: machines that go on from where another one is, in its memory domain, sharing every page with it that neither has written since.
 *
 *     parent  runs ──> stands still: devices quiet, page map copied, state saved ──> runs on
 *                              │ image
 *     child                    └──> page map copied, devices made anew, state restored ──> runs
 *
 * What a child has of the outside world (its disks, its network, where its console leads to) is given to it by whoever forks; who it is (host name,
 * chance, time), its guest has to be told.
 */

import { DomainFullError } from '../engine/frames.ts';
import { type MachineImage, requireRoom } from '../machine/machine-image.ts';
import { Machine } from '../machine/machine.ts';
import type { MachineOptions } from '../machine/options.ts';
import type { Clock } from '../base/ports.ts';
import type { MachineRunner } from '../vm/runner.ts';

export type ForkErrorCode =
  /** The memory domain has no room left. */
  | 'no-room'
  /** The machine's harts are executed by threads of their own. */
  | 'threads'
  /** A snapshot of it is being taken. */
  | 'snapshot';

export class ForkError extends Error {
  override readonly name = 'ForkError';
  readonly code: ForkErrorCode;

  constructor(code: ForkErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** A machine that runs, or stands still. */
export interface Running {
  readonly machine: Machine;
  readonly runner: Pick<MachineRunner, 'pause' | 'resume' | 'isPaused'>;
  readonly clock: Pick<Clock, 'monotonicNs'>;
}

/** Where forks begin. */
export class ForkPoint {
  /** How long the machine stood still for it. */
  readonly pausedNs: number;
  readonly #image: MachineImage;

  private constructor(image: MachineImage, pausedNs: number) {
    this.#image = image;
    this.pausedNs = pausedNs;
  }

  /** Throws a ForkError when the machine can have no forks, or there is no room for `count` of them. */
  static check({ machine }: Pick<Running, 'machine'>, count: number): void {
    if (machine.isThreaded)
      throw new ForkError('threads', 'A machine whose harts are executed by several threads cannot be forked');
    if (machine.pages.isProtected)
      throw new ForkError('snapshot', 'A machine cannot be forked while a snapshot of it is taken');
    noted(() => requireRoom(machine.guest, count));
  }

  /**
   * Of a machine that goes on at once; rejects with a ForkError as `check` does. `atRest` is called when all of it stands still and nothing can fail
   * any more. `release` it when the forks are made.
   */
  static async of(running: Running, count: number, atRest?: () => void): Promise<ForkPoint> {
    const { machine, runner, clock } = running;
    const isRunning = !runner.isPaused;
    const startNs = clock.monotonicNs();
    if (isRunning) await runner.pause();
    try {
      ForkPoint.check(running, count);
      const image = noted(() => machine.image());
      atRest?.();
      return new ForkPoint(image, clock.monotonicNs() - startNs);
    } finally {
      if (isRunning) runner.resume();
    }
  }

  /** A machine that goes on from here; `options` are the parent's, but for the world behind its devices. Nobody runs it yet. */
  machine(options: MachineOptions): Machine {
    return noted(() => Machine.from(this.#image, options));
  }

  release(): void {
    this.#image.release();
  }
}

function noted<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DomainFullError) throw new ForkError('no-room', error.message, error);
    throw error;
  }
}
