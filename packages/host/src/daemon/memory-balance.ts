/**
 * How much memory each machine that may be given less than it has is to have, by what it uses, its shares, its reservation and its limit. What there is
 * goes to those that want it, by shares, where an idle page counts four times (the idle memory tax, core's memory-shares.ts); what nobody wants is
 * divided, too, so that nobody has to ask for what is there.
 *
 *     has more than it is to have ── its pool shrinks, by and by ──┐
 *     has less ────────────────────────────────── gets what is free, and no more than that: pools are never larger together than what there is
 *
 * A process keeps what its pool ever touched of the computer's memory, however small that is made; so a pool grows within that for nothing, and
 * beyond it only by what the computer has free. Where that is nothing, nobody is made smaller for the sake of one who could not have it.
 */

import { type Claim, divide, LEAST_POOL_BYTES, MOST_POOL_BYTES, sharesPerPage } from '@ringfence/core';
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
  /** What those need to begin that are about to join others in the pool, beside what they reserve. */
  readonly joiningBytes?: number | undefined;
  /** Undefined of one that is about to begin. */
  readonly figures:
    | {
        readonly poolBytes: number;
        readonly usedBytes: number;
        /** The most that it ever had. */
        readonly touchedBytes: number;
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

/** More would be of no use to it, or is more than a pool can be. */
export function mostBytes({ settings: { limitBytes = Infinity }, memoryBytes, figures }: Settled): number {
  const one = Math.max(LEAST_POOL_BYTES, Math.ceil(Math.min(limitBytes, memoryBytes) * POOL_ROOM) + GROWTH_BYTES);
  return Math.min(MOST_POOL_BYTES, one * (figures?.machines ?? 1));
}

/** What it may be asked to begin with. */
export function beginBytes(machine: Settled): number {
  return Math.max(leastBytes(machine), Math.min(BEGIN_BYTES, mostBytes(machine)));
}

interface Member extends Omit<Settled, 'figures'> {
  /** With its forks. */
  readonly machines: number;
  readonly isBeginning: boolean;
}

/** What machines are together that have one pool; each, and each of its forks, is to have what it reserves. */
export function pooledOf(members: readonly Member[]): Omit<Pooled, 'figures'> & { readonly machines: number } {
  const [first] = members;
  const coming = members.filter(({ isBeginning }) => isBeginning);
  const joining = coming.map((member) => beginBytes(member) - leastBytes(member));
  const joiningBytes = coming.length < members.length || members.length > 1 ? sum(joining) : 0;
  if (members.length === 1 && first !== undefined) return { ...first, joiningBytes };
  const all = (of: (member: Member) => number): number => sum(members.map((member) => of(member) * member.machines));
  return {
    settings: {
      shares: sum(members.map(({ settings }) => settings.shares)),
      reservationBytes: all((member) => leastBytes(member) / POOL_ROOM),
      limitBytes: all(({ settings: { limitBytes = Infinity }, memoryBytes }) => Math.min(limitBytes, memoryBytes)),
    },
    memoryBytes: all(({ memoryBytes }) => memoryBytes),
    joiningBytes,
    machines: 1,
  };
}

/** The size of each machine's pool from now on: `capacityBytes` together, of which `freeBytes` at most are new to their processes. */
export function poolSizes(capacityBytes: number, freeBytes: number, machines: readonly Pooled[]): number[] {
  const beginning = machines.filter(
    ({ figures, joiningBytes = 0 }) => figures === undefined || joiningBytes > 0,
  ).length;
  // Beside what is reserved, for each that is about to begin.
  const unreserved =
    Math.max(0, capacityBytes - sum(machines.map((machine) => leastBytes(machine)))) / Math.max(1, beginning);
  const claims = machines.map((machine): Claim => {
    const { settings, figures } = machine;
    const limit = mostBytes(machine);
    const joining = machine.joiningBytes ?? 0;
    const demand =
      figures === undefined
        ? limit
        : Math.min(limit, POOL_ROOM * (figures.usedBytes + figures.awayBytes) + GROWTH_BYTES + joining);
    const least = leastBytes(machine);
    const begins = figures === undefined ? Math.max(joining, beginBytes(machine) - least) : joining;
    const reservation = Math.min(limit, least + Math.min(begins, unreserved));
    return { shares: sharesPerPage(settings.shares, 1, figures?.activePart ?? 1), reservation, limit, demand };
  });
  const touched = machines.map(({ figures }) => figures?.touchedBytes ?? 0);
  const targets = reachable(capacityBytes, freeBytes, claims, touched);
  const had = machines.map(({ figures }) =>
    figures === undefined ? 0 : Math.max(figures.poolBytes, figures.usedBytes),
  );
  const lacks = targets.map((target, index) => Math.max(0, target - (had[index] ?? 0)));
  const part = partOf(capacityBytes - sum(had), sum(lacks));
  // What pools may touch already is as good as taken.
  const promised = sum(had.map((each, index) => above(each, touched[index])));
  const fresh = lacks.map((lack, index) => {
    const before = had[index] ?? 0;
    return above(before + part * lack, Math.max(before, touched[index] ?? 0));
  });
  const freshPart = partOf(freeBytes - promised, sum(fresh));
  return targets.map((target, index) => {
    const grown = (had[index] ?? 0) + part * (lacks[index] ?? 0) - (1 - freshPart) * (fresh[index] ?? 0);
    return Math.floor(Math.min(target, grown));
  });
}

/** What each is to have in the end, when processes that have `touched` of the computer's memory can have so much more of it. */
function reachable(
  capacityBytes: number,
  freeBytes: number,
  claims: readonly Claim[],
  touched: readonly number[],
): number[] {
  const targets = divided(capacityBytes, claims);
  const more = targets.map((target, index) => above(target, touched[index]));
  const part = partOf(freeBytes, sum(more));
  if (part === 1) return targets;
  const within = claims.map((claim, index) => {
    const most = (touched[index] ?? 0) + part * (more[index] ?? 0);
    const limit = Math.max(claim.reservation, Math.min(claim.limit, most));
    return { ...claim, limit, demand: Math.min(claim.demand, limit) };
  });
  return divided(capacityBytes, within);
}

/** To those that want it, and what is left then to all. */
function divided(capacityBytes: number, claims: readonly Claim[]): number[] {
  const wanted = divide(capacityBytes, claims);
  const more = divide(
    Math.max(0, capacityBytes - sum(wanted)),
    claims.map(({ shares, limit }, index) => {
      const room = limit - (wanted[index] ?? 0);
      return { shares, reservation: 0, limit: room, demand: room };
    }),
  );
  return wanted.map((each, index) => each + (more[index] ?? 0));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);
const above = (bytes: number, least = 0): number => Math.max(0, bytes - least);
/** How much of what is wanted there is: 0 to 1. */
const partOf = (there: number, wanted: number): number => (wanted > 0 ? Math.min(1, Math.max(0, there) / wanted) : 1);
