/**
 * The frames that the machines of a domain may have together, fewer than their memory is large. When few are free it takes them in ESXi's order: what
 * costs nobody anything first.
 *
 *     free frames of the pool:    HIGH ───────── SOFT ───────── HARD ───────── LOW ──────── none
 *                                   │  share       │  balloon     │  pack, and    │ before anybody  │ who wants one waits,
 *                                   │  eagerly     │              │  page out     │ goes on         │ and loses nothing
 *
 * The pool is smaller than its domain: a machine that wants a frame gets it and stops soon (`Domain.softLimitBytes`), and before it goes on (`mayRun`)
 * others are taken back. A machine that is over its own limit gives, however many are free. When nothing can be put away, because the paging file's disk
 * is full, say, machines that want more wait until it can.
 */

import type { Clock, Log } from '../base/ports.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import { MAXIMUM_AWAY_PAGES } from '../engine/page-reclaim.ts';
import { pageWorkOf } from '../engine/page-work.ts';
import type { MachineDomain } from '../machine/machine-domain.ts';
import type { Machine } from '../machine/machine.ts';
import { type AwayCounts, AwayStore, type PagingFile } from './away-pages.ts';
import { Balloons, balloonOf } from './balloons.ts';
import { type MemoryWishes, whyNotJoin } from './memory-shares.ts';
import { PageSharing, type SharingCounts } from './page-sharing.ts';
import { PoolMember } from './pool-member.ts';
import { SharedFrames } from './shared-frames.ts';

/** How often `tick` is to be called. */
export const POOL_TICK_MS = 100;
/** Parts of the pool that are free when it begins with the next means. */
export const WATERMARKS = { high: 0.06, soft: 0.04, hard: 0.02, low: 0.01 } as const;
/** Frames of a domain that no pool may have: what machines take before they are stopped. */
const OVERSHOOT_BYTES = 96 * 1024 ** 2;
/** Of which a machine may take so many, in the one slice, before it has to wait for others. */
const WAITING_BYTES = OVERSHOOT_BYTES / 4;
/** By how much a machine may be over its own limit when it goes on: a tick takes the rest. */
const OVER_LIMIT_BYTES = 4 * 1024 ** 2;
export const LEAST_POOL_BYTES = 32 * 1024 ** 2;
/** Every pool of a domain that is as large as one can be may have so much: what is left of 4 GiB by tables and by what machines take before they are stopped. */
export const MOST_POOL_BYTES = 3776 * 1024 ** 2;
/** Part of the pool for packed pages, as long as nobody says otherwise. */
const PACKED_PART = 0.1;
/** What the pool needs for itself, beside packed pages. */
const OWN_PAGES = 4;
/** Pages that are taken at a time: some milliseconds. */
const RECLAIM_PAGES = 512;
/** Part of a machine's pages that doze at each tick while few frames are free. */
const AGE_PART = 0.02;
const SAMPLE_TICKS = 20;
/** By which a pool that is to be smaller shrinks at each tick: balloons grow about as fast. */
const SHRINK_BYTES = 2 * 1024 ** 2;
/** For how long it is said that it packs, or pages out, after it did: who looks once a second sees it. */
const SAID_TICKS = 1000 / POOL_TICK_MS;
/** After a page could not be written to the file. */
const RETRY_NS = 1e9;

export interface MemoryPoolOptions {
  readonly clock: Pick<Clock, 'monotonicNs'>;
  /** At least LEAST_POOL_BYTES, and less than the domain has. */
  readonly poolBytes: number;
  readonly sharing: PageSharing | undefined;
  readonly file?: PagingFile | undefined;
  /** For packed pages, at most; a tenth of the pool when absent. */
  readonly packedBytes?: number | undefined;
  readonly log?: Log | undefined;
}

/** What a pool does now, the last means in order; 'high' nothing, and 'full' lets machines wait. */
export type PoolState = 'high' | 'share' | 'balloon' | 'compress' | 'page-out' | 'full';

