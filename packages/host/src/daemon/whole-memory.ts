/**
 * What machines without `overcommit` can still come to. Such a machine has all of its memory, whatever the others do, but takes a page of this computer's
 * only when its guest touches it: so what is free when one begins says nothing of what those that run will want tomorrow.
 *
 *     a machine alone          its memory ─────────── less what its guest has touched ──┐
 *     with forks               as often as there are, ─ less what its process has ──────┴─ and what a process takes beside it
 *                              and a domain at most: they share it, however many they are
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { MAXIMUM_DOMAIN_BYTES } from '@ringfence/core';
import { OVERHEAD_BYTES } from '../advice/consolidation.ts';
import type { VMUsage } from '../control/operations.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import type { Entry } from './entry.ts';

/** How long a machine may take to answer. Of one that takes longer it is taken that it has nothing yet. */
const ANSWER_MS = 1000;

interface Known {
  /** Undefined of one whose process is on its way. */
  readonly run: RunningMachine | undefined;
  /** With its forks, at most. */
  readonly machines: number;
  readonly usage: VMUsage | undefined;
}

/** What a machine of so much memory and its forks can have at most. */
export function wholeBytes(memoryBytes: number, machines: number): number {
  return Math.min(memoryBytes * machines, MAXIMUM_DOMAIN_BYTES);
}

export class WholeMachines {
  readonly #known = new Map<string, Known>();

  /** One is about to be started: it has no forks. */
  begins({ id }: Entry): void {
    this.#known.set(id, { run: undefined, machines: 1, usage: undefined });
  }

  forked(entry: Entry, machines: number): void {
    this.#known.set(entry.id, { run: entry.run, usage: this.#of(entry)?.usage, machines });
  }

  /** A machine and its forks, as many as it has said that there are; until it has, it is taken that there are none. */
  machinesOf(entry: Entry): number {
    return this.#of(entry)?.machines ?? 1;
  }

  /** Asks those of which `mustAsk`, or of which it is not known that they have no forks; forgets all others but `entries`. */
  async ask(entries: readonly Entry[], mustAsk: boolean): Promise<void> {
    for (const id of this.#known.keys()) if (!entries.some((entry) => entry.id === id)) this.#known.delete(id);
    await Promise.all(
      entries.map(async (entry) => {
        const { run } = entry;
        if (run === undefined || (!mustAsk && this.#of(entry)?.machines === 1)) return;
        const before = this.#known.get(entry.id);
        const asked = Promise.all([run.usage(), run.forks()]).catch(() => undefined);
        const answer = await Promise.race([asked, sleep(ANSWER_MS, undefined, { ref: false })]);
        // What is known by now is newer than what was asked: of forks that were made meanwhile it knows nothing.
        if (answer === undefined || entry.run !== run || this.#known.get(entry.id) !== before) return;
        const [usage, forks] = answer;
        this.#known.set(entry.id, { run, usage, machines: 1 + forks.length });
      }),
    );
  }

  /** What a machine of `memoryBytes`, and its forks, can take beside what they have, in a process that is `sharers` machines'. */
  leftBytes(entry: Entry, memoryBytes: number, machines: number = this.machinesOf(entry), sharers = 1): number {
    const most = wholeBytes(memoryBytes, machines);
    const overhead = OVERHEAD_BYTES / sharers;
    const usage = this.#of(entry)?.usage;
    if (usage === undefined) return most + overhead;
    const { residentBytes, guestResidentBytes, memory } = usage;
    // Who writes to a page that it shares needs a frame for it.
    const guests =
      machines === 1 ? guestResidentBytes - (memory?.savedBytes ?? 0) : Math.max(0, residentBytes - overhead);
    return Math.max(0, most - guests) + Math.max(0, overhead - Math.max(0, residentBytes - guests));
  }

  #of({ id, run }: Entry): Known | undefined {
    const known = this.#known.get(id);
    return known?.run === undefined || known.run === run ? known : undefined;
  }
}
