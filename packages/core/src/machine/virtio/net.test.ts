import { describe, expect, test } from 'vitest';
import { type Frame, plainFrame } from '../../base/frames.ts';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import { MAXIMUM_CONTROL_BYTES } from './net-control.ts';
import { MAXIMUM_FILTER_ADDRESSES } from './net-receive-filter.ts';
import { VIRTIO_NET_F, VirtioNet } from './net.ts';
import { FakeFramePort } from './testing/fake-port.ts';
import { Rig, TRANSPORTS, type StartOptions } from './testing/rig.ts';

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const OTHER = [0x52, 0x54, 0, 0, 0, 9];
const HEADER = 12;
const RECEIVE = 0;
const TRANSMIT = 1;
const CONTROL = 2;

/** A frame for `to` of `size` bytes that count upwards. */
function frameTo(to: readonly number[], size = 60): Frame {
  const bytes = Uint8Array.from({ length: size }, (_, index) => index & 0xff);
  bytes.set(to);
  return plainFrame(bytes);
}

/** What a driver puts in front of a frame. */
function header(fields: Partial<Record<'flags' | 'gso' | 'size' | 'start' | 'offset', number>> = {}): Uint8Array {
  const bytes = new Uint8Array(HEADER);
  const view = new DataView(bytes.buffer);
  bytes[0] = fields.flags ?? 0;
  bytes[1] = fields.gso ?? 0;
  view.setUint16(4, fields.size ?? 0, true);
  view.setUint16(6, fields.start ?? 0, true);
  view.setUint16(8, fields.offset ?? 0, true);
  return bytes;
}

