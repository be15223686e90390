import { describe, expect, test } from 'vitest';
import { plainFrame } from '../../base/frames.ts';
import { FakeClock } from '../testing/doubles.ts';
import { IDLE_HOLD_NS, LONGEST_HOLD_NS, MAXIMUM_HELD_BYTES, MAXIMUM_HELD_FRAMES } from './net-completions.ts';
import { VirtioNet } from './net.ts';
import { FakeFramePort } from './testing/fake-port.ts';
import { Rig, TRANSPORTS } from './testing/rig.ts';

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const RECEIVE = 0;
const TRANSMIT = 1;
const HEADER = new Uint8Array(12);

describe.each(TRANSPORTS)('a network device that the machine polls, over %s', (transport) => {
  const up = (queueSize = 64) => {
    const clock = new FakeClock();
    const port = new FakeFramePort();
    const rig = new Rig(transport, new VirtioNet({ mac: MAC, port, nowNs: () => clock.monotonicNs() }), 1024);
    rig.start({ queueSize });
    rig.queue(RECEIVE).setUsedEvent(0);
    rig.queue(TRANSMIT).setUsedEvent(0);
    const send = (bytes = 60): void => void rig.queue(TRANSMIT).submit([HEADER, new Uint8Array(bytes)], []);
    const given = (): number => rig.queue(TRANSMIT).takeUsed().length;
    return { clock, port, rig, send, given };
  };

  test('sends the first frame at once, and asks for no notification of those that follow it before the poll', () => {
    const { port, rig, send } = up();
    const { virtio } = rig;
    send();
    rig.guest.notify(TRANSMIT);
    expect(port.sent.length).toBe(1);
    // A driver notifies when it fills the entry that avail_event names.
    const askedBefore = rig.queue(TRANSMIT).availEvent();
    send();
    send();
    expect(rig.queue(TRANSMIT).availEvent()).toBe(askedBefore);
    expect(askedBefore).toBe(0);
    virtio.poll();
    expect(port.sent.length).toBe(3);
    // Now it does not look by itself any more, and asks.
    expect(rig.queue(TRANSMIT).availEvent()).toBe(3);
  });

  test('gives buffers back with the next frame that comes in, with one interrupt for both', () => {
    const { port, rig, send, given } = up();
    rig.queue(RECEIVE).submit([], [200]);
    send();
    rig.guest.notify(TRANSMIT);
    rig.virtio.poll();
    expect([given(), rig.line.level]).toEqual([0, false]);
    const frame = new Uint8Array(60);
    frame.set(MAC);
    expect(port.card?.deliver(plainFrame(frame))).toBe(true);
    expect([given(), rig.queue(RECEIVE).takeUsed().length]).toEqual([1, 1]);
    expect(rig.line.changes).toEqual([true]);
  });

  test('gives much back at once, so that a sender of much never waits', () => {
    const { rig, send, given } = up();
    send(MAXIMUM_HELD_BYTES);
    rig.guest.notify(TRANSMIT);
    expect(given()).toBe(1);
    for (let count = 0; count <= MAXIMUM_HELD_FRAMES; count++) send();
    rig.guest.notify(TRANSMIT);
    expect(given()).toBe(MAXIMUM_HELD_FRAMES + 1);
  });

  test('gives little back after a while, for which an idle machine is woken', () => {
    const { clock, rig, send, given } = up();
    expect(rig.virtio.dueInNs()).toBe(Infinity);
    send();
    rig.guest.notify(TRANSMIT);
    expect(rig.virtio.dueInNs(), 'more may have followed').toBe(0);
    rig.virtio.poll();
    expect(rig.virtio.dueInNs()).toBe(IDLE_HOLD_NS);
    clock.advanceNs(LONGEST_HOLD_NS - 1);
    rig.virtio.poll();
    expect(given()).toBe(0);
    clock.advanceNs(1);
    rig.virtio.poll();
    expect([given(), rig.line.level, rig.virtio.dueInNs()]).toEqual([1, true, Infinity]);
  });

  test('holds nothing when it comes to rest, and nothing of before a reset', async () => {
    const { rig, send, given } = up();
    send();
    rig.guest.notify(TRANSMIT);
    await rig.machineDevice.quiesce?.();
    expect(given()).toBe(1);
    rig.machineDevice.resume?.();
    send();
    rig.guest.notify(TRANSMIT);
    rig.start({ queueSize: 64 });
    expect(rig.virtio.dueInNs()).toBe(Infinity);
    rig.virtio.poll();
    expect(rig.queue(TRANSMIT).takeUsed()).toEqual([]);
    expect(rig.faults.reports).toEqual([]);
  });

  test('forgets what it holds of a queue that is reset', () => {
    const { rig, send } = up();
    send();
    rig.guest.notify(TRANSMIT);
    rig.virtio.poll();
    rig.guest.resetQueue(TRANSMIT);
    expect(rig.virtio.dueInNs()).toBe(Infinity);
  });
});
