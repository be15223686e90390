import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import {
  BALLOON_QUEUE,
  type BalloonStatistics,
  MAXIMUM_BALLOON_PAGES,
  VIRTIO_BALLOON_F,
  VirtioBalloon,
} from './balloon.ts';
import { DESC } from './testing/guest-queue.ts';
import { RAM_BASE, Rig, TRANSPORTS } from './testing/rig.ts';

const { INFLATE, DEFLATE, STATS, HINT, REPORTING } = BALLOON_QUEUE;
/** Pages of the guest that nothing else of the rig uses. */
const PAGES_AT = RAM_BASE + 128 * PAGE_SIZE;

function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, true);
  return bytes;
}

/** Statistics as a driver writes them. */
function statistics(...list: readonly (readonly [tag: number, value: bigint])[]): Uint8Array {
  const bytes = new Uint8Array(10 * list.length);
  const view = new DataView(bytes.buffer);
  for (const [index, [tag, value]] of list.entries()) {
    view.setUint16(10 * index, tag, true);
    view.setBigUint64(10 * index + 2, value, true);
  }
  return bytes;
}

describe.each(TRANSPORTS)('the balloon over %s', (transport) => {
  const make = (): Rig<VirtioBalloon> => new Rig(transport, new VirtioBalloon());
  /** Fills whole pages with ones, and says which of them still are so. */
  const fill = (rig: Rig, count: number): void => {
    for (let page = 0; page < count; page++)
      rig.memory.write(PAGES_AT + page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(1));
  };
  const kept = (rig: Rig, count: number): number[] =>
    Array.from({ length: count }, (_, page) => page).filter(
      (page) => rig.memory.load8(PAGES_AT + page * PAGE_SIZE + 9) === 1,
    );
  const frameNumber = (page: number): number => PAGES_AT / PAGE_SIZE + page;
  /** Hands `size` bytes of the guest over to be written, or looked at. */
  const lend = (rig: Rig, queue: number, address: number, size: number): void => {
    rig.queue(queue).setDescriptor(7, { address, size, flags: DESC.WRITE });
    rig.queue(queue).offer(7);
    rig.guest.notify(queue);
  };

  test('tells the guest what the host wishes, in whole pages, and hears how far it is', () => {
    const rig = make().start();
    rig.virtio.setTarget(3 * PAGE_SIZE + 1);
    expect(rig.guest.readConfiguration(0, 4)).toBe(3);
    rig.guest.writeConfiguration(4, 4, 2);
    expect(rig.virtio.state).toEqual({ targetBytes: 3 * PAGE_SIZE, actualBytes: 2 * PAGE_SIZE, reportedBytes: 0 });
    expect(rig.faults.reports).toEqual([]);
  });

  test('the guest learns of a new wish by an interrupt, and of the same one not again', () => {
    const rig = make().start();
    rig.virtio.setTarget(PAGE_SIZE);
    const { changes } = rig.line;
    expect(changes.at(-1)).toBe(true);
    const before = changes.length;
    rig.virtio.setTarget(PAGE_SIZE + 5);
    expect(changes.length).toBe(before);
  });

  test('gives the frames of pages back that the guest put into it, and no others', () => {
    const rig = make().start();
    fill(rig, 5);
    rig.queue(INFLATE).submit([words(frameNumber(1), frameNumber(3))], []);
    rig.guest.notify(INFLATE);
    expect(kept(rig, 5)).toEqual([0, 2, 4]);
    expect(rig.queue(INFLATE).takeUsed()).toEqual([{ head: 0, written: 0 }]);
  });

  test('answers a guest that takes pages again', () => {
    const rig = make().start();
    fill(rig, 1);
    rig.queue(DEFLATE).submit([words(frameNumber(0))], []);
    rig.guest.notify(DEFLATE);
    expect(rig.queue(DEFLATE).takeUsed()).toEqual([{ head: 0, written: 0 }]);
    expect(kept(rig, 1)).toEqual([0]);
  });

  test.each([
    ['a page outside of memory', words(1), 'no memory'],
    ['a page at the end of the address space', words(0xffff_ffff), 'no memory'],
    ['half a page number', new Uint8Array(6), '6 bytes of page numbers'],
    [
      'more pages than a request may have',
      new Uint8Array(4 * (MAXIMUM_BALLOON_PAGES + 1)),
      `${4 * (MAXIMUM_BALLOON_PAGES + 1)} bytes of page numbers`,
    ],
  ])('goes on when it is given %s', (_what, bytes, sentence) => {
    const rig = make().start();
    fill(rig, 1);
    rig.queue(INFLATE).submit([bytes], []);
    rig.guest.notify(INFLATE);
    expect(rig.faults.reports).toEqual([expect.stringContaining(sentence)]);
    expect(rig.needsReset).toBe(false);
    expect(rig.queue(INFLATE).takeUsed()).toHaveLength(1);
    expect(kept(rig, 1)).toEqual([0]);
  });

  test('gives the frames of pages back that the guest reports as free: whole ones within what it says', () => {
    const rig = make().start({ without: [VIRTIO_BALLOON_F.PAGE_POISON] });
    fill(rig, 4);
    lend(rig, REPORTING, PAGES_AT + 100, 3 * PAGE_SIZE - 100);
    expect(kept(rig, 4)).toEqual([0, 3]);
    expect(rig.virtio.state.reportedBytes).toBe(3 * PAGE_SIZE - 100);
    expect(rig.queue(REPORTING).takeUsed()).toEqual([{ head: 7, written: 0 }]);
  });

  test('keeps reported pages that have to read as poison afterwards', () => {
    const rig = make().start();
    rig.guest.writeConfiguration(12, 4, 0xaaaa_aaaa);
    fill(rig, 1);
    lend(rig, REPORTING, PAGES_AT, PAGE_SIZE);
    expect(kept(rig, 1)).toEqual([0]);
    expect(rig.queue(REPORTING).takeUsed()).toHaveLength(1);
  });

  test('asks for statistics by giving the buffer back, and reads what comes', async () => {
    const rig = make().start();
    const stats = rig.queue(STATS);
    stats.submit([statistics([4, 1000n], [5, 2000n])], []);
    rig.guest.notify(STATS);
    expect(rig.virtio.lastStatistics).toEqual({ freeBytes: 1000, totalBytes: 2000 });
    expect(stats.takeUsed()).toEqual([]);
    const [asked, again] = [rig.virtio.statistics(), rig.virtio.statistics()];
    expect(stats.takeUsed()).toHaveLength(1);
    expect(stats.availEvent(), 'the next buffer is to be told').toBe(1);
    stats.submit([statistics([4, 900n], [77, 5n], [2, 2n ** 63n], [6, 2n ** 40n])], []);
    rig.guest.notify(STATS);
    const fresh: BalloonStatistics = { freeBytes: 900, availableBytes: 2 ** 40 };
    expect(await asked).toEqual(fresh);
    expect(await again).toEqual(fresh);
    expect(stats.takeUsed()).toEqual([]);
  });

  test('has no statistics of a guest that does not give any', () => {
    expect(make().virtio.statistics()).toBeUndefined();
    expect(
      make()
        .start({ without: [VIRTIO_BALLOON_F.STATS_VQ] })
        .virtio.statistics(),
    ).toBeUndefined();
  });

  test('whoever waits for statistics is answered when the guest begins anew', async () => {
    const rig = make().start();
    const asked = rig.virtio.statistics();
    rig.start();
    expect(await asked).toEqual({});
  });

  test('hears of free pages in a round of hints that the guest has begun, until the round ends', () => {
    const rig = make().start();
    const seen: string[] = [];
    const told = (address: number, size: number): void => void seen.push(`${(address - PAGES_AT) / PAGE_SIZE}+${size}`);
    fill(rig, 3);
    lend(rig, HINT, PAGES_AT, PAGE_SIZE);
    expect(rig.virtio.beginHints(told)).toBe(true);
    const round = rig.guest.readConfiguration(8, 4);
    expect(round).toBeGreaterThan(1);
    lend(rig, HINT, PAGES_AT, PAGE_SIZE);
    rig.queue(HINT).submit([words(round + 5)], []);
    lend(rig, HINT, PAGES_AT, PAGE_SIZE);
    expect(seen).toEqual([]);
    rig.queue(HINT).submit([words(round)], []);
    lend(rig, HINT, PAGES_AT + PAGE_SIZE, 2 * PAGE_SIZE);
    expect(seen).toEqual(['1+8192']);
    rig.queue(HINT).submit([words(0)], []);
    lend(rig, HINT, PAGES_AT, PAGE_SIZE);
    rig.virtio.endHints();
    expect(rig.guest.readConfiguration(8, 4)).toBe(1);
    expect(seen).toEqual(['1+8192']);
    // Hints are hints: the pages stay.
    expect(kept(rig, 3)).toEqual([0, 1, 2]);
    rig.virtio.beginHints(told);
    expect(rig.guest.readConfiguration(8, 4)).toBe(round + 1);
  });

  test('has no hints of a guest that gives none', () => {
    const rig = make().start({ without: [VIRTIO_BALLOON_F.FREE_PAGE_HINT] });
    expect(rig.virtio.beginHints(() => {})).toBe(false);
    expect(rig.guest.readConfiguration(8, 4)).toBe(0);
  });

  test('touches no guest memory while the machine is quiet', async () => {
    const rig = make().start();
    rig.queue(STATS).submit([statistics([4, 1n])], []);
    rig.guest.notify(STATS);
    await rig.virtio.quiesce();
    const asked = rig.virtio.statistics();
    expect(rig.queue(STATS).takeUsed()).toEqual([]);
    rig.virtio.resume();
    expect(rig.queue(STATS).takeUsed()).toHaveLength(1);
    rig.queue(STATS).submit([statistics([4, 2n])], []);
    rig.guest.notify(STATS);
    expect(await asked).toEqual({ freeBytes: 2 });
  });

  test('what the driver may not write stays', () => {
    const rig = make().start();
    rig.guest.writeConfiguration(0, 4, 7);
    rig.guest.writeConfiguration(8, 4, 7);
    expect([0, 8].map((at) => rig.guest.readConfiguration(at, 4))).toEqual([0, 0]);
    expect(rig.faults.reports).toHaveLength(2);
  });

  deviceLifecycle(`the balloon over ${transport}`, {
    make: () => {
      const { machineDevice } = make();
      machineDevice.reset();
      return machineDevice;
    },
    disturb: (device) => {
      const rig = Rig.of(device) as Rig<VirtioBalloon>;
      rig.findDevice();
      rig.start();
      rig.virtio.setTarget(5 * PAGE_SIZE);
      rig.guest.writeConfiguration(4, 4, 3);
      rig.guest.writeConfiguration(12, 4, 9);
      rig.virtio.beginHints(() => {});
      rig.queue(INFLATE).submit([words(frameNumber(1))], []);
      rig.guest.notify(INFLATE);
    },
  });
});
