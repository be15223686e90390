/**
 * The devices that are fuzzed, each with what makes a request of its own kind out of random octets, with the outside that it works on, and
 * with what has to be true of that outside whatever the driver did.
 */

import { plainFrame, type Frame } from '../../src/base/frames.ts';
import { ALL_NODES_MAC } from '../../src/net/addressing.ts';
import { VirtualNetwork } from '../../src/net/network.ts';
import { FakeHost } from '../../src/net/testing/fake-host.ts';
import { FakeTimers } from '../../src/net/testing/fake-timers.ts';
import { MemoryTree } from '../../src/machine/fuse/testing/memory-tree.ts';
import { CountingEntropy, type FakeClock } from '../../src/machine/testing/doubles.ts';
import { BALLOON_QUEUE, VirtioBalloon } from '../../src/machine/virtio/balloon.ts';
import { VirtioBlock } from '../../src/machine/virtio/block.ts';
import { VirtioConsole } from '../../src/machine/virtio/console.ts';
import { VirtioFs } from '../../src/machine/virtio/fs.ts';
import { VirtioNet } from '../../src/machine/virtio/net.ts';
import { VirtioRng } from '../../src/machine/virtio/rng.ts';
import { HeldStore } from '../../src/machine/virtio/testing/held-store.ts';
import type { VirtioDevice } from '../../src/machine/virtio/virtio-device.ts';

export interface Subject {
  readonly device: VirtioDevice;
  /** The readable octets of a request for one of its queues. */
  request(queue: number, seed: Uint8Array): Uint8Array;
  /** Something happens outside. */
  outside(what: number, bytes: Uint8Array): void | Promise<void>;
  /** Nothing is held back any more, so that the device can come to rest. */
  release(): Promise<void>;
  /** What the machine's loop calls between two stretches of execution. */
  poll?(): void;
}

export const DEVICES = ['rng', 'blk', 'console', 'net', 'fs', 'balloon'] as const;
export type DeviceName = (typeof DEVICES)[number];

export function subjectOf(name: DeviceName, clock: FakeClock): Subject {
  switch (name) {
    case 'rng':
      return entropy();
    case 'blk':
      return disk();
    case 'console':
      return serial();
    case 'net':
      return card(clock);
    case 'fs':
      return folder();
    case 'balloon':
      return balloon();
  }
}

/** The seed's octet at `at`, going around. */
const pick = (seed: Uint8Array, at: number): number => seed[at % seed.length] ?? 0;

function entropy(): Subject {
  return {
    device: new VirtioRng(new CountingEntropy()),
    request: () => new Uint8Array(0),
    outside: () => undefined,
    release: () => Promise.resolve(),
  };
}

function balloon(): Subject {
  const device = new VirtioBalloon();
  return {
    device,
    request(queue, seed) {
      // Page numbers, some of them of memory; statistics; the number of a round of hints.
      const bytes = new Uint8Array(queue === BALLOON_QUEUE.STATS ? 30 : 4 * (1 + (pick(seed, 0) % 6)));
      const fields = new DataView(bytes.buffer);
      for (let at = 0; at + 4 <= bytes.length; at += 4) {
        const low = pick(seed, at + 1);
        fields.setUint32(
          at,
          queue === BALLOON_QUEUE.HINT ? low % 5 : 0x8_0000 + (low < 128 ? 200 + low : low << 24),
          true,
        );
      }
      return bytes;
    },
    outside(what) {
      if (what % 4 === 0) device.setTarget(what * 4096);
      else if (what % 4 === 1) void device.statistics();
      else if (what % 4 === 2) device.beginHints(() => undefined);
      else device.endHints();
    },
    release: () => Promise.resolve(),
  };
}

const DISK_BYTES = 256 * 1024;

