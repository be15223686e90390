/** Guests of one small domain, what their pages should hold, and everything that may be done with them (memory-invariants.test.ts). */

import { assert } from '../../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../../base/numbers.ts';
import { type BlockWork, defineBlockWork } from '../../engine/block-work.ts';
import { moduleOn } from '../../engine/domain-module.ts';
import { Domain } from '../../engine/domain.ts';
import type { Engine } from '../../engine/engine.ts';
import { frameOf, hasFrame } from '../../engine/frames.ts';
import type { Guest } from '../../engine/guest.ts';
import { PAGE } from '../../engine/layout.ts';
import { type PageWork, pageWorkOf } from '../../engine/page-work.ts';
import { GuestPages } from '../../machine/guest-pages.ts';
import type { MachineDomain } from '../../machine/machine-domain.ts';
import type { Machine } from '../../machine/machine.ts';
import type { PageChanges } from '../../machine/page-changes.ts';
import { AwayStore, type PagingFile } from '../away-pages.ts';
import { MemoryPool } from '../memory-pool.ts';
import { PageScanner } from '../page-scanner.ts';
import { PoolMember } from '../pool-member.ts';
import { SharedFrames } from '../shared-frames.ts';

export const PAGES = 12;
export const REGIONS = [{ base: 0x8000_0000, sizeBytes: PAGES * PAGE_SIZE, writable: true }];
const HART_BYTES = 8192;
const PACKED_PAGES = 6;
/** Fewer than MOST_GUESTS of them write. */
const POOL_BYTES = 40 * PAGE_SIZE;
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
  readonly pages: GuestPages;
  /** Pages in its balloon. */
  readonly given: Set<number>;
  /** Where it is moving to. */
  move: { readonly changes: PageChanges; readonly there: Actor } | undefined;
  /** It is another's that moves here: nobody but who moves it touches its memory yet. */
  isArriving: boolean;
}

export class World {
  readonly domain: Domain;
  readonly file: TestFile;
  readonly away: AwayStore;
  readonly actors: Actor[] = [];
  readonly #shared = new SharedFrames();
  readonly #machines: Set<Machine>;
  readonly #pool: MemoryPool | undefined;
  readonly #scanner: PageScanner;
  readonly #page = new Uint8Array(PAGE_SIZE);

  /** With a pool that takes frames back by itself, or without. */
  static async create(isPooled: boolean): Promise<World> {
    const domain = new Domain(REGIONS, { codePages: 2, totalBytes: 24 << 20 });
    const work = await pageWorkOf(domain);
    domain.blocks = await moduleOn<BlockWork>(domain, defineBlockWork);
    // Nobody executes anything: there are no TLBs.
    const engine = { domain, flushResident: () => {} } as unknown as Engine;
    const [machines, file] = [new Set<Machine>(), new TestFile()];
    if (!isPooled) return new World(engine, work, machines, file);
    let ns = 0;
    const pool = await MemoryPool.of({ engine, machines } as unknown as MachineDomain, {
      clock: { monotonicNs: () => (ns += 1e8) },
      poolBytes: POOL_BYTES,
      packedBytes: PACKED_PAGES * PAGE_SIZE,
      sharing: undefined,
      file,
    });
    return new World(engine, work, machines, file, pool);
  }

