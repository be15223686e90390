import { describe, expect, test, vi } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { Domain } from './domain.ts';
import { decodeAhead, executedLately, executedSlots, keepCode, placeCode } from './kept-code.ts';
import { DATA, RAM, Rig } from './testing/rig.ts';
import { TIERS } from './testing/tiers.ts';

/** Writes over an instruction of its own in the second half, and adds up what it finds. */
const PROGRAM = `
        li   s0, ${DATA}
        li   s1, 400
        li   s2, 0
loop:   call more
        add  s2, s2, a1
        addi s1, s1, -1
        bnez s1, loop
        la   t0, more
        lw   t1, 0(s0)
        sw   t1, 0(t0)
        fence.i
        li   s1, 100
again:  call more
        add  s2, s2, a1
        addi s1, s1, -1
        bnez s1, again
        lui  a0, 0x12345
        addi a0, a0, 0x678
2:      wfi
        j    2b
        .align 12
more:   addi a1, x0, 3
        sd   a1, 8(s0)
        ld   a1, 8(s0)
        ret`;
/** addi a1, x0, 5 */
const OTHER = 0x0050_0593n;
const EXPECTED = 400n * 3n + 100n * 5n;
const CODE = RAM + PAGE_SIZE;

const host = ({ guest }: Domain, address: number): number => guest.host(guest.pageIndex(address), false);

/** What a guest's pages held before anything ran. */
function bytesOfMemory({ domain }: Rig): (page: number, into: Uint8Array) => boolean {
  const memory = new Map(
    [RAM, CODE].map((address) => {
      const at = host(domain, address);
      return [domain.guest.pageIndex(address), domain.u8.slice(at, at + PAGE_SIZE)];
    }),
  );
  return (page, into) => {
    const bytes = memory.get(page);
    if (bytes) into.set(bytes);
    return bytes !== undefined;
  };
}

async function rig(tier: (typeof TIERS)[number]): Promise<Rig> {
  const made = await Rig.of(tier, PROGRAM);
  made.store(DATA, OTHER);
  return made;
}

describe.each(TIERS)('kept code, on the %s', (tier) => {
  test('is executed without being decoded, and what is written over is decoded anew', async () => {
    const first = await rig(tier);
    const bytesOf = bytesOfMemory(first);
    first.finish();
    expect(first.hart.x(18)).toBe(EXPECTED);
    // The first guest has written over it; what is kept is of what was there before.
    const code = keepCode(first.domain.guest, bytesOf);

    const second = await rig(tier);
    const decode = vi.spyOn(second.domain, 'decode');
    const placed = placeCode(second.domain.guest, code);
    second.finish();
    expect(second.hart.x(18)).toBe(EXPECTED);
    expect(second.hart.x(10)).toBe(0x1234_5678n);
    // What is compiled at first sight is hardly decoded.
    expect(placed).toBeGreaterThan(0);
    if (tier === 'interpreter') expect([placed, decode.mock.calls.length]).toEqual([2, 1]);
    expect(second.domain.isWatching(host(second.domain, CODE) / PAGE_SIZE)).toBe(true);
  });
});

describe('kept code', () => {
  test('is of nothing but the pages whose bytes are given', async () => {
    const first = await rig('interpreter');
    const bytesOf = bytesOfMemory(first);
    first.finish();
    const index = first.domain.guest.pageIndex(CODE);
    const code = keepCode(first.domain.guest, (page, into) => page !== index && bytesOf(page, into));
    const second = await rig('interpreter');
    expect(placeCode(second.domain.guest, code)).toBe(1);
    expect(second.domain.isDecoded(host(second.domain, RAM) / PAGE_SIZE, 0)).toBe(true);
    expect(second.domain.isDecoded(host(second.domain, CODE) / PAGE_SIZE, 0)).toBe(false);
  });

  test('has the very records that decoding the page makes', async () => {
    const first = await rig('interpreter');
    const bytesOf = bytesOfMemory(first);
    first.engine.run(first.hart, 50);
    const second = await rig('interpreter');
    placeCode(second.domain.guest, keepCode(first.domain.guest, bytesOf));
    const records = ({ domain }: Rig): Uint8Array => {
      const frame = host(domain, CODE) / PAGE_SIZE;
      const at = domain.codePage(frame);
      // Behind them is the number of the frame.
      return domain.u8.slice(at, at + 2048 * 16);
    };
    expect(records(second).some((byte) => byte !== 0)).toBe(true);
    expect(records(second)).toEqual(records(first));
  });

  test('is said by its places alone, and decoded where it is executed next', async () => {
    const first = await rig('interpreter');
    const bytesOf = bytesOfMemory(first);
    first.finish();
    const { guest } = first.domain;
    const executed = executedLately(guest, [first.hart.base]).map((page) => ({
      page,
      slots: executedSlots(guest, page),
    }));
    expect(executed.map(({ page }) => page).toSorted((a, b) => a - b)).toEqual(
      [RAM, CODE].map((at) => guest.pageIndex(at)),
    );
    const next = await rig('interpreter');
    expect(decodeAhead(next.domain.guest, executed)).toBe(2);
    // Where it is decoded already nothing is.
    expect(decodeAhead(next.domain.guest, executed)).toBe(0);
    expect(keepCode(next.domain.guest, bytesOf)).toEqual(keepCode(guest, bytesOf));
  });

  test('of a page that has no memory is passed over', async () => {
    const first = await rig('interpreter');
    const bytesOf = bytesOfMemory(first);
    first.finish();
    const code = keepCode(first.domain.guest, bytesOf);
    const second = await Rig.of('interpreter', 'wfi');
    expect(placeCode(second.domain.guest, code)).toBe(1);
  });

  test('that is cut short, or is none, gives nothing', async () => {
    const first = await rig('interpreter');
    const bytesOf = bytesOfMemory(first);
    first.finish();
    const code = keepCode(first.domain.guest, bytesOf);
    const second = await rig('interpreter');
    for (const bytes of [0, 4, 8, 100, code.length - 16])
      expect(placeCode(second.domain.guest, code.slice(0, bytes))).toBe(0);
    second.finish();
    expect(second.hart.x(18)).toBe(EXPECTED);
  });
});
