/**
 * How much memory each machine that may be given less than it has is to have, by what it uses, its shares, its reservation and its limit. What there is
 * goes to those that want it, by shares, where an idle page counts four times (the idle memory tax, core's memory-shares.ts); what nobody wants is
 * divided, too, so that nobody has to ask for what is there.
 *
 *     has more than it is to have ── its pool shrinks, by and by ──┐
 *     has less ────────────────────────────────── gets what is free, and no more than that: pools are never larger together than what there is
 */

import { divide, LEAST_POOL_BYTES, sharesPerPage } from '@ringfence/core';
import type { Overcommit } from '../machine-folder/overcommit.ts';

const MiB = 1024 ** 2;
/** A pool packs into a tenth of itself, and keeps a little free: a machine has its memory whole, or its reservation, in so much more. */
const POOL_ROOM = 1.15;
/** A machine that wants more than it has would get it at the next look: until then it has this. */
const GROWTH_BYTES = 16 * MiB;
/** What a machine begins with: its kernel and more, loaded at once. */
export const BEGIN_BYTES: number = 64 * MiB;

/** What is known of a machine. */
export interface Pooled {
  readonly settings: Overcommit;
  readonly memoryBytes: number;
  /** Undefined of one that is about to begin. */
  readonly figures:
    | {
        readonly poolBytes: number;
        readonly usedBytes: number;
        /** Compressed, paged out and in the balloon: it would use them, too. */
        readonly awayBytes: number;
        /** The machine and its forks, which have the same each. */
        readonly machines: number;
        /** Of what it has, in use as it seems: 0 to 1. */
        readonly activePart: number;
      }
    | undefined;
}

/** Of one that has no forks yet, what it is to have is known without figures. */
type Settled = Omit<Pooled, 'figures'> & Partial<Pick<Pooled, 'figures'>>;

/** What the machine never has to give, with what its pool needs itself. */
export function leastBytes({ settings: { reservationBytes }, figures }: Settled): number {
  return Math.max(LEAST_POOL_BYTES, Math.ceil(reservationBytes * POOL_ROOM)) * (figures?.machines ?? 1);
}

/** More would be of no use to it. */
export function mostBytes({ settings: { limitBytes = Infinity }, memoryBytes, figures }: Settled): number {
  const one = Math.max(LEAST_POOL_BYTES, Math.ceil(Math.min(limitBytes, memoryBytes) * POOL_ROOM) + GROWTH_BYTES);
  return one * (figures?.machines ?? 1);
}

/** What it may be asked to begin with. */
export function beginBytes(machine: Settled): number {
  return Math.max(leastBytes(machine), Math.min(BEGIN_BYTES, mostBytes(machine)));
}

/** The size of each machine's pool from now on. */
export function poolSizes(capacityBytes: number, machines: readonly Pooled[]): number[] {
  const beginning = machines.filter(({ figures }) => figures === undefined).length;
  // Beside what is reserved, for each that is about to begin.
  const unreserved =
    Math.max(0, capacityBytes - machines.reduce((sum, machine) => sum + leastBytes(machine), 0)) /
    Math.max(1, beginning);
  const claims = machines.map((machine) => {
    const { settings, figures } = machine;
    const limit = mostBytes(machine);
    const demand =
      figures === undefined
        ? limit
        : Math.min(limit, POOL_ROOM * (figures.usedBytes + figures.awayBytes) + GROWTH_BYTES);
    const least = leastBytes(machine);
    const reservation = figures === undefined ? least + Math.min(beginBytes(machine) - least, unreserved) : least;
    return { shares: sharesPerPage(settings.shares, 1, figures?.activePart ?? 1), reservation, limit, demand };
  });
  const wanted = divide(capacityBytes, claims);
  const rest = capacityBytes - wanted.reduce((sum, each) => sum + each, 0);
  const more = divide(
    Math.max(0, rest),
    claims.map(({ shares, limit }, index) => {
      const room = limit - (wanted[index] ?? 0);
      return { shares, reservation: 0, limit: room, demand: room };
    }),
  );
  const targets = wanted.map((each, index) => each + (more[index] ?? 0));
  const had = machines.map(({ figures }) =>
    figures === undefined ? 0 : Math.max(figures.poolBytes, figures.usedBytes),
  );
  const free = Math.max(0, capacityBytes - had.reduce((sum, each) => sum + each, 0));
  const lacks = targets.map((target, index) => Math.max(0, target - (had[index] ?? 0)));
  const lacking = lacks.reduce((sum, each) => sum + each, 0);
  const part = lacking === 0 ? 0 : Math.min(1, free / lacking);
  return targets.map((target, index) => Math.floor(Math.min(target, (had[index] ?? 0) + part * (lacks[index] ?? 0))));
}