describe.each(TRANSPORTS)('the network device over %s', (transport) => {
  const ports = new WeakMap<VirtioNet, FakeFramePort>();
  const make = (queuePairs = 1): Rig<VirtioNet> => {
    const port = new FakeFramePort();
    counts.bytes = 0;
    const device = new VirtioNet({ mac: MAC, port, counts, queuePairs });
    ports.set(device, port);
    return new Rig(transport, device, 1024);
  };
  /** Of the card that was made last. */
  const counts = { bytes: 0 };
  const start = (options: StartOptions = {}, queuePairs = 1): { rig: Rig<VirtioNet>; port: FakeFramePort } => {
    const rig = make(queuePairs).start({ queueSize: 16, ...options });
    const port = ports.get(rig.virtio);
    if (port === undefined) throw new Error('the rig has another device');
    return { rig, port };
  };
  const command = (rig: Rig<VirtioNet>, bytes: readonly number[], queue = CONTROL): number | undefined => {
    const request = rig.queue(queue).submit([Uint8Array.from(bytes)], [1]);
    rig.guest.notify(queue);
    rig.queue(queue).takeUsed();
    return rig.queue(queue).answer(request)[0];
  };

  test('shows its address, an open link, its queue pairs and the MTU', () => {
    const { rig } = start({}, 4);
    expect(Array.from({ length: 6 }, (_, at) => rig.guest.readConfiguration(at, 1))).toEqual([...MAC]);
    expect([6, 8, 10].map((at) => rig.guest.readConfiguration(at, 2))).toEqual([1, 4, 1500]);
  });

  test('sends what the driver puts into the transmit queue, and says when that was all', () => {
    const { rig, port } = start();
    const { bytes } = frameTo(OTHER, 100);
    for (const cut of [50, 100])
      rig.queue(TRANSMIT).submit([header(), bytes.subarray(0, cut), bytes.subarray(cut)], []);
    const before = port.bursts;
    rig.guest.notify(TRANSMIT);
    expect(port.sent).toEqual([plainFrame(bytes), plainFrame(bytes)]);
    expect(port.bursts).toBe(before + 1);
    expect(counts.bytes).toBe(2 * bytes.length);
    expect(
      rig
        .queue(TRANSMIT)
        .takeUsed()
        .map(({ written }) => written),
    ).toEqual([0, 0]);
  });

  test('hands on what is left to do: a checksum, segmentation', () => {
    const { rig, port } = start();
    const { bytes } = frameTo(OTHER, 3000);
    rig.queue(TRANSMIT).submit([header({ flags: 1, start: 34, offset: 6 }), bytes], []);
    rig.queue(TRANSMIT).submit([header({ flags: 1, gso: 1, size: 1460, start: 34, offset: 16 }), bytes], []);
    rig.queue(TRANSMIT).submit([header({ flags: 1, gso: 4, size: 1440, start: 54, offset: 16 }), bytes], []);
    rig.guest.notify(TRANSMIT);
    const left = { bytes };
    expect(port.sent).toEqual([
      { ...left, checksumStart: 34, checksumOffset: 6, segmentation: 'none', segmentBytes: 0 },
      { ...left, checksumStart: 34, checksumOffset: 16, segmentation: 'tcp4', segmentBytes: 1460 },
      { ...left, checksumStart: 54, checksumOffset: 16, segmentation: 'tcp6', segmentBytes: 1440 },
    ]);
  });

  test.each([
    ['is too short for its header', [header().subarray(0, 5)], 'which is no frame'],
    ['is longer than any', [header(), new Uint8Array(70_000)], 'which is no frame'],
    ['has no Ethernet header', [header(), new Uint8Array(13)], 'shorter than its Ethernet header'],
    [
      'wants a checksum outside of it',
      [header({ flags: 1, start: 60, offset: 0 }), new Uint8Array(61)],
      'outside of it',
    ],
    [
      'wants one far outside',
      [header({ flags: 1, start: 0xffff, offset: 0xffff }), new Uint8Array(61)],
      'outside of it',
    ],
    ['wants to be cut without a checksum', [header({ gso: 1, size: 1460 }), new Uint8Array(61)], 'checksum already'],
    ['wants to be cut into nothing', [header({ flags: 1, gso: 1, start: 14 }), new Uint8Array(61)], 'of no size'],
    ['wants to be cut as nothing known', [header({ flags: 1, gso: 3, size: 9 }), new Uint8Array(61)], 'not negotiated'],
    [
      'wants to be cut and has no TCP header',
      [header({ flags: 1, gso: 1, size: 9, start: 50, offset: 5 }), new Uint8Array(61)],
      'no TCP header',
    ],
  ])('a frame that %s is given back and counted, and the next one goes out', (_, send, reason) => {
    const { rig, port } = start();
    rig.queue(TRANSMIT).submit(send, []);
    rig.queue(TRANSMIT).submit([header(), frameTo(OTHER).bytes], []);
    rig.guest.notify(TRANSMIT);
    expect(rig.faults.reports).toEqual([expect.stringContaining(reason)]);
    expect(rig.queue(TRANSMIT).takeUsed()).toHaveLength(2);
    expect(port.sent).toEqual([frameTo(OTHER)]);
  });

  test('what was not negotiated is not done', () => {
    const { rig, port } = start({ without: [VIRTIO_NET_F.CSUM, VIRTIO_NET_F.HOST_TSO4, VIRTIO_NET_F.HOST_TSO6] });
    rig.queue(TRANSMIT).submit([header({ flags: 1, start: 34, offset: 6 }), new Uint8Array(90)], []);
    rig.guest.notify(TRANSMIT);
    expect([port.sent, rig.faults.reports]).toEqual([[], [expect.stringContaining('was not negotiated')]]);
  });

  test('lays a frame into the first buffer, behind a header that says what is left to do', () => {
    const { rig, port } = start();
    const request = rig.queue(RECEIVE).submit([], [1600]);
    const frame = {
      ...frameTo([...MAC], 1000),
      checksumStart: 34,
      checksumOffset: 16,
      segmentation: 'tcp4',
      segmentBytes: 900,
    } as const;
    frame.bytes[34 + 12] = 0x60;
    expect(port.card?.deliver(frame)).toBe(true);
    expect(rig.queue(RECEIVE).takeUsed()).toEqual([{ head: request.head, written: HEADER + 1000 }]);
    const answer = rig.queue(RECEIVE).answer(request, HEADER + 1000);
    expect([...answer.subarray(0, HEADER)]).toEqual([1, 1, 58, 0, 0x84, 3, 34, 0, 16, 0, 1, 0]);
    expect(answer.subarray(HEADER)).toEqual(frame.bytes);
  });

  test('a frame longer than a buffer goes into several, which the driver sees at once', () => {
    const { rig, port } = start();
    const requests = [10, 100, 100].map((size) => rig.queue(RECEIVE).submit([], [size]));
    const frame = frameTo([...MAC], 150);
    expect(port.card?.deliver(frame)).toBe(true);
    expect(
      rig
        .queue(RECEIVE)
        .takeUsed()
        .map(({ written }) => written),
    ).toEqual([10, 100, 52]);
    const all = requests.flatMap((request, index) => [...rig.queue(RECEIVE).answer(request, [10, 100, 52][index])]);
    expect(all[10]).toBe(3);
    expect(Uint8Array.from(all.slice(HEADER))).toEqual(frame.bytes);
  });

  test('without room a frame is refused and nothing is used; the network hears of new buffers', () => {
    const { rig, port } = start();
    rig.queue(RECEIVE).submit([], [100]);
    expect(port.card?.deliver(frameTo([...MAC], 150))).toBe(false);
    expect(rig.queue(RECEIVE).takeUsed()).toEqual([]);
    rig.queue(RECEIVE).submit([], [100]);
    const before = port.rooms;
    rig.guest.notify(RECEIVE);
    expect(port.rooms).toBe(before + 1);
    expect(port.card?.deliver(frameTo([...MAC], 150))).toBe(true);
    expect(rig.queue(RECEIVE).takeUsed()).toHaveLength(2);
  });

  test('a frame that never fits is lost and counted, and does not stand in the way of others', () => {
    const { rig, port } = start({ queueSize: 2 });
    for (let count = 0; count < 2; count++) rig.queue(RECEIVE).submit([], [100]);
    expect(port.card?.deliver(frameTo([...MAC], 300))).toBe(true);
    expect(rig.faults.reports).toEqual([expect.stringContaining('too small for a frame of 300')]);
    expect(port.card?.deliver(frameTo([...MAC], 80))).toBe(true);
    expect(rig.queue(RECEIVE).takeUsed()).toHaveLength(1);
  });

  test('a driver without merged buffers gets each frame in one', () => {
    const { rig, port } = start({ without: [VIRTIO_NET_F.MRG_RXBUF] });
    for (const size of [1600, 50]) rig.queue(RECEIVE).submit([], [size]);
    expect(port.card?.deliver(frameTo([...MAC], 500))).toBe(true);
    expect(port.card?.deliver(frameTo([...MAC], 500))).toBe(true);
    expect(rig.queue(RECEIVE).takeUsed()).toEqual([{ head: 0, written: HEADER + 500 }]);
    expect(rig.faults.reports).toHaveLength(1);
  });

  test('takes unfinished frames as far as the driver agreed to it, and gives that up when it is told to', () => {
    const { rig, port } = start({ without: [VIRTIO_NET_F.GUEST_TSO6] });
    const card = port.card;
    const takes = (): unknown => [card?.takesChecksums, card?.takesSegments('tcp4'), card?.takesSegments('tcp6')];
    expect(takes()).toEqual([true, true, false]);
    expect(command(rig, [5, 0, 2, 0, 0, 0, 0, 0, 0, 0])).toBe(0);
    expect(takes()).toEqual([true, false, false]);
    expect(command(rig, [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]), 'IPv6 was not negotiated').toBe(1);
    rig.guest.setStatus(0);
    expect(takes()).toEqual([false, false, false]);
  });

  test('takes only frames for it once the driver says what that is', () => {
    const { rig, port } = start();
    for (let count = 0; count < 8; count++) rig.queue(RECEIVE).submit([], [200]);
    const takes = (to: readonly number[]): boolean => {
      port.card?.deliver(frameTo(to));
      return rig.queue(RECEIVE).takeUsed().length === 1;
    };
    const group = [0x33, 0x33, 0, 0, 0, 1];
    expect(takes(OTHER)).toBe(true);
    expect(command(rig, [0, 0, 0])).toBe(0);
    expect([OTHER, group, BROADCAST, [...MAC]].map(takes)).toEqual([false, false, true, true]);
    expect(command(rig, [1, 0, 1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, ...group])).toBe(0);
    expect([OTHER, group].map(takes)).toEqual([true, true]);
    expect(command(rig, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0])).toBe(0);
    expect(command(rig, [0, 1, 1])).toBe(0);
    expect([OTHER, group].map(takes)).toEqual([false, true]);
  });

  test('a table with more addresses than it keeps takes them all', () => {
    const { rig, port } = start();
    rig.queue(RECEIVE).submit([], [200]);
    command(rig, [0, 0, 0]);
    const count = MAXIMUM_FILTER_ADDRESSES + 1;
    const table = Array.from({ length: count }, (_, index) => [2, 0, 0, 0, 0, index]).flat();
    expect(command(rig, [1, 0, count, 0, 0, 0, ...table, 0, 0, 0, 0])).toBe(0);
    port.card?.deliver(frameTo(OTHER));
    expect(rig.queue(RECEIVE).takeUsed()).toHaveLength(1);
  });

  test.each([
    ['a table cut short', [1, 0, 9, 0, 0, 0, 1, 2]],
    ['a table with a count of 2^32 - 1', [1, 0, 0xff, 0xff, 0xff, 0xff]],
    ['an address of 5 octets', [1, 1, 1, 2, 3, 4, 5]],
    ['no data', [0, 0]],
    ['no command', [0]],
    ['a class that does not exist', [77, 0, 0]],
    ['more queue pairs than there are', [4, 0, 9, 0]],
    ['no queue pairs', [4, 0, 0, 0]],
    ['more than any command has', Array.from({ length: MAXIMUM_CONTROL_BYTES + 1 }, () => 0)],
  ])('a control command with %s is refused and counted', (_, bytes) => {
    const { rig } = start();
    expect(command(rig, bytes)).toBe(1);
    expect(rig.faults.reports).toHaveLength(1);
    expect(rig.needsReset).toBe(false);
  });

  test('the driver gives it another address, and a reset the old one', () => {
    const { rig } = start();
    expect(command(rig, [1, 1, ...OTHER])).toBe(0);
    expect(rig.guest.readConfiguration(5, 1)).toBe(9);
    rig.guest.setStatus(0);
    expect(rig.guest.readConfiguration(5, 1)).toBe(0x56);
  });

  test('with several queue pairs a flow comes in where it went out', () => {
    const { rig, port } = start({ queueSize: 8 }, 2);
    const control = 4;
    expect(command(rig, [4, 0, 2, 0], control)).toBe(0);
    for (const queue of [0, 2]) rig.queue(queue).submit([], [200]);
    /** UDP over IPv4 from and to these ports. */
    const udp = (from: number, to: number): Uint8Array => {
      const bytes = new Uint8Array(60);
      bytes.set([...MAC, ...MAC, 8, 0, 0x45]);
      bytes[23] = 17;
      bytes.set([10, 0, 2, from, 10, 0, 2, to], 26);
      bytes.set([from, 0, to, 0], 34);
      return bytes;
    };
    rig.queue(3).submit([header(), udp(1, 2)], []);
    rig.guest.notify(3);
    port.card?.deliver(plainFrame(udp(2, 1)));
    expect([0, 2].map((queue) => rig.queue(queue).takeUsed().length)).toEqual([0, 1]);
    port.card?.deliver(plainFrame(udp(7, 1)));
    expect([0, 2].map((queue) => rig.queue(queue).takeUsed().length)).toEqual([1, 0]);
  });

  test('frames for a card without a driver are lost; none reach memory while the machine is quiet', async () => {
    const rig = make();
    const port = ports.get(rig.virtio);
    expect(port?.card?.deliver(frameTo(BROADCAST))).toBe(true);
    rig.start({ queueSize: 16 });
    rig.queue(RECEIVE).submit([], [200]);
    await rig.machineDevice.quiesce?.();
    expect(port?.card?.deliver(frameTo(BROADCAST))).toBe(false);
    rig.queue(TRANSMIT).submit([header(), frameTo(OTHER).bytes], []);
    rig.guest.notify(TRANSMIT);
    expect(port?.sent).toEqual([]);
    const before = port?.rooms ?? 0;
    rig.machineDevice.resume?.();
    expect([port?.sent.length, port?.rooms]).toEqual([1, before + 1]);
  });

  test('after it was restored elsewhere the driver is asked to announce its address', async () => {
    const { rig } = start();
    await rig.machineDevice.quiesce?.();
    rig.machineDevice.restore(structuredClone(rig.machineDevice.save()));
    rig.machineDevice.resume?.();
    expect(rig.guest.readConfiguration(6, 2)).toBe(3);
    expect(command(rig, [3, 0])).toBe(0);
    expect(rig.guest.readConfiguration(6, 2)).toBe(1);
  });

  deviceLifecycle(`the network device over ${transport}`, {
    make: () => {
      const { machineDevice } = make(2);
      machineDevice.reset();
      return machineDevice;
    },
    disturb: (device) => {
      const rig = Rig.of(device);
      rig.findDevice();
      rig.start({ queueSize: 8 });
      const send = (bytes: readonly number[]): void => {
        rig.queue(4).submit([Uint8Array.from(bytes)], [1]);
        rig.guest.notify(4);
      };
      send([0, 0, 0]);
      send([0, 1, 1]);
      send([1, 0, 1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1]);
      send([1, 1, ...OTHER]);
      send([4, 0, 2, 0]);
      send([5, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
      rig.queue(3).submit([header(), frameTo(OTHER).bytes], []);
      rig.guest.notify(3);
    },
  });
});