  private constructor(engine: Engine, work: PageWork, machines: Set<Machine>, file: TestFile, pool?: MemoryPool) {
    this.domain = engine.domain;
    this.file = file;
    this.#pool = pool;
    this.#machines = machines;
    this.away = pool?.away ?? new AwayStore(this.domain, work, this.file, PACKED_PAGES);
    this.domain.away = this.away;
    this.#scanner = new PageScanner(engine, work, this.#machines);
    this.#add(
      this.domain.guest,
      Array.from({ length: PAGES }, () => 0),
    );
  }

  #add(guest: Guest, contents: number[], given: Set<number> = new Set()): Actor {
    const [following, lent] = [{ isProtected: false }, new Map<number, number>()];
    const pages = new GuestPages(guest, [], () => {});
    const ofPages = {
      get isProtected(): boolean {
        return following.isProtected || pages.isProtected;
      },
    };
    // Its guest could always give more, and does what it is asked when it comes to that.
    const state = {
      targetBytes: 0,
      get actualBytes(): number {
        return given.size * PAGE_SIZE;
      },
    };
    const balloon = {
      state,
      setTarget: (bytes: number): void => void (state.targetBytes = bytes),
      statistics: (): undefined => undefined,
      lastStatistics: { availableBytes: 2 ** 40 },
    };
    const ram = { lentPages: () => [...lent.keys()] };
    const memoryBytes = PAGES * PAGE_SIZE;
    const machine = { guest, pages: ofPages, ram, balloon, memoryBytes } as unknown as Machine;
    this.#machines.add(machine);
    const member = new PoolMember(machine, {});
    const actor: Actor = {
      machine,
      member,
      contents,
      following,
      lent,
      pages,
      given,
      move: undefined,
      isArriving: false,
    };
    this.actors.push(actor);
    return actor;
  }

  write({ machine: { guest }, contents, given }: Actor, page: number, content: number): void {
    given.delete(page);
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

  fork({ machine: { guest, pages }, contents, lent, given }: Actor): void {
    if (this.actors.length === MOST_GUESTS || pages.isProtected || lent.size > 0) return;
    const { guest: child } = this.domain.addGuest(REGIONS, HART_BYTES);
    guest.shareWith(child);
    child.states.source = guest.states.source;
    this.#add(child, [...contents], new Set(given));
  }

  /**
   * Goes on with moving it to `there`: begins; or sends what was written since the last time, as migration does; with a `choice` of 0 to 2 it is there then, and
   * but for 0 some of that follows when it is touched. The guest of the domain itself stays, as one whose migration failed at its end.
   */
  migrate(actor: Actor, choice: number, to: World): void {
    const { pages, contents, given, lent } = actor;
    if (actor.move === undefined) {
      if (actor.machine.pages.isProtected || to.actors.length === MOST_GUESTS) return;
      const { guest } = to.domain.addGuest(REGIONS, HART_BYTES);
      const there = to.#add(
        guest,
        contents.map(() => 0),
      );
      there.isArriving = true;
      actor.move = { changes: pages.follow(), there };
      return;
    }
    const { changes, there } = actor.move;
    const isLast = choice < 3;
    if (isLast && lent.size > 0) return;
    const changed = changes.take();
    const isLate = (page: number): boolean => isLast && choice > 0 && page % 3 > 0 && !given.has(page);
    const sent = changed.filter((page) => !isLate(page));
    const bytes = new Uint8Array(sent.length * PAGE_SIZE);
    const held = pages.copyHeld(sent, bytes);
    for (const page of sent) {
      const at = held.indexOf(page) * PAGE_SIZE;
      there.pages.put(page, at < 0 ? undefined : bytes.subarray(at, at + PAGE_SIZE));
      there.contents[page] = contents[page] ?? 0;
    }
    if (!isLast) return;
    const late = new Map<number, Uint8Array>();
    for (const page of changed.filter((each) => isLate(each))) {
      const copy = new Uint8Array(PAGE_SIZE);
      pages.copy(page, copy);
      late.set(page, copy);
      there.contents[page] = contents[page] ?? 0;
    }
    there.pages.source = {
      load: (page, into) => {
        const copy = late.get(page);
        assert(copy !== undefined, 'what is elsewhere is what was not sent');
        into.set(copy);
      },
    };
    there.pages.lose([...late.keys()]);
    assert(there.contents.join() === contents.join(), 'what was not reported is what it was');
    for (const page of given) there.given.add(page);
    this.stay(actor);
    this.remove(actor);
  }

  /** It moves no more; what arrived is a guest of its own. */
  stay(actor: Actor): void {
    actor.move?.changes.end();
    if (actor.move) actor.move.there.isArriving = false;
    actor.move = undefined;
  }

  inflate({ machine: { guest }, contents, given, lent }: Actor, page: number): void {
    if (lent.size > 0) return;
    guest.forget([page]);
    given.add(page);
    contents[page] = 0;
  }

  deflate({ given }: Actor, page: number): void {
    given.delete(page);
  }

  /** What the pool does by and by, or before a slice. */
  tick(): void {
    this.#pool?.tick();
  }

  mayRun({ machine }: Actor): void {
    this.#pool?.mayRun(machine);
  }

  remove(actor: Actor): void {
    if (actor.machine.guest === this.domain.guest) return;
    this.stay(actor);
    this.#machines.delete(actor.machine);
    this.actors.splice(this.actors.indexOf(actor), 1);
    this.domain.removeGuest(actor.machine.guest, HART_BYTES);
  }

  forget({ machine: { guest }, contents, lent }: Actor, page: number): void {
    if (lent.size > 0) return;
    guest.forget([page]);
    contents[page] = 0;
  }

  follow({ machine: { guest }, following, move }: Actor): void {
    if (move !== undefined) return;
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

  lend({ machine: { guest }, lent, given }: Actor, page: number): void {
    if (lent.delete(page)) return;
    given.delete(page);
    lent.set(page, guest.lend(page, true));
  }

  check(): void {
    const { u32, frames } = this.domain;
    const frameReferences = new Map<number, number>();
    const awayReferences = new Map<number, number>();
    for (const { machine, lent, given } of this.actors) {
      for (const page of given) {
        const entry = u32[(machine.guest.pageMap >>> 2) + page] ?? 0;
        assert(entry === 0 || frameOf(entry) === frames.zero, 'what is in the balloon takes no frame, and is nowhere');
      }
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
