import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { Domain } from './domain.ts';
import { DomainFullError, frameOf } from './frames.ts';
import type { Guest, Region } from './guest.ts';
import { PAGE } from './layout.ts';

const PAGES = 24;
const REGIONS: readonly Region[] = [
  { base: 0x8000_0000, sizeBytes: (PAGES - 2) * PAGE_SIZE, writable: true },
  { base: 0x1000, sizeBytes: 2 * PAGE_SIZE, writable: false },
];
/** What a guest needs beside its page map. */
const HART_BYTES = 8192;

/** Numbers below `below`, the same for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

/** A domain with room for its guest and `spare` pages more. */
function domainOf(spare: number): Domain {
  const { layout } = new Domain(REGIONS, { codePages: 2 });
  return new Domain(REGIONS, { codePages: 2, totalBytes: layout.totalBytes + spare * PAGE_SIZE });
}

/** A guest as it is meant to be: the first word of each page that was written. */
class Model {
  readonly words = new Map<number, number>();
}

function fork(domain: Domain, parent: Guest): Guest {
  const { guest } = domain.addGuest(REGIONS, HART_BYTES);
  parent.shareWith(guest);
  return guest;
}

const entryOf = ({ domain, pageMap }: Guest, page: number): number => domain.u32[(pageMap >>> 2) + page] ?? 0;

function check(domain: Domain, guests: ReadonlyMap<Guest, Model>): void {
  const references = new Map<number, number>();
  for (const [guest, model] of guests) {
    for (let page = 0; page < PAGES; page++) {
      const entry = entryOf(guest, page);
      const word = entry === 0 ? 0 : domain.u32[frameOf(entry) >>> 2];
      expect(word, `page ${page}`).toBe(model.words.get(page) ?? 0);
      if (entry === 0 || frameOf(entry) === domain.frames.zero) continue;
      references.set(frameOf(entry), (references.get(frameOf(entry)) ?? 0) + 1);
      const slot = (guest.pageMap >>> 2) + page;
      if (entry & PAGE.WRITABLE) {
        expect(domain.frames.references(frameOf(entry)), 'who may write has the frame alone').toBe(1);
        expect(domain.frames.owner(frameOf(entry) / PAGE_SIZE)).toBe(slot);
      }
    }
  }
  for (const [frame, count] of references) expect(domain.frames.references(frame)).toBe(count);
  expect(domain.frames.usedBytes).toBe((references.size + 1) * PAGE_SIZE);
}

describe('guests that share frames', () => {
  test.each([1, 2, 3, 4])(
    'see what they wrote themselves, or had when they were made (random rounds, seed %i)',
    (seed) => {
      const random = numbers(seed);
      const domain = domainOf(512);
      const guests = new Map<Guest, Model>([[domain.guest, new Model()]]);
      const { available } = domain.frames;
      const some = (): [Guest, Model] => [...guests][random(guests.size)] ?? [domain.guest, new Model()];
      for (let round = 1; round <= 800; round++) {
        const [guest, model] = some();
        const [action, page] = [random(11), random(PAGES)];
        if (action < 6) {
          domain.u32[guest.host(page, true) >>> 2] = round;
          // Somewhere else in the page, that nobody may see in another's.
          domain.u32[(guest.host(page, true) >>> 2) + 700] = round;
          model.words.set(page, round);
        } else if (action < 8) expect(domain.u32[guest.host(page, false) >>> 2]).toBe(model.words.get(page) ?? 0);
        else if (action === 8 && guests.size < 7) {
          const child = new Model();
          for (const [at, word] of model.words) child.words.set(at, word);
          guests.set(fork(domain, guest), child);
        } else if (action === 9) {
          const last = Math.min(page + 4, PAGES);
          const touched: number[] = [];
          guest.addTouched(page, last - page, touched);
          guest.forget(touched);
          for (let at = page; at < last; at++) model.words.delete(at);
        } else if (guest !== domain.guest) {
          domain.removeGuest(guest, HART_BYTES);
          guests.delete(guest);
        }
        if (round % 20 === 0) check(domain, guests);
      }
      for (const guest of guests.keys()) {
        if (guest === domain.guest) guest.release();
        else domain.removeGuest(guest, HART_BYTES);
      }
      check(domain, new Map());
      const again = fork(domain, domain.guest);
      for (let page = 0; page < PAGES; page++) {
        const host = again.host(page, true);
        expect(
          domain.u8.subarray(host, host + PAGE_SIZE).every((byte) => byte === 0),
          'a frame comes as zeros',
        ).toBe(true);
      }
      domain.removeGuest(again, HART_BYTES);
      // What is missing are the places of guests, which are kept for the next ones.
      expect(available - domain.frames.available).toBeLessThanOrEqual(6 * 3);
    },
  );

  test('leave a page to the last one who has it, without a copy', () => {
    const domain = domainOf(64);
    const before = domain.guest.host(3, true);
    const child = fork(domain, domain.guest);
    domain.removeGuest(child, HART_BYTES);
    expect(entryOf(domain.guest, 3) & PAGE.WRITABLE).toBe(0);
    expect(domain.guest.host(3, true)).toBe(before);
  });

  test('are told when there is no room, and nothing is half made', () => {
    const domain = domainOf(4);
    for (let page = 0; page < PAGES; page++) domain.guest.host(page, true);
    const guests = [domain.guest];
    const { usedBytes } = domain.frames;
    expect(() => {
      for (;;) guests.push(fork(domain, domain.guest));
    }).toThrow(DomainFullError);
    expect(domain.frames.usedBytes).toBe(usedBytes);
    const last = guests.at(-1) ?? domain.guest;
    expect(() => {
      for (let page = 0; page < PAGES; page++) last.host(page, true);
    }).toThrow('no frame left');
    for (const guest of guests.slice(1)) domain.removeGuest(guest, HART_BYTES);
    expect(domain.frames.usedBytes).toBe(usedBytes);
    for (let page = 0; page < PAGES; page++) domain.guest.host(page, true);
  });
});
