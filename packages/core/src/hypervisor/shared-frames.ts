/**
 * Frames that several machines of a pool have together, which are taken when their own ones are not enough. One becomes free only when all that have it
 * give it, so it is put away for all of them or for nobody: nobody of them touched it for a while, and each has more than it reserved.
 */

import { defined } from '../base/assert.ts';
import { PAGE_SHIFT } from '../base/numbers.ts';
import { frameOf, hasFrame } from '../engine/frames.ts';
import { PAGE } from '../engine/layout.ts';
import { doze } from '../engine/page-reclaim.ts';
import type { AwayStore } from './away-pages.ts';
import type { PoolMember } from './pool-member.ts';

/** Frames that are looked at for each one that is wanted: some are in use somewhere. */
const CANDIDATES = 4;

interface Place {
  readonly member: PoolMember;
  readonly slot: number;
}

export class SharedFrames {
  /** Where the clock's hand stands, in the page maps of all members one after the other. */
  #hand = 0;

  /**
   * Puts away so many frames at most, and gives how many became free. What does not doze does from now on, and may go at the next time when it was not
   * touched. The TLBs are to be flushed then.
   */
  reclaim(members: readonly PoolMember[], wanted: number, away: AwayStore, pinned: ReadonlySet<number>): number {
    const giving = members.filter(({ machine }) => !machine.pages.isProtected);
    const places = placesOf(giving, this.#candidates(giving, CANDIDATES * wanted, pinned));
    let freed = 0;
    for (const [frame, having] of places) {
      if (freed === wanted) break;
      const [first] = having;
      if (first === undefined || !canGo(first.member, frame, having)) continue;
      const number = away.put(frame);
      // The next ones would find no place either.
      if (number === undefined) break;
      for (const { member, slot } of having) {
        // The first has the number from `put`.
        if (slot !== first.slot) away.keep(number);
        member.putAway(slot, number, away);
      }
      freed++;
    }
    return freed;
  }

  /** So many shared frames that doze where they were found. */
  #candidates(members: readonly PoolMember[], most: number, pinned: ReadonlySet<number>): Set<number> {
    const [found, inUse] = [new Set<number>(), new Set<number>()];
    const all = members.reduce((sum, { machine }) => sum + machine.guest.pages, 0);
    let at = this.#hand % Math.max(all, 1);
    let [index, page] = [0, at];
    while (index < members.length && page >= (members[index]?.machine.guest.pages ?? 0))
      page -= members[index++]?.machine.guest.pages ?? 0;
    for (let looks = 0; looks < all && found.size < most; looks++) {
      const { guest } = defined(members[index], 'a member').machine;
      const { u32, frames } = guest.domain;
      const slot = (guest.pageMap >>> 2) + page;
      const entry = u32[slot] ?? 0;
      const frame = frameOf(entry);
      if (hasFrame(entry) && frame !== frames.zero && frames.references(frame) > 1) {
        if (doze(guest.domain, slot)) inUse.add(frame);
        else if (entry & PAGE.DORMANT && !pinned.has(frame >>> PAGE_SHIFT)) found.add(frame);
      }
      at++;
      if (++page === guest.pages) [index, page] = [(index + 1) % members.length, 0];
    }
    this.#hand = at % Math.max(all, 1);
    for (const frame of inUse) found.delete(frame);
    return found;
  }
}

/** Where members have these frames. */
function placesOf(members: readonly PoolMember[], wanted: ReadonlySet<number>): Map<number, Place[]> {
  const places = new Map<number, Place[]>();
  if (wanted.size === 0) return places;
  for (const frame of wanted) places.set(frame, []);
  for (const member of members) {
    const { domain, pageMap, pages } = member.machine.guest;
    for (let slot = pageMap >>> 2, end = slot + pages; slot < end; slot++) {
      const entry = domain.u32[slot] ?? 0;
      if (hasFrame(entry)) places.get(frameOf(entry))?.push({ member, slot });
    }
  }
  return places;
}

/** Whether those are all that have the frame, it dozes for each, and each keeps what it reserved. */
function canGo({ machine }: PoolMember, frame: number, places: readonly Place[]): boolean {
  const { u32, frames } = machine.guest.domain;
  if (frames.references(frame) !== places.length) return false;
  const giving = new Map<PoolMember, number>();
  for (const { member, slot } of places) {
    const entry = u32[slot] ?? 0;
    if (!(entry & PAGE.DORMANT) || entry & (PAGE.KEPT | PAGE.MOVING)) return false;
    giving.set(member, (giving.get(member) ?? 0) + 1);
  }
  return [...giving].every(([member, pages]) => member.pages.resident - pages >= member.reservedPages);
}
