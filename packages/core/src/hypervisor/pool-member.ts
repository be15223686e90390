/** A machine of a memory pool: what it may have, what it has, and how much of that it uses. */

import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import { frameOf, hasFrame } from '../engine/frames.ts';
import { PAGE } from '../engine/layout.ts';
import { doze, putAway } from '../engine/page-reclaim.ts';
import type { Machine } from '../machine/machine.ts';
import type { BalloonStatistics } from '../machine/virtio/balloon.ts';
import type { AwayStore } from './away-pages.ts';
import { DEFAULT_MEMORY_SHARES, type MemoryWishes, sharesPerPage } from './memory-shares.ts';
import { countPages, NO_PAGES, type PageCounts } from './page-counts.ts';

/** Pages of a machine that are watched at a time for whether they are touched. */
const SAMPLE = 128;
/** How much of the estimate of active pages the last sample is. */
const WEIGHT = 0.3;
/** Pages that find no place, after which a member is asked for no more of them at once. */
const MOST_MISFITS = 16;

export class PoolMember {
  readonly machine: Machine;
  readonly reservedPages: number;
  readonly limitPages: number;
  readonly shares: number;
  /** When it was counted; reclaiming is noted until it is counted again. */
  pages: PageCounts = NO_PAGES;
  /** Frames that went while it ran since it was counted, about. */
  grownPages = 0;
  /** Of its pages with a frame, as it seems: one that is new uses what it has. */
  activePart = 1;
  /** How large its balloon was at the last look, and since how many looks it has not grown although it should. */
  balloonBytes = 0;
  balloonStalls = 0;
  /** What its guest said of its memory last, and how large its balloon was then, or a little before; and at the last look. */
  answer: BalloonStatistics | undefined;
  balloonAtAnswer = 0;
  balloonSeen = 0;
  #sample: number[] = [];
  /** Where the clock's hand stands. */
  #hand = 0;
  #ageHand = 0;
  #seed = 1;

  constructor(machine: Machine, { reservationBytes = 0, limitBytes, shares = DEFAULT_MEMORY_SHARES }: MemoryWishes) {
    this.machine = machine;
    this.reservedPages = Math.ceil(reservationBytes / PAGE_SIZE);
    this.limitPages = limitBytes === undefined ? Infinity : Math.floor(limitBytes / PAGE_SIZE);
    this.shares = shares;
  }

  /** The least of all gives first. */
  get sharesPerPage(): number {
    return sharesPerPage(this.shares, this.pages.resident, this.activePart);
  }

  /** Looks at all its pages. */
  count(away: AwayStore): void {
    this.pages = countPages(this.machine.guest, away);
    this.grownPages = 0;
  }

  /** Sees which of the last sample were touched, and takes another one. The TLBs are to be flushed then. */
  sample(): void {
    const { domain } = this.machine.guest;
    const idle = this.#sample.filter((slot) => ((domain.u32[slot] ?? 0) & (PAGE.DORMANT | PAGE.AWAY)) !== 0).length;
    if (this.#sample.length > 0) this.activePart += WEIGHT * (1 - idle / this.#sample.length - this.activePart);
    this.#sample = [];
    if (this.machine.pages.isProtected) return;
    for (let tries = 0; tries < 4 * SAMPLE && this.#sample.length < SAMPLE; tries++) {
      this.#seed = (Math.imul(this.#seed, 1_103_515_245) + 12_345) >>> 0;
      const slot = this.#start + ((this.#seed >>> 8) % this.machine.guest.pages);
      if (doze(domain, slot)) this.#sample.push(slot);
    }
  }

  /** Lets so many pages doze; those that are touched later are seen to be in use. */
  age(pages: number): void {
    if (this.machine.pages.isProtected) return;
    const { domain, pages: all } = this.machine.guest;
    for (let looks = 0, dozed = 0; dozed < pages && looks < all; looks++) {
      if (doze(domain, this.#start + this.#ageHand)) dozed++;
      this.#ageHand = (this.#ageHand + 1) % all;
    }
  }

  /**
   * Puts its own pages away, as many as are wanted, and never what it has reserved: those first that dozed and were not touched, then others. One
   * `overLimit` gives then also what it has with others, of which no frame becomes free. Gives how many pages went; fewer when there is no place to
   * put them, or no page. The TLBs are to be flushed then.
   */
  reclaim(wanted: number, away: AwayStore, pinned: ReadonlySet<number>, overLimit = false): number {
    if (this.machine.pages.isProtected) return 0;
    const most = Math.min(wanted, this.pages.resident - this.reservedPages);
    let [gone, misfits] = [0, 0];
    // Twice around: what dozes at the first time goes at the second. What is shared goes when it dozed before.
    for (const shared of overLimit ? [false, true] : [false]) {
      const looks = (shared ? 1 : 2) * this.machine.guest.pages;
      for (let look = 0; look < looks && gone < most; look++) {
        const slot = this.#start + this.#hand;
        this.#hand = (this.#hand + 1) % this.machine.guest.pages;
        if (!this.#isToGo(slot, pinned, shared)) continue;
        const number = away.put(frameOf(this.machine.guest.domain.u32[slot] ?? 0));
        if (number !== undefined) {
          this.putAway(slot, number, away);
          gone++;
        } else if (++misfits === MOST_MISFITS) return gone;
      }
    }
    return gone;
  }

  /** The page at `slot`, whose bytes are in `away` under `number`, goes. */
  putAway(slot: number, number: number, away: AwayStore): void {
    const { resident, packed, paged } = this.pages;
    const isPacked = away.isPacked(number);
    this.pages = {
      ...this.pages,
      resident: resident - 1,
      packed: packed + (isPacked ? 1 : 0),
      paged: paged + (isPacked ? 0 : 1),
    };
    putAway(this.machine.guest.domain, slot, number);
  }

  /** Whether the page dozes, and is one that it has with others or not; one that does not doze does from now on. */
  #isToGo(slot: number, pinned: ReadonlySet<number>, shared: boolean): boolean {
    const { domain } = this.machine.guest;
    const entry = domain.u32[slot] ?? 0;
    const frame = frameOf(entry);
    if (!hasFrame(entry) || entry & (PAGE.KEPT | PAGE.MOVING)) return false;
    if (frame === domain.frames.zero || pinned.has(frame >>> PAGE_SHIFT)) return false;
    return domain.frames.references(frame) > 1 === shared && !doze(domain, slot);
  }

  get #start(): number {
    return this.machine.guest.pageMap >>> 2;
  }
}