function disk(): Subject {
  const store = new HeldStore(new Uint8Array(DISK_BYTES));
  store.through = true;
  const types = [0, 1, 4, 8, 11, 13, 5];
  return {
    device: new VirtioBlock({ store, serial: 'fuzz', queues: 3 }),
    request(_queue, seed) {
      const type = types[pick(seed, 0) % types.length] ?? 0;
      const ranges = type === 11 || type === 13 ? 1 + (pick(seed, 1) % 3) : 0;
      const data = type === 1 ? 512 * (pick(seed, 1) % 5) : 16 * ranges;
      const bytes = new Uint8Array(16 + data);
      const fields = new DataView(bytes.buffer);
      fields.setUint32(0, type, true);
      fields.setUint32(8, pick(seed, 2) * 3, true);
      for (let range = 0; range < ranges; range++) {
        fields.setUint32(16 + 16 * range, pick(seed, 3 + range), true);
        fields.setUint32(24 + 16 * range, pick(seed, 6 + range), true);
        fields.setUint32(28 + 16 * range, pick(seed, 9 + range) & 1, true);
      }
      return bytes;
    },
    async outside(what) {
      store.through = what % 4 === 0;
      const [first] = store.held;
      if (what % 4 === 1) await first?.finish();
      else if (what % 4 === 2) await first?.fail();
      else if (what % 4 === 3) await store.held.at(-1)?.finish();
    },
    async release() {
      store.through = true;
      await store.finishAll();
    },
  };
}

function serial(): Subject {
  const device = new VirtioConsole([{ name: 'first', console: true }, { name: 'second' }, { name: 'third' }]);
  for (const port of device.ports) {
    port.onData = (bytes) => {
      if (bytes[0] === 0x55) port.pause();
    };
  }
  return {
    device,
    request(_queue, seed) {
      // struct virtio_console_control, or data.
      if (pick(seed, 0) % 3 === 0) return seed.slice();
      const bytes = new Uint8Array(8);
      const fields = new DataView(bytes.buffer);
      fields.setUint32(0, pick(seed, 1) % 5, true);
      fields.setUint16(4, pick(seed, 2) % 10, true);
      fields.setUint16(6, pick(seed, 3) % 3, true);
      return bytes;
    },
    outside(what, bytes) {
      const port = device.ports[what % device.ports.length];
      if (port === undefined) return;
      switch (what >> 2) {
        case 0:
          // Nobody writes to what he has closed.
          port.open();
          port.write(bytes);
          break;
        case 1:
          port.resume();
          break;
        case 2:
          port.resize(bytes.length, what);
          break;
        default:
          if (bytes.length % 2 === 0) port.close();
          else port.open();
      }
    },
    release() {
      for (const port of device.ports) port.resume();
      return Promise.resolve();
    },
  };
}

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const NET_HEADER_BYTES = 12;

