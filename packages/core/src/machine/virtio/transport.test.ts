import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { guestPhysical } from '../../base/numbers.ts';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import { VIRTIO_F } from './features.ts';
import { ECHO_FEATURE, EchoDevice } from './testing/echo-device.ts';
import { GuestQueue } from './testing/guest-queue.ts';
import { RAM_BASE, Rig, TRANSPORTS } from './testing/rig.ts';
import type { TransportName } from './testing/rig.ts';
import { EmptyVirtioMmio, virtioMmioNode } from './transport-mmio.ts';
import { STATUS } from './virtio-device.ts';

const text = (word: string): Uint8Array => new TextEncoder().encode(word);
const echoRig = (transport: TransportName): Rig<EchoDevice> => new Rig(transport, new EchoDevice());
const UP = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK | STATUS.DRIVER_OK;

describe.each(TRANSPORTS)('virtio over %s', (transport) => {
  const echo = (): Rig<EchoDevice> => echoRig(transport);

  test('brings a device up and carries requests and answers, with an interrupt each', () => {
    const rig = echo().start();
    for (const word of ['first', 'second', 'third']) {
      const request = rig.queue(1).submit([text(word)], [10]);
      rig.queue(1).setUsedEvent(rig.queue(1).availableIndex - 1);
      rig.guest.notify(1);
      expect(rig.line.level).toBe(true);
      expect(rig.guest.takeInterrupt()).toBe(1);
      expect(rig.line.level).toBe(false);
      expect(rig.queue(1).takeUsed()).toEqual([{ head: request.head, written: word.length }]);
      expect(rig.queue(1).answer(request, word.length)).toEqual(text(word));
    }
    expect(rig.faults.reports).toEqual([]);
  });

  test('serves a queue over the end of its ring and of its 16-bit index', () => {
    const rig = echo().start({ queueSize: 2 });
    for (let count = 0; count < 0x1_0003; count++) {
      // One descriptor, used over and over.
      rig.queue(0).setDescriptor(0, { address: RAM_BASE, size: 1 });
      rig.queue(0).offer(0);
      rig.guest.notify(0);
    }
    expect(rig.queue(0).takeUsed()).toHaveLength(3);
    expect(rig.needsReset).toBe(false);
  });

  test('offers the features of the device and of the queue, and shows zero for words that do not exist', () => {
    const { guest } = echo();
    expect(guest.deviceFeatures(0)).toBe(
      ((1 << ECHO_FEATURE) | (1 << VIRTIO_F.INDIRECT_DESC) | (1 << VIRTIO_F.EVENT_IDX)) >>> 0,
    );
    expect(guest.deviceFeatures(1)).toBe((1 << (VIRTIO_F.VERSION_1 - 32)) | (1 << (VIRTIO_F.RING_RESET - 32)));
    expect([guest.deviceFeatures(2), guest.deviceFeatures(0xffff_ffff)]).toEqual([0, 0]);
  });

  test('shows how large its queues may be, and zero for queues that do not exist', () => {
    const { guest } = echo();
    expect([0, 1, 2, 0xffff].map((queue) => guest.queueSizeMax(queue))).toEqual([8, 16, 0, 0]);
  });

  test('agrees on a subset of the features, and tells the device which', () => {
    const rig = echo().start({ without: [ECHO_FEATURE, VIRTIO_F.EVENT_IDX] });
    expect(rig.virtio.driver.accepted(VIRTIO_F.INDIRECT_DESC)).toBe(true);
    expect(rig.virtio.driver.accepted(ECHO_FEATURE)).toBe(false);
    expect(rig.virtio.driver.accepted(VIRTIO_F.EVENT_IDX)).toBe(false);
  });

  test('goes on with a driver that accepts no feature above 31, as xv6 does', () => {
    const rig = echo().start({
      without: [VIRTIO_F.VERSION_1, VIRTIO_F.RING_RESET, VIRTIO_F.EVENT_IDX, VIRTIO_F.INDIRECT_DESC],
    });
    rig.queue(0).submit([text('x')], [1]);
    rig.guest.notify(0);
    expect(rig.queue(0).takeUsed()).toHaveLength(1);
  });

  test('does not confirm features that it did not offer', () => {
    const { guest, faults, virtio } = echo();
    guest.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    guest.setDriverFeatures(0, 1 << 30);
    guest.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
    expect(guest.status()).toBe(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    guest.setStatus(UP);
    expect(guest.status()).toBe(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    expect(virtio.events).not.toContain('activate');
    expect(faults.reports.join()).toContain('the driver accepted features that were not offered');
  });

  test('keeps the features that were agreed on', () => {
    const rig = echo().start();
    rig.guest.setDriverFeatures(0, 0);
    expect(rig.virtio.driver.accepted(ECHO_FEATURE)).toBe(true);
  });

  test('takes status bits in any step, and never clears one but by a reset', () => {
    const { guest } = echo();
    guest.setStatus(STATUS.ACKNOWLEDGE);
    guest.setStatus(STATUS.DRIVER);
    expect(guest.status()).toBe(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    guest.setStatus(STATUS.FAILED | STATUS.ACKNOWLEDGE);
    expect(guest.status()).toBe(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FAILED);
    guest.setStatus(0);
    expect(guest.status()).toBe(0);
  });

  test('the driver cannot say by itself that the device needs a reset', () => {
    const { guest } = echo();
    guest.setStatus(STATUS.DEVICE_NEEDS_RESET | STATUS.ACKNOWLEDGE);
    expect(guest.status()).toBe(STATUS.ACKNOWLEDGE);
  });

  test('does not touch a queue before DRIVER_OK, and looks at all of them then', () => {
    const rig = echo().start({ stopBeforeDriverOk: true });
    rig.queue(0).submit([text('early')], [5]);
    rig.guest.notify(0);
    expect(rig.queue(0).takeUsed()).toEqual([]);
    expect(rig.virtio.events).not.toContain('notify 0');
    rig.driverOk();
    expect(rig.queue(0).takeUsed()).toHaveLength(1);
  });

  test('does not mind notifications of queues that are empty, disabled or do not exist', () => {
    const rig = echo().start();
    for (const queue of [0, 1, 0]) rig.guest.notify(queue);
    expect(rig.needsReset).toBe(false);
    const cold = echo();
    for (const queue of [0, 1, 2, 77]) cold.guest.notify(queue);
    expect(cold.virtio.events).toEqual([]);
  });

  test('a broken ring stops the device, with a configuration interrupt, until it is reset', () => {
    const rig = echo().start();
    rig.queue(0).setDescriptor(0, { address: 0, size: 1 });
    rig.queue(0).offer(0);
    rig.guest.notify(0);
    expect(rig.needsReset).toBe(true);
    expect(rig.line.level).toBe(true);
    expect(rig.guest.takeInterrupt()).toBe(2);
    expect(rig.faults.reports).toEqual([
      expect.stringMatching(/^virtio-echo@.*: queue 0 holds a wrong chain: .*outside RAM/),
    ]);

    // Nothing is served any more, not in the other queue either.
    rig.queue(1).submit([text('x')], [1]);
    rig.guest.notify(1);
    expect(rig.queue(1).takeUsed()).toEqual([]);

    rig.start();
    rig.queue(1).submit([text('x')], [1]);
    rig.guest.notify(1);
    expect(rig.queue(1).takeUsed()).toHaveLength(1);
    expect(rig.needsReset).toBe(false);
  });

  test('an impossible queue stops the device when it is enabled', () => {
    const rig = echo().start({ stopBeforeDriverOk: true });
    rig.guest.resetQueue(0);
    rig.guest.enableQueue(0, { size: 6, descriptors: RAM_BASE, available: RAM_BASE, used: RAM_BASE });
    expect([rig.needsReset, rig.guest.queueEnabled(0)]).toEqual([true, false]);
    rig.driverOk();
    expect(rig.virtio.events).not.toContain('activate');
  });

  test('a queue that is enabled twice stays as it was first', () => {
    const rig = echo().start();
    const other = new GuestQueue(rig.allocator, 4);
    rig.guest.enableQueue(0, other);
    rig.queue(0).submit([text('x')], [1]);
    rig.guest.notify(0);
    expect(rig.queue(0).takeUsed()).toHaveLength(1);
  });

  test('one queue is reset and enabled again elsewhere while the other works on', () => {
    const rig = echo().start();
    rig.guest.resetQueue(0);
    expect([rig.guest.queueEnabled(0), rig.guest.queueResetting(0)]).toEqual([false, false]);
    rig.queue(0).submit([text('old')], [3]);
    rig.guest.notify(0);
    expect(rig.queue(0).takeUsed()).toEqual([]);
    const fresh = new GuestQueue(rig.allocator, 4);
    rig.guest.enableQueue(0, fresh);
    fresh.submit([text('new')], [3]);
    rig.guest.notify(0);
    expect(fresh.takeUsed()).toHaveLength(1);
    rig.queue(1).submit([text('x')], [1]);
    rig.guest.notify(1);
    expect(rig.queue(1).takeUsed()).toHaveLength(1);
  });

  test('a queue is not reset by a driver that did not agree on RING_RESET', () => {
    const rig = echo().start({ without: [VIRTIO_F.RING_RESET] });
    rig.guest.resetQueue(0);
    expect(rig.guest.queueEnabled(0)).toBe(true);
  });

  test('a reset takes everything back: queues, features, interrupt', () => {
    const rig = echo().start();
    rig.queue(0).submit([text('x')], [1]);
    rig.guest.notify(0);
    expect(rig.line.level).toBe(true);
    rig.guest.setStatus(0);
    expect([rig.guest.status(), rig.line.level, rig.guest.queueEnabled(0), rig.guest.queueSizeMax(0)]).toEqual([
      0,
      false,
      false,
      8,
    ]);
    expect(rig.virtio.driver.accepted(ECHO_FEATURE)).toBe(false);
  });

  test('a reset with requests under way is not over before they are, and their answers touch nothing', async () => {
    const rig = echo().start();
    rig.virtio.slow = true;
    const request = rig.queue(0).submit([text('late')], [4]);
    rig.guest.notify(0);
    rig.guest.setStatus(0);
    expect(rig.guest.status()).not.toBe(0);
    rig.guest.setStatus(STATUS.ACKNOWLEDGE);
    rig.guest.enableQueue(0, rig.queue(0));
    expect(rig.guest.queueEnabled(0)).toBe(false);
    const before = rig.memory.snapshot();
    rig.virtio.finish();
    await Promise.resolve();
    await Promise.resolve();
    expect(rig.guest.status()).toBe(0);
    expect(rig.memory.snapshot()).toEqual(before);
    expect(rig.queue(0).answer(request)).toEqual(new Uint8Array(4));
    expect(rig.line.level).toBe(false);
    rig.start();
    expect(rig.guest.status()).toBe(UP);
  });

  test('a queue reset with requests under way is not over before they are', async () => {
    const rig = echo().start();
    rig.virtio.slow = true;
    rig.queue(0).submit([text('late')], [4]);
    rig.guest.notify(0);
    rig.guest.resetQueue(0);
    expect([rig.guest.queueResetting(0), rig.guest.queueEnabled(0)]).toEqual([true, true]);
    rig.guest.enableQueue(0, rig.queue(0));
    const before = rig.memory.snapshot();
    rig.virtio.finish();
    await Promise.resolve();
    await Promise.resolve();
    expect([rig.guest.queueResetting(0), rig.guest.queueEnabled(0)]).toEqual([false, false]);
    expect(rig.memory.snapshot()).toEqual(before);
  });

  test('reads and writes the configuration in every size, and nothing behind its end', () => {
    const { guest } = echo();
    expect([guest.readConfiguration(0, 4), guest.readConfiguration(6, 2), guest.readConfiguration(7, 1)]).toEqual([
      0x0403_0201, 0x0807, 8,
    ]);
    expect([guest.readConfiguration(8, 4), guest.readConfiguration(0x800, 4)]).toEqual([0, 0]);
    guest.writeConfiguration(4, 4, 0xfedc_ba98);
    expect(guest.readConfiguration(4, 4)).toBe(0xfedc_ba98);
    guest.writeConfiguration(0xe00, 4, 1);
  });

  test('a change of the configuration makes an interrupt, and a new generation once it can be seen', () => {
    const rig = echo().start();
    const before = rig.guest.generation();
    rig.guest.readConfiguration(0, 4);
    rig.virtio.driver.configurationChanged();
    expect(rig.guest.takeInterrupt()).toBe(2);
    rig.guest.readConfiguration(4, 4);
    const after = rig.guest.generation();
    expect(after).not.toBe(before);
    rig.guest.readConfiguration(0, 4);
    expect(rig.guest.generation()).toBe(after);
  });

  test('any accesses whatever, anywhere in its registers, do no harm', () => {
    const access = fc.record({
      region: fc.integer({ min: 0, max: 3 }),
      offset: fc.oneof(fc.integer({ min: 0, max: 0x110 }), fc.nat(0xfff)),
      size: fc.constantFrom(1, 2, 4),
      write: fc.boolean(),
      value: fc.oneof(fc.nat(0xff), fc.nat(0xffff_ffff), fc.constantFrom(RAM_BASE, RAM_BASE + 0x1000, 0xffff_ffff)),
    });
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
        const rig = echo().start();
        for (const { region, offset, size, write, value } of accesses) {
          const aligned = offset - (offset % size);
          rig.access(region, aligned, size, write ? value % 2 ** (8 * size) : undefined);
        }
        rig.start();
        rig.queue(0).submit([text('x')], [1]);
        rig.guest.notify(0);
        expect(rig.queue(0).takeUsed()).toHaveLength(1);
      }),
      { numRuns: 60 },
    );
  });

  deviceLifecycle(`a virtio device over ${transport}`, {
    make: () => {
      const { machineDevice } = echo();
      machineDevice.reset();
      return machineDevice;
    },
    disturb: (device) => {
      const rig = Rig.of(device);
      rig.findDevice();
      rig.start({ without: [VIRTIO_F.RING_RESET], queueSize: 4 });
      rig.queue(0).submit([text('x')], [1]);
      rig.guest.notify(0);
      rig.guest.readConfiguration(0, 4);
      rig.guest.writeConfiguration(0, 4, 0x1111_1111);
      (rig.virtio as EchoDevice).driver.configurationChanged();
      rig.guest.readConfiguration(0, 4);
      (rig.virtio as EchoDevice).driver.configurationChanged();
      rig.guest.queueSizeMax(1);
      rig.guest.deviceFeatures(1);
      rig.guest.setDriverFeatures(1, 0);
    },
    observe: (device) => Rig.of(device).line.level,
  });
});

