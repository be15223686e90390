/** What a virtual machine may have of this computer's processors: its settings, and what the daemon grants it of a computer that has not enough. */

import { impossibleProcessors, DEFAULT_PROCESSOR_SHARES, type ProcessorSettings } from '@ringfence/api/processors';
import type { Allowance } from '@ringfence/core';
import { cpuUsage } from 'node:process';
import type { ProcessorFigures } from '../control/operations.ts';
import { HostError } from '../failure.ts';
import type { NodeTurns } from '../machine/ports.ts';
import type { VMParts } from './assemble.ts';

/** A grant that is not renewed is void after this: the daemon is gone. */
export const GRANT_MS = 3000;

/** Throws `bad-argument` for what cannot be. */
export function checkedProcessors(settings: ProcessorSettings = {}, cpus: number): ProcessorSettings {
  const problem = impossibleProcessors(settings, cpus);
  if (problem !== undefined) throw new HostError('bad-argument', `cpu.${problem.field} ${problem.problem}`);
  return settings;
}

type Parts = Pick<VMParts, 'machine' | 'machineOptions' | 'clock' | 'settings' | 'options'>;

export class VMProcessors {
  readonly #parts: Parts;
  readonly #turns: NodeTurns;
  #settings: ProcessorSettings = {};
  #granted: number | undefined;
  #expiry: NodeJS.Timeout | undefined;

  constructor(parts: Parts, turns: NodeTurns) {
    this.#parts = parts;
    this.#turns = turns;
    this.set(parts.settings.cpu);
  }

  get settings(): ProcessorSettings {
    return this.#settings;
  }

  /** Throws `bad-argument`, and everything stays as it was. */
  set(settings: ProcessorSettings): void {
    const before = this.#settings;
    this.#settings = checkedProcessors(settings, this.#parts.settings.cpus);
    const { shares = DEFAULT_PROCESSOR_SHARES, reservation = 0, bucket } = settings;
    // In a process of its own, it and its forks are one to the outside, and each has the same inside.
    if (this.#parts.clock.processNs === undefined)
      this.#turns.setShare({ shares, reservation: Math.min(1, reservation / 100) });
    if (JSON.stringify(bucket) !== JSON.stringify(before.bucket)) {
      const own = bucket && { fillMs: bucket.fill, intervalMs: bucket.interval, burstMs: bucket.burst };
      this.#ownAllowance?.setBucket(own, this.#parts.clock.hostNs());
    }
    this.#setRate();
  }

  /** So many processors' time for the next GRANT_MS; undefined: as much as its settings allow. */
  grant(processors: number | undefined): void {
    clearTimeout(this.#expiry);
    this.#granted = processors;
    if (processors !== undefined) {
      this.#expiry = setTimeout(() => this.grant(undefined), GRANT_MS);
      this.#expiry.unref();
    }
    this.#setRate();
  }

  /** Time of the thread that it shares with other machines of this process, in milliseconds. */
  get threadMs(): number {
    return this.#turns.usedNs() / 1e6;
  }

  get figures(): ProcessorFigures {
    const { heldNs, bucketNs, waitedNs, stolenNs } = this.#parts.machine.allowance.figures;
    const us = (ns: number): number => Math.max(0, Math.round(ns / 1000));
    return {
      usedUs: this.#usedUs,
      heldUs: us(heldNs),
      bucketUs: us(bucketNs),
      waitedUs: us(waitedNs),
      stolenUs: us(stolenNs),
    };
  }

  /** Of a process that it shares, what its own turns took. */
  get #usedUs(): number {
    if (this.#parts.options.sharesProcess === true) return Math.round(this.#turns.usedNs() / 1000);
    const { user, system } = cpuUsage();
    return user + system;
  }

  #setRate(): void {
    const { limit } = this.#settings;
    const least = Math.min(this.#granted ?? Infinity, limit === undefined ? Infinity : limit / 100);
    this.#ownAllowance?.setRate(Number.isFinite(least) ? least : undefined, this.#parts.clock.hostNs());
  }

  /** None of a fork that shares its parent's: what that is to be, only its parent says. */
  get #ownAllowance(): Allowance | undefined {
    const { machine, machineOptions } = this.#parts;
    return machineOptions.allowance === undefined ? machine.allowance : undefined;
  }
}
