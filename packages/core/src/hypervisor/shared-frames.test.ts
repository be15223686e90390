import { beforeEach, describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { Domain } from '../engine/domain.ts';
import type { Guest } from '../engine/guest.ts';
import { doze } from '../engine/page-reclaim.ts';
import { pageWorkOf } from '../engine/page-work.ts';
import type { Machine } from '../machine/machine.ts';
import { AwayStore, type PagingFile } from './away-pages.ts';
import { PoolMember } from './pool-member.ts';
import { SharedFrames } from './shared-frames.ts';

const PAGES = 64;
const REGIONS = [{ base: 0x8000_0000, sizeBytes: PAGES * PAGE_SIZE, writable: true }];
const NOBODY: ReadonlySet<number> = new Set();

/** Keeps nothing; nobody reads it here. */
const file = (pages: number): PagingFile => ({ pages, write: () => {}, read: () => {} });

describe('frames that two machines have together', () => {
  let domain: Domain;
  let away: AwayStore;
  let guests: Guest[];

  const storeOf = async (paging: PagingFile | undefined): Promise<AwayStore> => {
    const store = new AwayStore(domain, await pageWorkOf(domain), paging, 0);
    domain.away = store;
    return store;
  };

  beforeEach(async () => {
    domain = new Domain(REGIONS, { codePages: 2, totalBytes: 24 << 20 });
    away = await storeOf(file(PAGES));
    for (let page = 0; page < PAGES; page++) domain.u8[domain.guest.host(page, true)] = page + 1;
    const { guest } = domain.addGuest(REGIONS, 8192);
    domain.guest.shareWith(guest);
    guests = [domain.guest, guest];
  });

  const members = (reservationBytes = 0): PoolMember[] =>
    guests.map((guest) => {
      const member = new PoolMember({ guest, pages: { isProtected: false } } as unknown as Machine, {
        reservationBytes,
      });
      member.count(away);
      return member;
    });
  const dozeAll = (guest: Guest, pages = PAGES): void => {
    for (let page = 0; page < pages; page++) doze(domain, (guest.pageMap >>> 2) + page);
  };

  test('are not given by one of them alone', () => {
    const [first] = members();
    dozeAll(domain.guest);
    expect(first?.reclaim(40, away, NOBODY)).toBe(0);
    expect(first?.pages.resident).toBe(PAGES);
  });

  test('become free, as many as are wanted and no more, when neither touched them', () => {
    const both = members();
    for (const guest of guests) dozeAll(guest);
    const before = domain.frames.usedBytes;
    expect(new SharedFrames().reclaim(both, 10, away, NOBODY)).toBe(10);
    expect(before - domain.frames.usedBytes).toBe(10 * PAGE_SIZE);
    expect(both.map(({ pages }) => pages)).toMatchObject(
      both.map(() => ({ resident: PAGES - 10, shared: PAGES, packed: 0, paged: 10 })),
    );
    expect(away.counts.pageOuts).toBe(10);
  });

  test('stay where one of them uses them, or has reserved them', () => {
    const both = members();
    const shared = new SharedFrames();
    dozeAll(domain.guest);
    dozeAll(guests[1] as Guest, 20);
    // Those that did not doze do so after the first time.
    expect(shared.reclaim(both, PAGES, away, NOBODY)).toBe(20);
    for (const guest of guests) for (let page = 20; page < PAGES; page++) guest.host(page, false);
    expect(shared.reclaim(both, PAGES, away, NOBODY)).toBe(0);
    const reserving = members((PAGES - 24) * PAGE_SIZE);
    expect(shared.reclaim(reserving, PAGES, away, NOBODY)).toBe(4);
    expect(reserving.map(({ pages }) => pages.resident)).toEqual([PAGES - 24, PAGES - 24]);
  });

  test('are given by who is over its limit, no more than it is over', () => {
    const [first] = members();
    dozeAll(domain.guest);
    expect(first?.reclaim(5, away, NOBODY, true)).toBe(5);
    expect(first?.pages.resident).toBe(PAGES - 5);
  });

  test('stay, and it is said why, when the paging file is full, or there is none', async () => {
    for (const guest of guests) dozeAll(guest);
    away = await storeOf(file(3));
    expect(new SharedFrames().reclaim(members(), 10, away, NOBODY)).toBe(3);
    expect(away.problem).toBe('the paging file is full');
    away = await storeOf(undefined);
    expect(new SharedFrames().reclaim(members(), 10, away, NOBODY)).toBe(0);
    expect(away.problem).toBe('there is no paging file');
  });
});
