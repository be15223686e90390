import { describe, expect, test } from 'vitest';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import { OPCODE } from '../fuse/abi.ts';
import { FuseGuest, initBody, request, struct } from '../fuse/testing/fuse-guest.ts';
import { MemoryTree } from '../fuse/testing/memory-tree.ts';
import { MAXIMUM_UNDER_WAY, VirtioFs } from './fs.ts';
import { Rig, TRANSPORTS } from './testing/rig.ts';

const HIGH_PRIORITY = 0;
const REQUESTS = 1;
const RAM_PAGES = 1024;

/** Lets promises that are settled be seen. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 60; turn++) await Promise.resolve();
}

describe.each(TRANSPORTS)('the file system device over %s', (transport) => {
  const make = (tree = new MemoryTree(), readOnly = false): Rig<VirtioFs> =>
    new Rig(transport, new VirtioFs({ tag: 'share', tree, readOnly, writeback: false }), RAM_PAGES);

  /** A kernel that has mounted it. Requests are cut into pieces, as Linux does between header, arguments and data. */
  const mounted = async (rig: Rig<VirtioFs>): Promise<FuseGuest> => {
    const guest = new FuseGuest(async (bytes, room) => {
      const queue = bytes[4] === OPCODE.FORGET ? HIGH_PRIORITY : REQUESTS;
      const pieces = [bytes.subarray(0, 40), bytes.subarray(40, 80), bytes.subarray(80)].filter(
        ({ length }) => length > 0,
      );
      const rooms = [Math.min(room, 16), Math.max(0, room - 16)].filter((length) => length > 0);
      const submitted = rig.queue(queue).submit(pieces, rooms, true);
      rig.guest.notify(queue);
      await turns();
      const [used] = rig.queue(queue).takeUsed();
      return rig.queue(queue).answer(submitted, used?.written);
    });
    await guest.init();
    return guest;
  };

  test('says its tag and how many request queues it has', () => {
    const rig = make().start();
    const tag = Array.from({ length: 36 }, (_, index) => rig.guest.readConfiguration(index, 1));
    expect(Buffer.from(tag).toString()).toBe('share'.padEnd(36, '\0'));
    expect(rig.guest.readConfiguration(36, 4)).toBe(1);
    expect(rig.guest.readConfiguration(40, 4)).toBe(0);
    rig.guest.writeConfiguration(0, 1, 65);
    expect(rig.faults.reports).toHaveLength(1);
  });

  test('serves requests of a kernel, data straight from and to its memory', async () => {
    const tree = new MemoryTree();
    tree.put('folder/file', 'from the host');
    const rig = make(tree).start();
    const guest = await mounted(rig);
    const { node } = await guest.walk('folder/file');
    const handle = await guest.open(node);
    expect(Buffer.from(await guest.read(node, handle, 5, 10_000)).toString()).toBe('the host');
    const data = Uint8Array.from({ length: 20_000 }, (_, index) => (index * 7) & 0xff);
    expect(await guest.write(node, handle, 100, data)).toBe(20_000);
    expect(tree.find('folder/file')?.content.subarray(100)).toEqual(data);
    expect(await guest.read(node, handle, 100, 20_000)).toEqual(data);
    await guest.forget(node, 1);
    expect(rig.memory.loans).toEqual([]);
    expect(rig.faults.reports).toEqual([]);
  });

  test('a request that cannot be answered comes back with nothing written', async () => {
    const rig = make().start();
    for (const [send, room] of [
      [new Uint8Array(39), 100],
      [request({ opcode: OPCODE.GETATTR, node: 1 }, struct(0, 0, 0n)), 15],
    ] as const) {
      rig.queue(REQUESTS).submit([send], [room]);
      rig.guest.notify(REQUESTS);
      await turns();
      expect(rig.queue(REQUESTS).takeUsed()[0]?.written).toBe(0);
    }
    expect(rig.needsReset).toBe(false);
    expect(rig.faults.reports).toHaveLength(2);
  });

  test('takes no more at once than it may, and the rest later', async () => {
    const tree = new MemoryTree();
    const rig = make(tree).start();
    await mounted(rig);
    const waiting: (() => void)[] = [];
    tree.before = () => new Promise<void>((resolve) => waiting.push(resolve));
    const count = MAXIMUM_UNDER_WAY + 20;
    for (let index = 0; index < count; index++)
      rig.queue(REQUESTS).submit([request({ opcode: OPCODE.LOOKUP, node: 1 }, struct(`f${index}`))], [200], true);
    rig.guest.notify(REQUESTS);
    await turns();
    expect(rig.queue(REQUESTS).takeUsed()).toHaveLength(0);
    tree.before = undefined;
    for (const resolve of waiting) resolve();
    await turns();
    await turns();
    expect(rig.queue(REQUESTS).takeUsed()).toHaveLength(count);
  });

  test('a reset waits for lent memory, and what comes too late touches nothing', async () => {
    const tree = new MemoryTree();
    tree.put('file', 'secret');
    const rig = make(tree).start();
    const guest = await mounted(rig);
    const { node } = await guest.lookup(1, 'file');
    const handle = await guest.open(node);
    let go: () => void = () => undefined;
    tree.before = () => new Promise<void>((resolve) => (go = resolve));
    const body = struct(BigInt(handle), 0n, 100, 0, 0n, 0, 0);
    rig.queue(REQUESTS).submit([request({ opcode: OPCODE.READ, node }, body)], [116], true);
    rig.guest.notify(REQUESTS);
    await turns();
    const before = rig.memory.snapshot();
    rig.guest.setStatus(0);
    expect(rig.guest.status() === 0).toBe(transport === 'mmio');
    tree.before = undefined;
    go();
    await turns();
    expect(rig.guest.status()).toBe(0);
    expect(rig.memory.loans).toEqual([]);
    if (transport === 'mmio') expect(rig.memory.snapshot()).toEqual(before);
    // The session is over with the reset: nothing stays open.
    await rig.virtio.quiesce();
    await turns();
    expect(tree.open.size).toBe(0);
    rig.virtio.resume();
    expect((await (await mounted(rig.start())).lookup(1, 'file')).size).toBe(6);
  });

  test('being quiet means that nothing is under way, and nothing begins', async () => {
    const tree = new MemoryTree();
    const rig = make(tree).start();
    const guest = await mounted(rig);
    await rig.virtio.quiesce();
    const submitted = rig
      .queue(REQUESTS)
      .submit([request({ opcode: OPCODE.GETATTR, node: 1 }, struct(0, 0, 0n))], [120], true);
    rig.guest.notify(REQUESTS);
    await turns();
    expect(rig.queue(REQUESTS).takeUsed()).toEqual([]);
    const saved = rig.machineDevice.save();
    rig.virtio.resume();
    await turns();
    expect(rig.queue(REQUESTS).takeUsed()).toEqual([{ head: submitted.head, written: 120 }]);
    rig.machineDevice.restore(saved);
    expect((await guest.attributes(1)).mode).toBe(0o40755);
  });

  deviceLifecycle(`the file system device over ${transport}`, {
    make: () => {
      const { machineDevice } = make();
      machineDevice.reset();
      return machineDevice;
    },
    disturb: (device) => {
      const rig = Rig.of(device);
      rig.findDevice();
      rig.start();
      rig.queue(REQUESTS).submit([request({ opcode: OPCODE.INIT }, initBody())], [80], true);
      rig.guest.notify(REQUESTS);
    },
  });
});
