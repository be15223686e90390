/** Guests of one small domain, what their pages should hold, and everything that may be done with them (memory-invariants.test.ts). */

import { assert } from '../../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../../base/numbers.ts';
import type { Domain } from '../../engine/domain.ts';
import type { Engine } from '../../engine/engine.ts';
import { frameOf, hasFrame } from '../../engine/frames.ts';
import type { Guest } from '../../engine/guest.ts';
import { PAGE } from '../../engine/layout.ts';
import type { PageWork } from '../../engine/page-work.ts';
import type { Machine } from '../../machine/machine.ts';
import { AwayStore, type PagingFile } from '../away-pages.ts';
import { PageScanner, type Scanned } from '../page-scanner.ts';
import { PoolMember } from '../pool-member.ts';
import { SharedFrames } from '../shared-frames.ts';

export const PAGES = 12;
export const REGIONS = [{ base: 0x8000_0000, sizeBytes: PAGES * PAGE_SIZE, writable: true }];
const HART_BYTES = 8192;
export const MOST_GUESTS = 5;

/** Fails to write as long as it is full. */
class TestFile implements PagingFile {
  readonly pages = 64;
  isFull = false;
  readonly #bytes = new Uint8Array(64 * PAGE_SIZE);

  write(page: number, bytes: Uint8Array): void {
    if (this.isFull) throw new Error('the disk is full');
    this.#bytes.set(bytes, page * PAGE_SIZE);
  }

  read(page: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE));
  }
}

/** What pages hold is told by one number: 0 all zeros, odd ones text, which packs well, even ones noise, which does not. */
function fill(into: Uint8Array, content: number): void {
  let state = content;
  for (let at = 0; at < into.length; at++) {
    if (content % 2 === 0) state = (Math.imul(state, 1_103_515_245) + (content === 0 ? 0 : 12_345)) >>> 0;
    into[at] = content % 2 === 0 ? state >>> 24 : (at % 16) + content;
  }
}

export interface Actor {
  readonly machine: Machine;
  readonly member: PoolMember;
  readonly contents: number[];
  readonly following: { isProtected: boolean };
  /** Frames that devices have, by page. */
  readonly lent: Map<number, number>;
}

export class World {
  readonly domain: Domain;
  readonly file = new TestFile();
  readonly away: AwayStore;
  readonly actors: Actor[] = [];
  readonly #shared = new SharedFrames();
  readonly #machines = new Set<Scanned>();
  readonly #scanner: PageScanner;
  readonly #page = new Uint8Array(PAGE_SIZE);