/** The card on a whole network: switch, gateway and a host that refuses nothing. */
function card(clock: FakeClock): Subject {
  const timers = new FakeTimers();
  const host = new FakeHost();
  const network = new VirtualNetwork({ host, timers, entropy: new CountingEntropy() });
  const place = network.plug('fuzz');
  if (place === undefined) throw new Error('a new network has no place');
  const other = network.plug('other');
  const device = new VirtioNet({ mac: MAC, port: place.port, queuePairs: 2, nowNs: () => clock.monotonicNs() });
  let isFull = false;
  other?.port.attach({
    takesChecksums: false,
    takesSegments: () => false,
    deliver: () => !isFull,
    roomAgain: () => undefined,
  });
  const frame = (what: number, bytes: Uint8Array): Frame => {
    const whole = new Uint8Array(60 + bytes.length);
    whole.set(what % 2 === 0 ? MAC : ALL_NODES_MAC.bytes);
    whole.set(other?.mac.bytes ?? MAC, 6);
    whole.set(what % 3 === 0 ? [0x08, 0x00, 0x45] : [0x86, 0xdd, 0x60], 12);
    whole.set(bytes, 30);
    if (what % 4 !== 0) return plainFrame(whole);
    return {
      bytes: whole,
      checksumStart: 34,
      checksumOffset: 16,
      segmentation: what % 8 === 0 ? 'tcp4' : 'none',
      segmentBytes: 1 + what,
    };
  };
  return {
    device,
    poll: () => device.poll(),
    request(queue, seed) {
      if (queue === 4 || (queue === 2 && pick(seed, 0) % 2 === 0)) {
        // A control command: class, command, data.
        const bytes = seed.slice();
        bytes[0] = pick(seed, 0) % 6;
        bytes[1] = pick(seed, 1) % 6;
        return bytes;
      }
      const body = 14 + 20 + 20 + pick(seed, 1) * (pick(seed, 2) % 9 === 0 ? 250 : 1);
      const bytes = new Uint8Array(NET_HEADER_BYTES + body);
      const fields = new DataView(bytes.buffer);
      bytes[0] = pick(seed, 3) & 1;
      bytes[1] = [0, 1, 4, 3][pick(seed, 4) & 3] ?? 0;
      fields.setUint16(4, 1 + 6 * pick(seed, 5), true);
      fields.setUint16(6, 34, true);
      fields.setUint16(8, [16, 6][pick(seed, 6) & 1] ?? 0, true);
      const at = NET_HEADER_BYTES;
      bytes.set(pick(seed, 7) % 2 === 0 ? network.addressing.gatewayMac.bytes : (other?.mac.bytes ?? MAC), at);
      bytes.set(MAC, at + 6);
      bytes.set([0x08, 0x00, 0x45, 0], at + 12);
      fields.setUint16(at + 16, body - 14);
      bytes.set([64, [1, 6, 17][pick(seed, 8) % 3] ?? 6], at + 22);
      bytes.set([10, 0, 2, 15, 10, 0, 2, 2], at + 26);
      let sum = 0;
      for (let word = at + 14; word < at + 34; word += 2) sum += fields.getUint16(word);
      sum = (sum & 0xffff) + (sum >>> 16);
      fields.setUint16(at + 24, ~(sum + (sum >>> 16)) & 0xffff);
      bytes.set(seed.subarray(0, Math.min(seed.length, body - 34)), at + 34);
      bytes[at + 34 + 12] = 0x50;
      return bytes;
    },
    outside(what, bytes) {
      if (what === 15) isFull = !isFull;
      else if (what === 14) timers.advance(bytes.length * 40);
      else if (what === 13) other?.port.roomAgain();
      else other?.port.transmit(frame(what, bytes));
    },
    release: () => Promise.resolve(),
  };
}

const FUSE_HEADER_BYTES = 40;
const FUSE_INIT = 26;

function folder(): Subject {
  return {
    device: new VirtioFs({ tag: 'fuzz', tree: new MemoryTree(), readOnly: false, writeback: false }),
    request(_queue, seed) {
      const opcode = pick(seed, 0) % 5 === 0 ? FUSE_INIT : pick(seed, 1) % 54;
      const body = Math.max(0, 8 + pick(seed, 2) - (pick(seed, 3) % 3));
      const bytes = new Uint8Array(FUSE_HEADER_BYTES + body);
      const fields = new DataView(bytes.buffer);
      fields.setUint32(0, pick(seed, 4) % 16 === 0 ? pick(seed, 5) : bytes.length, true);
      fields.setUint32(4, opcode, true);
      fields.setUint32(8, 1 + pick(seed, 6), true);
      fields.setUint32(16, pick(seed, 7) % 6, true);
      for (let at = 0; at < body; at++) bytes[FUSE_HEADER_BYTES + at] = pick(seed, 8 + at);
      if (opcode === FUSE_INIT) fields.setUint32(FUSE_HEADER_BYTES, 7, true);
      if (opcode === FUSE_INIT && body >= 16) fields.setUint32(FUSE_HEADER_BYTES + 4, 31 + (pick(seed, 9) % 10), true);
      // Names end with a zero, more often than not.
      if (pick(seed, 10) % 4 !== 0) bytes[bytes.length - 1] = 0;
      return bytes;
    },
    outside: () => undefined,
    release: () => Promise.resolve(),
  };
}
