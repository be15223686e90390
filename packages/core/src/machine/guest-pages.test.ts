import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { Domain } from '../engine/domain.ts';
import { putAway } from '../engine/page-reclaim.ts';
import { GuestPages } from './guest-pages.ts';

const PAGES = 8;
const REGIONS = [{ base: 0x8000_0000, sizeBytes: PAGES * PAGE_SIZE, writable: true }];

test('a snapshot sees pages that were put away, and leaves them there; a page that was written meanwhile, too', () => {
  const domain = new Domain(REGIONS, { codePages: 2, totalBytes: 24 << 20 });
  const { guest } = domain;
  const stored = new Map<number, Uint8Array>();
  domain.away = {
    load: (number, frame) => domain.u8.set(stored.get(number) ?? new Uint8Array(PAGE_SIZE).fill(255), frame),
    keep: () => {},
    drop: (number) => void stored.delete(number),
  };
  for (let page = 0; page < PAGES; page++) {
    const host = guest.host(page, true);
    domain.u8.fill(page + 1, host, host + PAGE_SIZE);
    stored.set(page + 1, domain.u8.slice(host, host + PAGE_SIZE));
    putAway(domain, (guest.pageMap >>> 2) + page, page + 1);
  }
  const before = domain.frames.usedBytes;
  const pages = new GuestPages(guest, [], () => {});

  const into = new Uint8Array(PAGE_SIZE);
  expect(pages.copy(3, into)).toBe(true);
  expect(into).toEqual(new Uint8Array(PAGE_SIZE).fill(4));

  pages.protect();
  domain.u8.fill(99, guest.host(5, true), guest.host(5, true) + PAGE_SIZE);
  const taken: number[] = [];
  for (let page = 0; page < PAGES; page++)
    pages.take(page, (bytes) => taken.push(bytes.every((byte) => byte === bytes[0]) ? (bytes[0] ?? 0) : -1));
  pages.unprotect();
  expect(taken).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  // The one that was written has come back.
  expect(stored.size).toBe(PAGES - 1);
  expect(domain.frames.usedBytes - before).toBeLessThanOrEqual(PAGE_SIZE);
  for (const [page, byte] of [1, 2, 3, 4, 5, 99, 7, 8].entries()) expect(domain.u8[guest.host(page, false)]).toBe(byte);
});

describe('pages are placed side by side', () => {
  const all = Uint32Array.from({ length: PAGES }, (_, page) => page);
  const BYTES = PAGES * PAGE_SIZE;

  test('in memory that nobody had, and not where others have given as much back', () => {
    const domain = new Domain(REGIONS, { codePages: 2, totalBytes: 24 << 20 });
    const pages = new GuestPages(domain.guest, [], () => {});
    pages.source = { load: (page, into) => void into.fill(page + 1) };
    const before = domain.frames.touchedBytes;
    expect(pages.place(all)).toHaveLength(BYTES);
    for (let machine = 0; machine < 3; machine++) {
      pages.lose([...all]);
      expect(pages.place(all)).toBeUndefined();
      // They come one by one then.
      for (const page of all) expect(domain.u8[domain.guest.host(page, true)]).toBe(page + 1);
      expect(domain.frames.touchedBytes - before).toBe(BYTES);
    }
  });

  test('and not where the domain has no such run left', () => {
    const domain = new Domain(REGIONS, { codePages: 2, totalBytes: 24 << 20 });
    const pages = new GuestPages(domain.guest, [], () => {});
    while (domain.frames.available > PAGES - 1) domain.frames.hold();
    expect(pages.place(all)).toBeUndefined();
    expect(pages.place(all.subarray(1))).toHaveLength(BYTES - PAGE_SIZE);
  });
});