export interface PoolMemory extends AwayCounts {
  readonly state: PoolState;
  readonly poolBytes: number;
  /** What it shrinks to, where that is less. */
  readonly targetBytes: number;
  readonly usedBytes: number;
  /** What the computer gave for frames so far: the most that was ever used. It comes back when the domain's process ends. */
  readonly touchedBytes: number;
  /** How many it has. */
  readonly machines: number;
  /** In balloons. */
  readonly balloonBytes: number;
  readonly sharing: SharingCounts | undefined;
  /** Why nothing can be paged out; undefined when it can. */
  readonly problem: string | undefined;
  /** Times that a machine had to wait for frames. */
  readonly waits: number;
}

/** A machine's memory in its pool, in bytes. */
export interface MemberMemory {
  readonly residentBytes: number;
  /** Pages whose frame others have, too, and what this machine's part saves of frames. */
  readonly sharedBytes: number;
  readonly savedBytes: number;
  /** Pages of zeros, which take nothing. */
  readonly zeroBytes: number;
  readonly balloonBytes: number;
  /** Packed, as large as the pages are for the guest. */
  readonly compressedBytes: number;
  readonly pagedBytes: number;
  /** Of the resident ones, as it seems from a sample of them. */
  readonly activeBytes: number;
  readonly reservationBytes: number;
  readonly limitBytes: number | undefined;
  readonly shares: number;
}

export class MemoryPool {
  readonly away: AwayStore;
  #poolBytes: number;
  /** What it is on its way to. */
  #targetBytes: number;
  readonly #domain: MachineDomain;
  readonly #options: MemoryPoolOptions;
  readonly #members = new Map<Machine, PoolMember>();
  readonly #balloons = new Balloons();
  readonly #shared = new SharedFrames();
  #ticks = 0;
  #state: PoolState = 'high';
  /** When pages were packed and paged out last because frames were few. */
  #packedTick = -SAID_TICKS;
  #pagedOutTick = -SAID_TICKS;
  #waits = 0;
  #retryAtNs = 0;
  /** Whose slice was the last, and how much was used before it. */
  #ran: { readonly machine: Machine; readonly usedBytes: number } | undefined;
  #problem: string | undefined;
  /** The most that it was possible to have when it was made. */
  readonly #mostBytes: number;

  /** Most frames that a pool of `domain` can have. */
  static mostBytes({ engine }: MachineDomain): number {
    return engine.domain.frames.available * PAGE_SIZE - OVERSHOOT_BYTES;
  }

  static async of(domain: MachineDomain, options: MemoryPoolOptions): Promise<MemoryPool> {
    const work = await pageWorkOf(domain.engine.domain);
    const { file, poolBytes, packedBytes = PACKED_PART * poolBytes } = options;
    const away = new AwayStore(domain.engine.domain, work, file, Math.floor(packedBytes / PAGE_SIZE));
    return new MemoryPool(domain, away, options);
  }

  private constructor(domain: MachineDomain, away: AwayStore, options: MemoryPoolOptions) {
    this.#domain = domain;
    this.#options = options;
    this.away = away;
    this.#poolBytes = this.#targetBytes = options.poolBytes;
    this.#mostBytes = MemoryPool.mostBytes(domain);
    domain.engine.domain.away = away;
    domain.engine.domain.softLimitBytes = options.poolBytes;
  }

  /** How large it is now. */
  get poolBytes(): number {
    return this.#poolBytes;
  }

  /**
   * It is to be so large, at least LEAST_POOL_BYTES. It grows at once, and what nobody uses goes at once; else it shrinks by and by, as far as its machines
   * can give: so each means has its time before the next one.
   */
  resize(bytes: number): void {
    this.#targetBytes = Math.min(Math.max(bytes, LEAST_POOL_BYTES), this.#mostBytes);
    const needed = this.#domain.engine.domain.frames.usedBytes / (1 - WATERMARKS.high);
    this.#sized(Math.max(this.#targetBytes, Math.min(this.#poolBytes, Math.ceil(needed))));
  }

