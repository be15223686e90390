import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { Domain } from '../engine/domain.ts';
import { Engine } from '../engine/engine.ts';
import { frameOf } from '../engine/frames.ts';
import type { Guest } from '../engine/guest.ts';
import { PAGE } from '../engine/layout.ts';
import { pageWorkOf } from '../engine/page-work.ts';
import { TIERS, onTier } from '../engine/testing/tiers.ts';
import { MachineDomain } from '../machine/machine-domain.ts';
import { Machine } from '../machine/machine.ts';
import { bareProgram } from '../machine/testing/bare-machine.ts';
import { Transcript, nodeClock, nodeEntropy } from '../vm/testing/node-host.ts';
import { PageScanner, type Scanned } from './page-scanner.ts';
import { PageSharing } from './page-sharing.ts';

const REGIONS = [{ base: 0x8000_0000, sizeBytes: 16 * PAGE_SIZE, writable: true }];
const NOBODY = { mmioLoad: () => 0, mmioStore: () => 0, readTime: () => {}, timerChanged: () => {} };
const always = (): boolean => true;

interface Scene {
  readonly domain: Domain;
  readonly guests: readonly Guest[];
  readonly lent: number[];
  readonly scanner: PageScanner;
  pass(): void;
}

/** Guests of one domain that nobody executes; pages of the first one are on loan as `lent` says. */
async function scene(): Promise<Scene> {
  const domain = new Domain(REGIONS, { codePages: 2, totalBytes: 64 << 20 });
  const engine = await Engine.create(domain, NOBODY, { kind: 'interpreter' });
  const guests = [domain.guest, engine.addGuest(REGIONS, NOBODY).guest];
  const lent: number[] = [];
  const machines = new Set<Scanned>(
    guests.map((guest, index) => ({
      guest,
      ram: { lentPages: () => (index === 0 ? lent : []) },
      pages: { isProtected: false },
    })),
  );
  const scanner = new PageScanner(engine, await pageWorkOf(domain), machines);
  return { domain, guests, lent, scanner, pass: () => void scanner.scan(always) };
}

const write = (guest: Guest | undefined, page: number, value: number): void => {
  if (guest) guest.domain.u8.fill(value, guest.host(page, true), guest.host(page, true) + PAGE_SIZE);
};
const entryOf = (guest: Guest | undefined, page: number): number =>
  guest?.domain.u32[(guest.pageMap >>> 2) + page] ?? 0;

describe('a scanner', () => {
  test('gives equal pages one frame, when they have not changed since it looked last', async () => {
    const { domain, guests, pass, scanner } = await scene();
    const [one, other] = guests;
    write(one, 3, 7);
    write(other, 5, 7);
    write(other, 6, 8);
    pass();
    expect(frameOf(entryOf(one, 3))).not.toBe(frameOf(entryOf(other, 5)));
    pass();
    expect(entryOf(one, 3)).toBe(entryOf(other, 5));
    expect(entryOf(one, 3) & PAGE.WRITABLE).toBe(0);
    expect(entryOf(other, 6) & PAGE.WRITABLE).not.toBe(0);
    expect(domain.frames.references(frameOf(entryOf(one, 3)))).toBe(2);
    expect(scanner.counts).toMatchObject({ merged: 1, zeros: 0, passes: 2 });
  });

  test('leaves a page alone that is written between any two looks', async () => {
    const { guests, pass, scanner } = await scene();
    for (let round = 1; round < 6; round++) {
      for (const guest of guests) write(guest, 3, round);
      pass();
    }
    expect(scanner.counts.merged).toBe(0);
  });

  test('leaves who writes a page of his own', async () => {
    const { domain, guests, pass } = await scene();
    const [one, other] = guests;
    for (const guest of guests) write(guest, 3, 7);
    pass();
    pass();
    write(other, 3, 9);
    expect(domain.u8[one?.host(3, false) ?? 0]).toBe(7);
    expect(domain.u8[other?.host(3, false) ?? 0]).toBe(9);
  });

  test('gives a page of zeros the frame that is nobody’s', async () => {
    const { domain, guests, pass, scanner } = await scene();
    const { usedBytes } = domain.frames;
    write(guests[0], 3, 0);
    pass();
    pass();
    expect(frameOf(entryOf(guests[0], 3))).toBe(domain.frames.zero);
    expect(scanner.counts.zeros).toBe(1);
    expect(domain.frames.usedBytes).toBe(usedBytes);
    write(guests[0], 3, 1);
    expect(domain.u8[domain.frames.zero]).toBe(0);
  });

  test('leaves pages alone that devices have on loan', async () => {
    const { guests, lent, pass, scanner } = await scene();
    for (const guest of guests) write(guest, 3, 7);
    write(guests[0], 4, 0);
    lent.push(3, 4);
    for (let round = 0; round < 3; round++) pass();
    expect(scanner.counts).toMatchObject({ merged: 0, zeros: 0 });
    lent.length = 0;
    for (let round = 0; round < 2; round++) pass();
    expect(scanner.counts).toMatchObject({ merged: 1, zeros: 1 });
  });

  test('leaves pages alone of which a snapshot is taken', async () => {
    const { guests, pass, scanner } = await scene();
    for (const guest of guests) write(guest, 3, 7);
    guests[0]?.states.protect();
    for (let round = 0; round < 3; round++) pass();
    expect(scanner.counts.merged).toBe(0);
    guests[0]?.states.release(3);
    pass();
    pass();
    expect(scanner.counts.merged).toBe(1);
  });
});

