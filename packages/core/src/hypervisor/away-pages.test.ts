import { expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { Domain } from '../engine/domain.ts';
import { pageWorkOf } from '../engine/page-work.ts';
import { AwayStore } from './away-pages.ts';

const PAGES = 512;
const REGIONS = [{ base: 0x8000_0000, sizeBytes: PAGES * PAGE_SIZE, writable: true }];

test('packed pages that have become too many go to the file a few at a time, and none of them is lost', async () => {
  const domain = new Domain(REGIONS, { codePages: 2, totalBytes: 24 << 20 });
  const written = new Map<number, Uint8Array>();
  const file = {
    pages: PAGES,
    write: (page: number, bytes: Uint8Array) => void written.set(page, bytes.slice()),
    read: (page: number, into: Uint8Array) => into.set(written.get(page) ?? []),
  };
  const away = new AwayStore(domain, await pageWorkOf(domain), file, PAGES);
  const put = (page: number): number => {
    const frame = domain.guest.host(page, true);
    domain.u8[frame] = 1 + (page % 255);
    return away.put(frame) ?? 0;
  };
  const numbers = Array.from({ length: PAGES - 1 }, (_, page) => put(page));
  expect(away.counts).toMatchObject({ packed: PAGES - 1, pageOuts: 0 });
  away.mostPackedFrames = 2;
  numbers.push(put(PAGES - 1));
  // Whoever puts one more away does not wait for all of them.
  expect(away.counts.pageOuts).toBeGreaterThan(0);
  expect(away.counts.pageOuts).toBeLessThanOrEqual(33);
  for (let ticks = 0; ticks < 20; ticks++) {
    const { pageOuts } = away.counts;
    away.pageOutOver(100);
    expect(away.counts.pageOuts - pageOuts).toBeLessThanOrEqual(100);
  }
  expect(away.counts.packedFrames).toBeLessThanOrEqual(3);
  const frame = domain.frames.hold();
  for (const [page, number] of numbers.entries()) {
    away.load(number, frame);
    expect(domain.u8[frame]).toBe(1 + (page % 255));
  }
});