  #sized(bytes: number): void {
    this.#poolBytes = bytes;
    this.#domain.engine.domain.softLimitBytes = bytes;
    this.away.mostPackedFrames = Math.floor((this.#options.packedBytes ?? PACKED_PART * bytes) / PAGE_SIZE);
  }

  /** Why `count` machines of `memoryBytes` each, or the one `joining` that is in the domain already, cannot join; undefined when they can. */
  whyNotJoin(
    memoryBytes: number,
    wishes: MemoryWishes,
    { joining, count }: { readonly joining?: Machine | undefined; readonly count?: number | undefined } = {},
  ): string | undefined {
    const members = this.#present().filter(({ machine }) => machine !== joining);
    const { file, packedBytes = PACKED_PART * this.poolBytes } = this.#options;
    const figures = {
      poolBytes: this.poolBytes,
      reservedBytes:
        members.reduce((sum, { reservedPages }) => sum + reservedPages * PAGE_SIZE, 0) +
        packedBytes +
        OWN_PAGES * PAGE_SIZE +
        this.#pages(WATERMARKS.low) * PAGE_SIZE,
      memoryBytes: members.reduce((sum, { machine }) => sum + machine.memoryBytes, 0),
      // Packed pages have numbers, too.
      pagingBytes: Math.min((file?.pages ?? 0) * PAGE_SIZE, MAXIMUM_AWAY_PAGES * PAGE_SIZE - packedBytes),
    };
    return whyNotJoin(memoryBytes, wishes, figures, count);
  }

  /** A machine of the domain is in the pool; those that are not said anything of have no reservation, no limit and the usual shares. */
  join(machine: Machine, wishes: MemoryWishes = {}): void {
    this.#members.set(machine, new PoolMember(machine, wishes));
  }

  get memory(): PoolMemory {
    const members = this.#present();
    return {
      ...this.away.counts,
      state: this.#state,
      poolBytes: this.poolBytes,
      targetBytes: this.#targetBytes,
      usedBytes: this.#domain.engine.domain.frames.usedBytes,
      touchedBytes: this.#domain.engine.domain.frames.touchedBytes,
      machines: members.length,
      balloonBytes: members.reduce((sum, member) => sum + balloonOf(member), 0),
      sharing: this.#options.sharing?.counts,
      problem: this.#problem,
      waits: this.#waits,
    };
  }

  memoryOf(machine: Machine): MemberMemory | undefined {
    const member = this.#members.get(machine);
    if (member === undefined) return undefined;
    member.count(this.away);
    const { resident, shared, saved, zero, packed, paged } = member.pages;
    return {
      residentBytes: resident * PAGE_SIZE,
      sharedBytes: shared * PAGE_SIZE,
      savedBytes: Math.round(saved) * PAGE_SIZE,
      zeroBytes: zero * PAGE_SIZE,
      balloonBytes: balloonOf(member),
      compressedBytes: packed * PAGE_SIZE,
      pagedBytes: paged * PAGE_SIZE,
      activeBytes: Math.round(resident * member.activePart) * PAGE_SIZE,
      reservationBytes: member.reservedPages * PAGE_SIZE,
      limitBytes: member.limitPages === Infinity ? undefined : member.limitPages * PAGE_SIZE,
      shares: member.shares,
    };
  }

  /** Before a slice of `machine`: takes frames back when there are too few, or it has too many. False when it has to wait. */
  mayRun(machine: Machine): boolean {
    this.#noteGrowth();
    const may = this.#keepsLimit(machine) && this.#hasFrames(machine);
    this.#ran = { machine, usedBytes: this.#domain.engine.domain.frames.usedBytes };
    return may;
  }

  /** Whoever ran last took the frames that have gone since. */
  #noteGrowth(): void {
    const member = this.#ran && this.#members.get(this.#ran.machine);
    if (this.#ran === undefined || member === undefined) return;
    const bytes = this.#domain.engine.domain.frames.usedBytes - this.#ran.usedBytes;
    if (bytes > 0) member.grownPages += bytes / PAGE_SIZE;
  }

  /** Takes from a machine that is well over its own limit; false when that cannot be. */
  #keepsLimit(machine: Machine): boolean {
    const member = this.#members.get(machine);
    if (member === undefined || member.limitPages === Infinity) return true;
    const most = member.limitPages + OVER_LIMIT_BYTES / PAGE_SIZE;
    // A page that was packed gives back part of a frame, a half at most, when it comes.
    if (member.pages.resident + 2 * member.grownPages <= most) return true;
    member.count(this.away);
    if (member.pages.resident <= most) return true;
    this.#take(member, member.pages.resident - member.limitPages, true);
    this.#domain.engine.flushResident();
    if (member.pages.resident <= most || machine.pages.isProtected) return true;
    this.#waits++;
    return false;
  }