/** Fills 256 pages, each with its number; waits for a word from the serial line; writes each once and says how long that took, in ticks. */
const PAGES = 256;
const WRITER = `
        la   s0, data
        li   s1, ${PAGES}
        mv   t0, s0
        li   t1, 1
1:      sd   t1, 0(t0)
        li   t2, 4096
        add  t0, t0, t2
        addi t1, t1, 1
        ble  t1, s1, 1b
        li   s2, 0x10000000
        li   s3, 2
round:  lbu  t0, 5(s2)
        andi t0, t0, 1
        beqz t0, round
        lbu  t0, 0(s2)
        la   t4, time
        csrr s4, time
        mv   t0, s0
        li   t1, 1
2:      sd   t1, 8(t0)
        li   t2, 4096
        add  t0, t0, t2
        addi t1, t1, 1
        ble  t1, s1, 2b
        csrr s5, time
        sub  s5, s5, s4
        la   t4, ticks
        sd   s5, 0(t4)
        sb   s3, 0(s2)
        j    round
        .balign 8
time:   .dword 0
ticks:  .dword 0
        .balign 4096
data:   .dword 0`;

interface Writer {
  readonly machine: Machine;
  /** Lets it write all its pages; gives how many ticks of 100 ns that took. */
  round(): number;
}

async function writer(domain: MachineDomain): Promise<Writer> {
  const { payload, symbols } = bareProgram(WRITER);
  const said = new Transcript();
  let output = 0;
  const machine = await Machine.create({
    memoryBytes: 4 << 20,
    domain,
    clock: nodeClock,
    entropy: nodeEntropy,
    serialOutput: {
      write: (bytes) => {
        output += bytes.length;
        said.write(bytes);
      },
    },
    firmware: 'none',
    kernel: payload,
  });
  return {
    machine,
    round() {
      const before = output;
      machine.serial.receive(Uint8Array.of(1));
      while (output === before) machine.run(1);
      return machine.ram.load32(Number(symbols.get('ticks'))) ?? 0;
    },
  };
}

describe('machines of one domain', () => {
  test.each(TIERS)('can tell by the time of a write that another has the same page (%s)', async (tier) => {
    const domain = await MachineDomain.create({ label: 'one', domainBytes: 128 << 20, ...onTier(tier) });
    const [spy, victim] = [await writer(domain), await writer(domain)];
    const sharing = await PageSharing.of(domain, nodeClock);
    spy.machine.run(20);
    victim.machine.run(20);
    for (const each of [spy, victim]) each.round();
    const own = Math.min(spy.round(), spy.round(), spy.round());
    for (let pass = 0; pass < 2; pass++) sharing.scanAll();
    expect(sharing.counts.merged).toBeGreaterThanOrEqual(PAGES);
    const shared = spy.round();
    // A copy of each page, and who has it in a TLB looked for. This is why machines of different labels share nothing.
    expect(shared).toBeGreaterThan(2 * own);
    expect(Math.min(spy.round(), spy.round(), spy.round())).toBeLessThan(shared);
  });
});

describe('machines of two labels', () => {
  test('never share a frame, and none can tell what the other has', async () => {
    const domains = await Promise.all(
      ['one', 'other'].map((label) => MachineDomain.create({ label, domainBytes: 64 << 20, engine: 'interpreter' })),
    );
    const writers = await Promise.all(domains.map((domain) => writer(domain)));
    for (const each of writers) each.machine.run(20);
    for (const domain of domains) {
      const sharing = await PageSharing.of(domain, nodeClock);
      for (let pass = 0; pass < 3; pass++) sharing.scanAll();
      const { u32, frames } = domain.engine.domain;
      for (const { guest } of domain.machines) {
        // All of the pages are the other's, too; every frame is here and has no page but this machine's.
        for (let page = 0; page < guest.pages; page++) {
          const frame = frameOf(u32[(guest.pageMap >>> 2) + page] ?? 0);
          if (frame !== 0 && frame !== frames.zero) expect(frames.references(frame)).toBe(1);
        }
      }
      expect(sharing.counts.merged).toBe(0);
    }
    expect(domains[0]?.engine.domain.memory.buffer).not.toBe(domains[1]?.engine.domain.memory.buffer);
  });
});