  constructor(engine: Engine, work: PageWork) {
    this.domain = engine.domain;
    this.away = new AwayStore(this.domain, work, this.file, 6);
    this.domain.away = this.away;
    this.#scanner = new PageScanner(engine, work, this.#machines);
    this.#add(
      this.domain.guest,
      Array.from({ length: PAGES }, () => 0),
    );
  }

  #add(guest: Guest, contents: number[]): void {
    const [following, lent] = [{ isProtected: false }, new Map<number, number>()];
    const machine = { guest, pages: following, ram: { lentPages: () => [...lent.keys()] } } as unknown as Machine;
    this.#machines.add(machine);
    this.actors.push({ machine, member: new PoolMember(machine, {}), contents, following, lent });
  }

  write({ machine: { guest }, contents }: Actor, page: number, content: number): void {
    const host = guest.host(page, true);
    fill(this.#page, content);
    this.domain.u8.set(this.#page, host);
    contents[page] = content;
  }

  /** Whether the page holds what it should. */
  read({ machine: { guest }, contents }: Actor, page: number): void {
    const host = guest.host(page, false);
    fill(this.#page, contents[page] ?? 0);
    assert(
      Buffer.compare(this.domain.u8.subarray(host, host + PAGE_SIZE), this.#page) === 0,
      `page ${page} holds what was written`,
    );
  }

  fork({ machine: { guest }, contents, following, lent }: Actor): void {
    if (this.actors.length === MOST_GUESTS || following.isProtected || lent.size > 0) return;
    const { guest: child } = this.domain.addGuest(REGIONS, HART_BYTES);
    guest.shareWith(child);
    this.#add(child, [...contents]);
  }

  remove(actor: Actor): void {
    if (actor.machine.guest === this.domain.guest) return;
    this.#machines.delete(actor.machine);
    this.actors.splice(this.actors.indexOf(actor), 1);
    this.domain.removeGuest(actor.machine.guest, HART_BYTES);
  }

  forget({ machine: { guest }, contents, lent }: Actor, page: number): void {
    if (lent.size > 0) return;
    guest.forget([page]);
    contents[page] = 0;
  }

  follow({ machine: { guest }, following }: Actor): void {
    if (following.isProtected) for (let page = 0; page < PAGES; page++) guest.states.release(page);
    else guest.states.protect();
    following.isProtected = !following.isProtected;
  }

  scan(): void {
    while (!this.#scanner.scan(() => true));
  }

  reclaim({ member }: Actor, pages: number): void {
    member.count(this.away);
    member.reclaim(pages, this.away, this.#pinned(), pages % 2 === 0);
  }

  reclaimShared(pages: number): void {
    for (const { member } of this.actors) member.count(this.away);
    const before = this.domain.frames.usedBytes - this.away.frames * PAGE_SIZE;
    const members = this.actors.map(({ member }) => member);
    const freed = this.#shared.reclaim(members, pages, this.away, this.#pinned());
    assert(
      this.domain.frames.usedBytes - this.away.frames * PAGE_SIZE === before - freed * PAGE_SIZE && freed <= pages,
      'each shared frame that was put away is free',
    );
  }

  #pinned(): Set<number> {
    const pinned = new Set<number>();
    for (const { machine, lent } of this.actors)
      for (const page of lent.keys())
        pinned.add((this.domain.u32[(machine.guest.pageMap >>> 2) + page] ?? 0) >>> PAGE_SHIFT);
    return pinned;
  }

  lend({ machine: { guest }, lent }: Actor, page: number): void {
    if (lent.delete(page)) return;
    lent.set(page, guest.lend(page, true));
  }

  check(): void {
    const { u32, frames } = this.domain;
    const frameReferences = new Map<number, number>();
    const awayReferences = new Map<number, number>();
    for (const { machine, lent } of this.actors) {
      for (const [page, frame] of lent)
        assert(machine.guest.host(page, false) === frame, 'what is on loan stays where it is');
      for (let page = 0; page < PAGES; page++) {
        const slot = (machine.guest.pageMap >>> 2) + page;
        const entry = u32[slot] ?? 0;
        if (entry & PAGE.AWAY) {
          assert(!hasFrame(entry), 'a page that is away has no frame');
          awayReferences.set(entry >>> PAGE_SHIFT, (awayReferences.get(entry >>> PAGE_SHIFT) ?? 0) + 1);
        }
        const frame = frameOf(entry);
        if (!hasFrame(entry) || frame === frames.zero) continue;
        frameReferences.set(frame, (frameReferences.get(frame) ?? 0) + 1);
        if ((entry & PAGE.WRITABLE) === 0) continue;
        assert(frames.owner(frame >>> PAGE_SHIFT) === slot, 'who may write owns the frame');
        assert(frames.references(frame) === 1, 'and has it alone');
      }
    }
    for (const [frame, count] of frameReferences)
      assert(frames.references(frame) === count, 'references are as many as page maps have');
    for (const [number, count] of awayReferences)
      assert(this.away.references(number) === count, 'references are as many as page maps have');
    const { packed, paged } = this.away.counts;
    assert(packed + paged === awayReferences.size, 'nobody’s pages are kept');
    assert(
      frames.usedBytes / PAGE_SIZE === 1 + frameReferences.size + this.away.frames,
      'every frame is a page’s, held or free',
    );
  }
}