  #hasFrames(machine: Machine): boolean {
    if (this.#free >= this.#pages(WATERMARKS.low)) return true;
    const now = this.#options.clock.monotonicNs();
    if (now >= this.#retryAtNs) this.#takeBack(this.#pages(WATERMARKS.hard) - this.#free);
    if (this.#free > -WAITING_BYTES / PAGE_SIZE) return true;
    this.#waits++;
    this.#state = 'full';
    // One that has its reservation still to come has its frames.
    const member = this.#members.get(machine);
    return (
      member !== undefined &&
      member.pages.resident < member.reservedPages &&
      this.#free > -3 * (WAITING_BYTES / PAGE_SIZE)
    );
  }

  /** Takes frames back until so many bytes are free, as far as that is possible: what a machine that starts has to load comes at once. */
  makeRoom(bytes: number): void {
    const missing = bytes / PAGE_SIZE - this.#free;
    if (missing > 0) this.#takeBack(Math.ceil(missing));
  }

  /** What is to be done by and by; between slices. */
  tick(): void {
    this.#ticks++;
    if (this.#poolBytes > this.#targetBytes && this.#free > 0)
      this.#sized(Math.max(this.#targetBytes, this.#poolBytes - SHRINK_BYTES));
    this.#noting(() => this.away.pageOutOver(RECLAIM_PAGES));
    const members = this.#present();
    const { sharing } = this.#options;
    const isFew = this.#free < this.#pages(WATERMARKS.high);
    if (isFew) sharing?.hurry();
    const counted = members[this.#ticks % Math.max(members.length, 1)];
    for (const member of members)
      if (member === counted || member.limitPages < Infinity || isFew) member.count(this.away);
    let isTouched = false;
    if (this.#ticks % SAMPLE_TICKS === 0) {
      for (const member of members) member.sample();
      isTouched = true;
    } else if (isFew) {
      for (const member of members) member.age(Math.ceil(AGE_PART * member.pages.resident));
      isTouched = true;
    }
    this.#balloons.move(members, {
      missingBytes: (this.#pages(WATERMARKS.soft) - this.#free) * PAGE_SIZE,
      hasMuch: this.#free > 2 * this.#pages(WATERMARKS.high),
    });
    for (const member of members) {
      const over = member.pages.resident - member.limitPages;
      if (over > 0) {
        this.#take(member, Math.min(over, RECLAIM_PAGES * 4), true);
        isTouched = true;
      }
    }
    if (this.#free < this.#pages(WATERMARKS.hard)) this.#takeBack(this.#pages(WATERMARKS.hard) - this.#free);
    if (isTouched) this.#domain.engine.flushResident();
    this.#state = this.#stateNow();
  }

  #stateNow(): PoolState {
    const free = this.#free / (this.poolBytes / PAGE_SIZE);
    const { high, soft, hard } = WATERMARKS;
    if (free < 0) return 'full';
    if (this.#ticks - this.#pagedOutTick < SAID_TICKS) return 'page-out';
    if (free < hard || this.#ticks - this.#packedTick < SAID_TICKS) return 'compress';
    return free < soft ? 'balloon' : free < high ? 'share' : 'high';
  }

  /** Does what may pack pages or page them out, and remembers which it was. */
  #noting(work: () => void): void {
    const before = this.away.counts;
    work();
    const { packs, pageOuts } = this.away.counts;
    if (packs > before.packs) this.#packedTick = this.#ticks;
    if (pageOuts > before.pageOuts) this.#pagedOutTick = this.#ticks;
  }

  /** Frames that the pool has and nobody uses; less than none when machines took more. */
  get #free(): number {
    return (this.poolBytes - this.#domain.engine.domain.frames.usedBytes) / PAGE_SIZE;
  }

  #pages(part: number): number {
    return Math.ceil((part * this.poolBytes) / PAGE_SIZE);
  }

  /** Members that have not ended; forks of them join by themselves. */
  #present(): PoolMember[] {
    for (const machine of this.#members.keys()) if (!this.#domain.machines.has(machine)) this.#members.delete(machine);
    for (const machine of this.#domain.machines) if (!this.#members.has(machine)) this.join(machine);
    return [...this.#members.values()];
  }

  /** Takes frames from whoever has the most for its shares, some at a time. */
  #takeBack(wanted: number): void {
    this.#noting(() => this.#takeFrames(wanted));
  }

  #takeFrames(wanted: number): void {
    const members = this.#present();
    for (const member of members) if (member.pages.resident === 0) member.count(this.away);
    const exhausted = new Set<PoolMember>();
    const atFirst = this.#free;
    for (let left = wanted; left > 0;) {
      const [giver] = members
        .filter((member) => !exhausted.has(member) && member.pages.resident > member.reservedPages)
        .toSorted((one, other) => one.sharesPerPage - other.sharesPerPage);
      if (giver === undefined) break;
      const most = Math.min(left, RECLAIM_PAGES, giver.pages.resident - giver.reservedPages);
      const before = this.#free;
      if (this.#take(giver, most) < most) exhausted.add(giver);
      // Less than it gave: packed pages take frames, too.
      left -= this.#free - before;
    }
    const missing = wanted - (this.#free - atFirst);
    if (missing > 0) {
      this.#shared.reclaim(members, Math.min(missing, RECLAIM_PAGES), this.away, this.#pinned());
      this.#noteProblem(this.#free - atFirst < wanted);
    }
    this.#domain.engine.flushResident();
  }

  #take(member: PoolMember, pages: number, overLimit = false): number {
    const gone = member.reclaim(pages, this.away, this.#pinned(), overLimit);
    this.#noteProblem(gone < pages);
    return gone;
  }

  #noteProblem(isMissing: boolean): void {
    const { problem } = this.away;
    if (problem !== undefined && isMissing) this.#retryAtNs = this.#options.clock.monotonicNs() + RETRY_NS;
    if (problem === this.#problem) return;
    this.#problem = problem;
    const { log } = this.#options;
    if (problem === undefined) log?.log('info', 'memory', 'pages can be paged out again');
    else log?.log('error', 'memory', `no page can be paged out, and machines may have to wait for memory: ${problem}`);
  }

  /** Numbers of the frames that devices have on loan. */
  #pinned(): Set<number> {
    const { u32 } = this.#domain.engine.domain;
    const pinned = new Set<number>();
    for (const { guest, ram } of this.#domain.machines)
      for (const index of ram.lentPages()) pinned.add((u32[(guest.pageMap >>> 2) + index] ?? 0) >>> PAGE_SHIFT);
    return pinned;
  }
}
