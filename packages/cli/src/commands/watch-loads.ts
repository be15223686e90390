/** Watches what machines of the daemon take, for `ringfence advise --live`. */

import { closeSync, openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '@ringfence/api';
import type { ApiClient } from '@ringfence/api/client';
import { type LiveLoad, LiveRecord, TABLE_HEAD } from '@ringfence/host/advice';
import { connectDaemon } from '@ringfence/host/daemon-client';
import { systemReason } from '@ringfence/host/failure';
import { timeLimit } from '../durations.ts';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { listenForSignals } from '../node/interruption.ts';
import { say } from './say.ts';

const EVERY = '10s';

export interface WatchOptions {
  readonly every?: string | undefined;
  /** Until it is interrupted when it is not given. */
  readonly for?: string | undefined;
  /** A file that gets what is seen. */
  readonly record?: string | undefined;
}

/** Of the machines of those names, or all; those that are seen running. */
export async function watch(names: readonly string[], options: WatchOptions): Promise<LiveLoad[]> {
  const everyMs = timeOf('--every', options.every ?? EVERY);
  const forMs = options.for === undefined ? Infinity : timeOf('--for', options.for);
  if (forMs < everyMs)
    throw new CliError(`--for "${options.for}" is shorter than the time between two looks`, EXIT.USAGE);
  const client = connectDaemon();
  const known = await client.ask('vm.list', {});
  const unknown = names.find((name) => !known.some((each) => each.name === name));
  if (unknown !== undefined) throw new CliError(`there is no virtual machine "${unknown}"`, EXIT.FAILED);
  const table = options.record === undefined ? undefined : new Table(options.record);
  const { signal } = listenForSignals();
  const record = new LiveRecord();
  try {
    const until = performance.now() + forMs;
    for (let next = performance.now(); !signal.aborted;) {
      let looked: Awaited<ReturnType<typeof look>>;
      try {
        looked = await look(client);
      } catch (error) {
        // What was seen before the daemon went is told.
        if (!(error instanceof ApiError) || record.loads.length === 0) throw error;
        say(`nothing more is seen: ${error.message}`);
        break;
      }
      const [usages, machines] = looked;
      const wanted = usages.filter(({ name }) => names.length === 0 || names.includes(name));
      table?.add(record.add(wanted, machines));
      next += everyMs;
      // A timer that is early by less than a look makes no difference.
      if (next > until + 1) break;
      await sleep(Math.max(0, next - performance.now()), undefined, { signal }).catch(() => undefined);
    }
  } finally {
    table?.close();
  }
  if (record.loads.length > 0) return record.loads;
  throw new CliError('no machine ran long enough to be looked at twice', EXIT.FAILED);
}

function look(client: ApiClient) {
  return Promise.all([client.ask('vm.usage', {}), client.ask('vm.list', {})]);
}

function timeOf(option: string, text: string): number {
  const milliseconds = timeLimit(text);
  if (typeof milliseconds === 'string') throw new CliError(`${option} "${text}" ${milliseconds}`, EXIT.USAGE);
  return milliseconds;
}

/** Lines of comma-separated values in a file, each there when it was seen. */
class Table {
  readonly #path: string;
  readonly #file: number;

  constructor(path: string) {
    this.#path = path;
    this.#file = this.#try(() => openSync(path, 'w'));
    this.add([TABLE_HEAD]);
  }

  add(lines: readonly string[]): void {
    this.#try(() => writeSync(this.#file, lines.map((line) => `${line}\n`).join('')));
  }

  close(): void {
    closeSync(this.#file);
  }

  #try<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw new CliError(`--record "${this.#path}" cannot be written: ${systemReason(error)}`, EXIT.FAILED, error);
    }
  }
}