test('a driver over mmio must use 32-bit accesses to registers; others read zero and are counted', () => {
  const rig = echoRig('mmio');
  expect(rig.access(0, 0x000, 4)).toBe(0x7472_6976);
  expect(rig.access(0, 0x000, 1)).toBe(0);
  rig.access(0, 0x070, 1, 1);
  expect(rig.guest.status()).toBe(0);
  expect(rig.faults.reports).toHaveLength(2);
});

test('an mmio device says who it is as xv6 wants it', () => {
  const rig = echoRig('mmio');
  expect([0x000, 0x004, 0x008, 0x00c].map((offset) => rig.access(0, offset, 4))).toEqual([
    0x7472_6976, 2, 42, 0x554d_4551,
  ]);
  expect(rig.machineDevice.name).toBe('virtio-echo@10001000');
});

test('shared memory regions do not exist over mmio', () => {
  const rig = echoRig('mmio');
  expect([0x0b0, 0x0b4, 0x0b8, 0x0bc].map((offset) => rig.access(0, offset, 4))).toEqual(Array(4).fill(0xffff_ffff));
});

const SLOT_PLACEMENT = { base: guestPhysical(0x1000_8000), sizeBytes: 0x1000 };

test('an empty mmio slot is there and is nobody', () => {
  const slot = new EmptyVirtioMmio(SLOT_PLACEMENT);
  expect([0x000, 0x004, 0x008, 0x070].map((offset) => slot.read(offset))).toEqual([0x7472_6976, 2, 0, 0]);
});

test('an mmio slot in the device tree is as QEMU writes it', () => {
  expect(virtioMmioNode(SLOT_PLACEMENT, 8)).toEqual({
    name: 'virtio_mmio@10008000',
    properties: {
      compatible: 'virtio,mmio',
      reg: [0, 0x1000_8000, 0, 0x1000],
      interrupts: 8,
      'interrupt-parent': { phandleOf: 'plic' },
    },
  });
});
