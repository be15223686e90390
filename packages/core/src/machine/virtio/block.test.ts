import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Log } from '../../base/ports.ts';
import { MemoryBlockStore } from '../../storage/memory-block-store.ts';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import { MAXIMUM_TRANSFER_BYTES, MAXIMUM_UNDER_WAY, VIRTIO_BLK_F, VirtioBlock } from './block.ts';
import type { VirtioBlockParts } from './block.ts';
import { HeldStore } from './testing/held-store.ts';
import type { Submitted } from './testing/guest-queue.ts';
import { Rig, TRANSPORTS } from './testing/rig.ts';

const SECTORS = 64;
const DISK_BYTES = SECTORS * 512;
const T = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 };
const S = { OK: 0, IOERR: 1, UNSUPP: 2 };

function pattern(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 13 + (index >> 8) + seed) & 0xff);
}

function header(type: number, sector: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(8, sector % 2 ** 32, true);
  view.setUint32(12, Math.floor(sector / 2 ** 32), true);
  return bytes;
}

/** Lets promises that are settled be seen. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

class RecordedLog implements Log {
  readonly lines: string[] = [];
  log(level: string, area: string, message: string): void {
    this.lines.push(`${level} ${area}: ${message}`);
  }
}

describe.each(TRANSPORTS)('the block device over %s', (transport) => {
  const make = (parts: Partial<VirtioBlockParts> = {}, ramPages = 256): Rig<VirtioBlock> =>
    new Rig(
      transport,
      new VirtioBlock({ store: new MemoryBlockStore(pattern(DISK_BYTES)), serial: 'disk0', ...parts }),
      ramPages,
    );

  /** One request from start to end; gives status, length in the used ring and the answer without the status. */
  const request = async (
    rig: Rig<VirtioBlock>,
    send: readonly Uint8Array[],
    room: readonly number[],
    indirect = false,
  ): Promise<{
    readonly status: number | undefined;
    readonly written: number | undefined;
    readonly data: Uint8Array;
  }> => {
    const submitted = rig.queue(0).submit(send, room, indirect);
    rig.guest.notify(0);
    await turns();
    const answer = rig.queue(0).answer(submitted);
    return { status: answer.at(-1), written: rig.queue(0).takeUsed()[0]?.written, data: answer.subarray(0, -1) };
  };

  test('reads sectors into any buffers', async () => {
    const rig = make().start();
    for (const room of [[1024, 1], [512, 512, 1], [1025], [1, 1000, 24]]) {
      const { status, written, data } = await request(rig, [header(T.IN, 3)], room);
      expect([status, written]).toEqual([S.OK, 1025]);
      expect(data).toEqual(pattern(DISK_BYTES).subarray(1536, 2560));
    }
    expect(rig.memory.loans).toEqual([]);
  });

  test('writes sectors from any buffers, the header cut anywhere', async () => {
    const bytes = pattern(DISK_BYTES);
    const rig = make({ store: new MemoryBlockStore(bytes) }).start();
    for (const [index, cuts] of [[16], [5, 16], [16, 100, 700], [3, 9, 300], []].entries()) {
      const data = pattern(1024, index + 1);
      const whole = Uint8Array.from([...header(T.OUT, index * 2), ...data]);
      const edges = [0, ...cuts, whole.length];
      const send = edges.slice(1).map((end, piece) => whole.subarray(edges[piece], end));
      expect(await request(rig, send, [1], index % 2 === 0)).toMatchObject({ status: S.OK, written: 1 });
      expect(bytes.slice(index * 1024, index * 1024 + 1024)).toEqual(data);
    }
    expect(rig.memory.loans).toEqual([]);
  });

  test('a request may be of no sectors at all', async () => {
    const rig = make().start();
    expect(await request(rig, [header(T.IN, 0)], [1])).toMatchObject({ status: S.OK, written: 1 });
    expect(await request(rig, [header(T.OUT, SECTORS)], [1])).toMatchObject({ status: S.OK, written: 1 });
  });

  test('the last sector can be reached and the one behind it cannot', async () => {
    const rig = make().start();
    expect(await request(rig, [header(T.IN, SECTORS - 1)], [512, 1])).toMatchObject({ status: S.OK, written: 513 });
    for (const [sector, bytes] of [
      [SECTORS - 1, 1024],
      [SECTORS, 512],
      [2 ** 32, 512],
      [2 ** 55, 512],
      [2 ** 63, 512],
    ] as const) {
      expect(await request(rig, [header(T.IN, sector)], [bytes, 1])).toMatchObject({ status: S.IOERR, written: 0 });
      expect(await request(rig, [header(T.OUT, sector), pattern(bytes)], [1])).toMatchObject({
        status: S.IOERR,
        written: 1,
      });
    }
    expect(rig.needsReset).toBe(false);
  });

  test('a length that is no number of sectors is an error', async () => {
    const rig = make().start();
    expect(await request(rig, [header(T.IN, 0)], [513, 1])).toMatchObject({ status: S.IOERR });
    expect(await request(rig, [header(T.OUT, 0), pattern(100)], [1])).toMatchObject({ status: S.IOERR });
    expect(rig.faults.reports.join()).toContain('reads 513 bytes, which is no number of sectors');
  });

  test('a store whose length is no number of sectors shows whole ones only', async () => {
    const rig = make({ store: new MemoryBlockStore(pattern(1000)) }).start();
    expect(rig.guest.readConfiguration(0, 4)).toBe(1);
    expect(await request(rig, [header(T.IN, 1)], [512, 1])).toMatchObject({ status: S.IOERR });
  });

  test('a read-only disk says so, and refuses writes', async () => {
    const bytes = pattern(DISK_BYTES);
    const rig = make({ store: new MemoryBlockStore(bytes, true) }).start();
    expect(rig.guest.deviceFeatures(0) & (1 << VIRTIO_BLK_F.RO)).not.toBe(0);
    expect(await request(rig, [header(T.OUT, 0), new Uint8Array(512)], [1])).toMatchObject({ status: S.IOERR });
    expect(await request(rig, [header(T.IN, 0)], [512, 1])).toMatchObject({ status: S.OK });
    expect(bytes).toEqual(pattern(DISK_BYTES));
    expect(make().guest.deviceFeatures(0) & (1 << VIRTIO_BLK_F.RO)).toBe(0);
  });

  test('says who it is, in as many bytes as there is room for', async () => {
    const rig = make({ serial: 'a serial number of more than twenty' }).start();
    const ask = async (room: number): Promise<unknown[]> => {
      const { status, written, data } = await request(rig, [header(T.GET_ID, 0)], [room, 1]);
      return [status, written, new TextDecoder().decode(data)];
    };
    expect(await ask(20)).toEqual([S.OK, 21, 'a serial number of m']);
    expect(await ask(4)).toEqual([S.OK, 5, 'a se']);
    expect(await ask(24)).toEqual([S.OK, 0, 'a serial number of m\0\0\0\0']);
    const short = make().start();
    expect((await request(short, [header(T.GET_ID, 0)], [20, 1])).data).toEqual(
      Uint8Array.from([...new TextEncoder().encode('disk0'), ...new Uint8Array(15)]),
    );
  });

  test('what it does not know is unsupported', async () => {
    const rig = make().start();
    // A disk in memory gives nothing back.
    for (const type of [2, 3, T.DISCARD, 0xffff_ffff]) {
      expect(await request(rig, [header(type, 0), pattern(16)], [1])).toMatchObject({ status: S.UNSUPP, written: 1 });
    }
  });

  test.each([
    ['a header cut short', [new Uint8Array(15)], [1]],
    ['no room for a status', [header(T.IN, 0)], []],
    ['nothing at all', [], [1]],
  ])('%s stops the device, and it can still be saved', (_, send, room) => {
    const rig = make().start();
    rig.queue(0).submit(send, room);
    rig.guest.notify(0);
    expect(rig.needsReset).toBe(true);
    expect(rig.faults.reports).toEqual([
      expect.stringContaining('a block request has no header or no room for a status'),
    ]);
    expect(() => rig.machineDevice.save()).not.toThrow();
  });

  test('describes the disk in its configuration', () => {
    const { guest } = make().start();
    expect([guest.readConfiguration(0, 4), guest.readConfiguration(4, 4)]).toEqual([SECTORS, 0]);
    expect([guest.readConfiguration(8, 4), guest.readConfiguration(12, 4)]).toEqual([1 << 20, 254]);
    expect(guest.readConfiguration(20, 4)).toBe(512);
    expect([
      guest.readConfiguration(24, 1),
      guest.readConfiguration(25, 1),
      guest.readConfiguration(26, 2),
      guest.readConfiguration(28, 4),
    ]).toEqual([3, 0, 8, 0]);
    expect([guest.readConfiguration(32, 1), guest.readConfiguration(33, 1), guest.readConfiguration(34, 2)]).toEqual([
      1, 0, 1,
    ]);
    expect([guest.readConfiguration(60, 4), guest.readConfiguration(1000, 4)]).toEqual([0, 0]);
  });

  describe('discarding and zeroing', () => {
    /** Ranges of sector, number of sectors, flags. */
    const ranges = (...list: readonly (readonly [number, number, number])[]): Uint8Array => {
      const bytes = new Uint8Array(list.length * 16);
      const view = new DataView(bytes.buffer);
      for (const [index, [sector, sectors, flags]] of list.entries()) {
        view.setUint32(index * 16, sector % 2 ** 32, true);
        view.setUint32(index * 16 + 4, Math.floor(sector / 2 ** 32), true);
        view.setUint32(index * 16 + 8, sectors, true);
        view.setUint32(index * 16 + 12, flags, true);
      }
      return bytes;
    };
    const setup = (): { readonly rig: Rig<VirtioBlock>; readonly store: HeldStore } => {
      const store = new HeldStore(pattern(DISK_BYTES));
      store.through = true;
      return { rig: make({ store }).start(), store };
    };

    test('are offered with their limits, by a disk that has a use for them', () => {
      const offered = (parts: Partial<VirtioBlockParts>): unknown[] => {
        const { guest } = make(parts);
        const bits = guest.deviceFeatures(0);
        return [
          (bits >>> VIRTIO_BLK_F.DISCARD) & 1,
          (bits >>> VIRTIO_BLK_F.WRITE_ZEROES) & 1,
          ...[36, 40, 44, 48, 52].map((at) => guest.readConfiguration(at, 4)),
          guest.readConfiguration(56, 1),
        ];
      };
      expect(offered({ store: new HeldStore(pattern(DISK_BYTES)) })).toEqual([1, 1, 2 ** 22, 32, 8, 2 ** 22, 32, 1]);
      expect(offered({})).toEqual([0, 1, 0, 0, 0, 2 ** 22, 32, 0]);
      expect(offered({ store: new MemoryBlockStore(pattern(DISK_BYTES), true) })).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    });

    test('go over every range of a request, and keep apart what may be given up', async () => {
      const { rig, store } = setup();
      const zeroes = [header(T.WRITE_ZEROES, 0), ranges([1, 2, 0], [8, 1, 1])];
      expect(await request(rig, zeroes, [1])).toMatchObject({ status: S.OK, written: 1 });
      expect(await request(rig, [header(T.DISCARD, 77), ranges([63, 1, 0])], [1])).toMatchObject({ status: S.OK });
      expect(store.log).toEqual(['zero 512+1024', 'unmap 4096+512', 'discard 32256+512']);
      expect([511, 512, 1535, 1536].map((at) => store.bytes[at] === pattern(DISK_BYTES)[at])).toEqual([
        true,
        false,
        false,
        true,
      ]);
    });

    test('of a written-through disk are durable when they are done', async () => {
      const { rig, store } = setup();
      rig.guest.writeConfiguration(32, 1, 0);
      await request(rig, [header(T.WRITE_ZEROES, 0), ranges([1, 2, 0])], [1]);
      expect(store.log).toEqual(['zero 512+1024', 'flush']);
    });

    test.each([
      ['a flag that is not known', T.WRITE_ZEROES, ranges([0, 1, 2]), S.UNSUPP],
      ['a discard with unmap', T.DISCARD, ranges([0, 1, 1]), S.UNSUPP],
      ['a range beyond the end', T.DISCARD, ranges([0, 1, 0], [60, 5, 0]), S.IOERR],
      ['a sector of more than 2^53', T.WRITE_ZEROES, ranges([2 ** 60, 1, 0]), S.IOERR],
      ['more sectors than were told', T.WRITE_ZEROES, ranges([0, 2 ** 22 + 1, 0]), S.IOERR],
      ['no range', T.DISCARD, new Uint8Array(0), S.IOERR],
      ['half a range', T.DISCARD, new Uint8Array(24), S.IOERR],
      ['more ranges than were told', T.WRITE_ZEROES, new Uint8Array(33 * 16), S.IOERR],
    ])('refuse %s, and nothing of it is done', async (_, type, list, status) => {
      const { rig, store } = setup();
      expect(await request(rig, [header(type, 0), list], [1])).toMatchObject({ status, written: 1 });
      expect(store.log).toEqual([]);
      expect(rig.needsReset).toBe(false);
    });

    test('fail on a read-only disk', async () => {
      const rig = make({ store: new MemoryBlockStore(pattern(DISK_BYTES), true) }).start();
      for (const type of [T.DISCARD, T.WRITE_ZEROES])
        expect(await request(rig, [header(type, 0), ranges([0, 1, 0])], [1])).toMatchObject({ status: S.IOERR });
    });
  });

  describe('with several queues', () => {
    test('says how many, and serves each', async () => {
      const rig = make({ queues: 3 }).start();
      expect(rig.guest.readConfiguration(34, 2)).toBe(3);
      expect(rig.queues).toHaveLength(3);
      for (const index of [2, 0, 1]) {
        const submitted = rig.queue(index).submit([header(T.IN, index)], [512, 1]);
        rig.guest.notify(index);
        await turns();
        expect(rig.queue(index).answer(submitted, 512)).toEqual(
          pattern(DISK_BYTES).subarray(index * 512, index * 512 + 512),
        );
        expect(rig.queue(index).takeUsed()).toHaveLength(1);
      }
    });

    test('none of them can keep the others waiting', async () => {
      const store = new HeldStore(pattern(DISK_BYTES));
      const rig = make({ store, queues: 2 }).start();
      for (let count = 0; count < MAXIMUM_UNDER_WAY + 50; count++)
        rig.queue(0).submit([header(T.IN, 0)], [512, 1], true);
      rig.guest.notify(0);
      const other = rig.queue(1).submit([header(T.IN, 1)], [512, 1]);
      rig.guest.notify(1);
      expect(store.held.filter(({ offsetBytes }) => offsetBytes === 512)).toHaveLength(0);
      await store.held[0]?.finish();
      await store.held[0]?.finish();
      expect(store.held.filter(({ offsetBytes }) => offsetBytes === 512)).toHaveLength(1);
      await store.finishAll();
      expect(rig.queue(1).answer(other).at(-1)).toBe(S.OK);
    });
  });

  test('shows a capacity of more than 2^32 sectors', () => {
    const store = {
      ...new MemoryBlockStore(new Uint8Array(0)),
      sizeBytes: 2 ** 42 + 512,
    } as unknown as MemoryBlockStore;
    const { guest } = make({ store });
    expect([guest.readConfiguration(0, 4), guest.readConfiguration(4, 4)]).toEqual([1, 2]);
  });

  describe('the write cache', () => {
    const writeOnce = async (rig: Rig<VirtioBlock>): Promise<void> => {
      await request(rig, [header(T.OUT, 1), pattern(512)], [1]);
    };
    const setup = (without: readonly number[]): { readonly rig: Rig<VirtioBlock>; readonly store: HeldStore } => {
      const store = new HeldStore(new Uint8Array(DISK_BYTES));
      store.through = true;
      return { rig: make({ store }).start({ without }), store };
    };

    test('is flushed when the driver asks', async () => {
      const { rig, store } = setup([]);
      await writeOnce(rig);
      expect(store.log).toEqual(['write 512+512']);
      expect(await request(rig, [header(T.FLUSH, 0)], [1])).toMatchObject({ status: S.OK, written: 1 });
      expect(store.log).toEqual(['write 512+512', 'flush']);
    });

    test('is written through for a driver that cannot flush', async () => {
      const { rig, store } = setup([VIRTIO_BLK_F.FLUSH, VIRTIO_BLK_F.CONFIG_WCE]);
      await writeOnce(rig);
      expect(store.log).toEqual(['write 512+512', 'flush']);
    });

    test('is what the driver sets, until a reset', async () => {
      const { rig, store } = setup([]);
      rig.guest.writeConfiguration(32, 1, 0);
      expect(rig.guest.readConfiguration(32, 1)).toBe(0);
      await writeOnce(rig);
      expect(store.log).toEqual(['write 512+512', 'flush']);
      rig.start();
      expect(rig.guest.readConfiguration(32, 1)).toBe(1);
    });

    test('begins as the disk is set, and the driver may set it otherwise', async () => {
      const store = new HeldStore(new Uint8Array(DISK_BYTES));
      store.through = true;
      const rig = make({ store, cache: 'writethrough' }).start();
      expect(rig.guest.readConfiguration(32, 1)).toBe(0);
      await writeOnce(rig);
      rig.guest.writeConfiguration(32, 1, 1);
      await writeOnce(rig);
      expect(store.log).toEqual(['write 512+512', 'flush', 'write 512+512']);
    });

    test('begins as written through when only CONFIG_WCE was agreed on', () => {
      const { rig } = setup([VIRTIO_BLK_F.FLUSH]);
      expect(rig.guest.readConfiguration(32, 1)).toBe(0);
    });

    test('cannot be set by a driver that did not agree on it, nor can the rest of the configuration', () => {
      const { rig } = setup([VIRTIO_BLK_F.CONFIG_WCE]);
      rig.guest.writeConfiguration(32, 1, 0);
      rig.guest.writeConfiguration(0, 4, 1);
      expect([rig.guest.readConfiguration(32, 1), rig.guest.readConfiguration(0, 4)]).toEqual([1, SECTORS]);
      expect(rig.faults.reports).toHaveLength(2);
    });
  });

  describe('with a slow disk', () => {
    const setup = (): { readonly rig: Rig<VirtioBlock>; readonly store: HeldStore; readonly log: RecordedLog } => {
      const store = new HeldStore(pattern(DISK_BYTES));
      const log = new RecordedLog();
      return { rig: make({ store, log }).start(), store, log };
    };
    const read = (rig: Rig<VirtioBlock>, sector: number): Submitted =>
      rig.queue(0).submit([header(T.IN, sector)], [512, 1], true);

    test('requests overlap and finish in any order', async () => {
      const { rig, store } = setup();
      const requests = [0, 1, 2].map((sector) => read(rig, sector));
      rig.guest.notify(0);
      expect(store.held.map(({ offsetBytes }) => offsetBytes)).toEqual([0, 512, 1024]);
      const [first, second, third] = store.held;
      await second?.finish();
      await third?.finish();
      await first?.finish();
      expect(
        rig
          .queue(0)
          .takeUsed()
          .map(({ head }) => head),
      ).toEqual([1, 2, 0].map((index) => requests[index]?.head));
      for (const [sector, submitted] of requests.entries()) {
        expect(rig.queue(0).answer(submitted, 512)).toEqual(
          pattern(DISK_BYTES).subarray(sector * 512, sector * 512 + 512),
        );
      }
    });

    test('no more than a bounded number is under way, and the rest follows', async () => {
      const { rig, store } = setup();
      for (let count = 0; count < MAXIMUM_UNDER_WAY + 20; count++) read(rig, count % SECTORS);
      rig.guest.notify(0);
      rig.guest.notify(0);
      expect(store.held).toHaveLength(MAXIMUM_UNDER_WAY);
      await store.held[5]?.finish();
      expect(store.held).toHaveLength(MAXIMUM_UNDER_WAY);
      await store.finishAll();
      expect(rig.queue(0).takeUsed()).toHaveLength(MAXIMUM_UNDER_WAY + 20);
    });

    test('a request that the store fails fails in the guest, and the next one is served', async () => {
      const { rig, store, log } = setup();
      const broken = read(rig, 0);
      rig.guest.notify(0);
      await store.held[0]?.fail();
      expect(rig.queue(0).takeUsed()).toEqual([{ head: broken.head, written: 0 }]);
      expect(rig.queue(0).answer(broken).at(-1)).toBe(S.IOERR);
      expect(log.lines).toEqual(['error virtio-block: A read failed: Disk "test" broke']);
      expect(rig.memory.loans).toEqual([]);
      const good = read(rig, 1);
      rig.guest.notify(0);
      await store.finishAll();
      expect(rig.queue(0).answer(good).at(-1)).toBe(S.OK);
    });

    test('a large request goes in slices', async () => {
      const store = new HeldStore(new Uint8Array(4 * MAXIMUM_TRANSFER_BYTES));
      const rig = make({ store }, 1024).start();
      const bytes = 2 * MAXIMUM_TRANSFER_BYTES + 512;
      const data = pattern(bytes, 9);
      store.through = true;
      expect(await request(rig, [header(T.OUT, 1), data], [1])).toMatchObject({ status: S.OK });
      const slices = [0, 1].map((slice) => `write ${512 + slice * MAXIMUM_TRANSFER_BYTES}+${MAXIMUM_TRANSFER_BYTES}`);
      expect(store.log).toEqual([...slices, `write ${512 + 2 * MAXIMUM_TRANSFER_BYTES}+512`]);
      const back = await request(rig, [header(T.IN, 1)], [bytes, 1]);
      expect([back.status, back.written]).toEqual([S.OK, bytes + 1]);
      expect(back.data).toEqual(data);
    });

    test('a reset does not let a late answer touch the guest', async () => {
      const { rig, store } = setup();
      read(rig, 0);
      rig.guest.notify(0);
      rig.guest.setStatus(0);
      // Over MMIO drivers do not wait, so nothing may be on loan; over PCI the reset takes its time.
      expect(rig.guest.status() === 0).toBe(transport === 'mmio');
      expect(rig.memory.loans).toHaveLength(transport === 'mmio' ? 0 : 1);
      if (transport === 'pci') {
        await store.finishAll();
        expect(rig.guest.status()).toBe(0);
      }
      rig.start();
      const before = rig.memory.snapshot();
      await store.finishAll();
      expect(rig.memory.snapshot()).toEqual(before);
      expect([rig.queue(0).takeUsed(), rig.line.level, rig.memory.loans]).toEqual([[], false, []]);
      store.through = true;
      expect(await request(rig, [header(T.IN, 0)], [512, 1])).toMatchObject({ status: S.OK });
    });

    test('a large request that nobody waits for any more stops between slices', async () => {
      const store = new HeldStore(new Uint8Array(4 * MAXIMUM_TRANSFER_BYTES));
      const rig = make({ store }, 1024).start();
      rig.queue(0).submit([header(T.IN, 0)], [2 * MAXIMUM_TRANSFER_BYTES, 1]);
      rig.guest.notify(0);
      rig.guest.setStatus(0);
      await store.finishAll();
      expect(store.log).toHaveLength(1);
      expect(rig.guest.status()).toBe(0);
    });

    test('quiescing waits for what is under way, leaves the rest in the ring, and another device goes on with it', async () => {
      const { rig, store } = setup();
      const requests = [0, 1, 2].map((sector) => read(rig, sector));
      for (let count = 0; count < MAXIMUM_UNDER_WAY; count++) read(rig, 0);
      rig.guest.notify(0);
      let quiet = false;
      const quiesced = rig.machineDevice.quiesce?.().then(() => (quiet = true));
      await turns();
      expect(quiet).toBe(false);
      await store.finishAll();
      await quiesced;
      expect(store.log).toHaveLength(MAXIMUM_UNDER_WAY);
      const saved = structuredClone(rig.machineDevice.save());

      store.through = true;
      rig.machineDevice.restore(saved);
      rig.machineDevice.resume?.();
      await turns();
      expect(rig.queue(0).takeUsed()).toHaveLength(MAXIMUM_UNDER_WAY + 3);
      expect(
        rig
          .queue(0)
          .answer(requests[2] as Submitted)
          .at(-1),
      ).toBe(S.OK);
    });

    test('a device that is quiet does not begin anything, even when notified', async () => {
      const { rig, store } = setup();
      await rig.machineDevice.quiesce?.();
      read(rig, 0);
      rig.guest.notify(0);
      expect(store.held).toEqual([]);
      rig.machineDevice.resume?.();
      expect(store.held).toHaveLength(1);
      await store.finishAll();
    });

    test('a device that cannot reach guest memory breaks, and is idle then', async () => {
      const { rig, store } = setup();
      rig.queue(0).submit([header(T.IN, 0)], [512, 1]);
      rig.guest.notify(0);
      await turns();
      const failure = new Error('the page cannot be had');
      rig.memory.write = () => {
        throw failure;
      };
      await store.held[0]?.finish();
      await turns();
      expect(rig.faults.broken).toEqual([failure]);
      expect(rig.memory.loans).toEqual([]);
      await rig.virtio.quiesce();
    });

    test('what was lent for a request goes back when the rest cannot be had', async () => {
      const { rig, store } = setup();
      store.through = true;
      const views = rig.memory.views.bind(rig.memory);
      let lent = 0;
      rig.memory.views = (...range) => {
        if (++lent === 2) throw new Error('the page cannot be had');
        return views(...range);
      };
      const { status } = await request(rig, [header(T.IN, 0)], [512, 512, 1]);
      expect([status, lent]).toEqual(transport === 'pci' ? [S.IOERR, 2] : [S.OK, 0]);
      expect(rig.memory.loans).toEqual([]);
    });

    test('a device that fails meanwhile answers nothing any more', async () => {
      const { rig, store } = setup();
      const late = read(rig, 0);
      rig.guest.notify(0);
      rig.queue(0).offer(0xffff);
      rig.guest.notify(0);
      expect(rig.needsReset).toBe(true);
      await store.finishAll();
      expect(rig.queue(0).takeUsed()).toEqual([]);
      expect(rig.queue(0).answer(late).at(-1)).toBe(0);
      expect(rig.memory.loans).toEqual([]);
    });
  });

  test('it behaves like an array of sectors, whatever the requests', async () => {
    const step = fc.record({
      type: fc.constantFrom(T.IN, T.OUT, T.OUT, T.FLUSH, 77),
      sector: fc.nat(SECTORS + 2),
      sectors: fc.nat(4),
      cut: fc.nat(2000),
      indirect: fc.boolean(),
      seed: fc.nat(255),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const model = pattern(DISK_BYTES);
        const rig = make({ store: new MemoryBlockStore(model.slice()) }).start();
        const seen: unknown[] = [];
        const expected: unknown[] = [];
        for (const { type, sector, sectors, cut, indirect, seed } of steps) {
          const bytes = sectors * 512;
          const fits = sector + sectors <= SECTORS;
          if (type === T.OUT) {
            const data = pattern(bytes, seed);
            const at = Math.min(cut, bytes);
            const { status } = await request(
              rig,
              [header(type, sector), data.subarray(0, at), data.subarray(at)],
              [1],
              indirect,
            );
            seen.push(status);
            expected.push(fits ? S.OK : S.IOERR);
            if (fits) model.set(data, sector * 512);
          } else if (type === T.IN) {
            const at = Math.min(cut, bytes);
            const { status, data } = await request(rig, [header(type, sector)], [at, bytes - at, 1], indirect);
            seen.push(status, data);
            expected.push(
              fits ? S.OK : S.IOERR,
              fits ? model.slice(sector * 512, sector * 512 + bytes) : new Uint8Array(bytes),
            );
          } else {
            seen.push((await request(rig, [header(type, sector)], [1], indirect)).status);
            expected.push(type === T.FLUSH ? S.OK : S.UNSUPP);
          }
        }
        expect(seen).toEqual(expected);
        expect(rig.memory.loans).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  deviceLifecycle(`the block device over ${transport}`, {
    make: () => {
      const { machineDevice } = make();
      machineDevice.reset();
      return machineDevice;
    },
    disturb: (device) => {
      const rig = Rig.of(device);
      rig.findDevice();
      rig.start();
      rig.guest.writeConfiguration(32, 1, 0);
      rig.queue(0).submit([header(T.GET_ID, 0)], [20, 1]);
      rig.guest.notify(0);
    },
    observe: (device) => Rig.of(device).guest.readConfiguration(32, 1),
  });
});
