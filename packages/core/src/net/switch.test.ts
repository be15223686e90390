import { describe, expect, test } from 'vitest';
import { type Frame, plainFrame } from '../base/frames.ts';
import { MacAddress } from './addresses.ts';
import {
  MAXIMUM_LEARNED_ADDRESSES,
  MAXIMUM_QUEUED_BYTES,
  MAXIMUM_QUEUED_FRAMES,
  type SwitchPort,
  VirtualSwitch,
} from './switch.ts';

const BROADCAST = MacAddress.broadcast;
const card = (index: number): MacAddress => MacAddress.at(Uint8Array.of(2, 0, 0, 0, index >> 8, index & 0xff), 0);

function frame(to: MacAddress, from: MacAddress, size = 60): Frame {
  const bytes = new Uint8Array(size);
  bytes.set(to.bytes);
  bytes.set(from.bytes, 6);
  return plainFrame(bytes);
}

class Endpoint {
  readonly takesChecksums = true;
  readonly got: Frame[] = [];
  room = Infinity;
  constructor(port: SwitchPort) {
    port.attach(this);
  }
  takesSegments(): boolean {
    return true;
  }
  deliver(given: Frame): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.got.push(given);
    return true;
  }
}

function threeOf(filter?: ConstructorParameters<typeof VirtualSwitch>[0]) {
  const network = new VirtualSwitch(filter);
  const ports = ['a', 'b', 'c'].map((name) => network.plug(name)) as [SwitchPort, SwitchPort, SwitchPort];
  const ends = ports.map((port) => new Endpoint(port)) as [Endpoint, Endpoint, Endpoint];
  return { network, ports, ends, counts: () => ends.map(({ got }) => got.length) };
}

describe('a switch', () => {
  test('sends to everybody until it knows where an address is, and never back', () => {
    const { ports, counts } = threeOf();
    ports[0].transmit(frame(card(2), card(1)));
    expect(counts()).toEqual([0, 1, 1]);
    ports[1].transmit(frame(card(1), card(2)));
    expect(counts()).toEqual([1, 1, 1]);
    ports[0].transmit(frame(card(2), card(1)));
    expect(counts()).toEqual([1, 2, 1]);
    ports[2].transmit(frame(BROADCAST, card(3)));
    expect(counts()).toEqual([2, 3, 1]);
  });

  test('follows an address to another socket', () => {
    const { ports, counts } = threeOf();
    ports[0].transmit(frame(BROADCAST, card(1)));
    ports[1].transmit(frame(BROADCAST, card(1)));
    const before = counts();
    ports[2].transmit(frame(card(1), card(3)));
    expect(counts()).toEqual([before[0], (before[1] ?? 0) + 1, before[2]]);
  });

  test('knows only so many addresses, and sends to everybody what it has forgotten', () => {
    const { ports, counts } = threeOf();
    ports[0].transmit(frame(BROADCAST, card(0)));
    for (let index = 1; index <= MAXIMUM_LEARNED_ADDRESSES; index++) ports[1].transmit(frame(card(0), card(index)));
    const before = counts();
    ports[1].transmit(frame(card(0), card(1)));
    expect(counts()).toEqual([(before[0] ?? 0) + 1, before[1], (before[2] ?? 0) + 1]);
  });

  test('shows every frame to its filter for each receiver, and delivers what it admits', () => {
    const seen: string[] = [];
    const filter = {
      admits(_: Frame, from: { readonly name: string }, to: { readonly name: string }): boolean {
        seen.push(`${from.name}>${to.name}`);
        return to.name !== 'c';
      },
    };
    const { ports, counts } = threeOf(filter);
    ports[0].transmit(frame(BROADCAST, card(1)));
    ports[1].transmit(frame(card(1), card(2)));
    expect(seen).toEqual(['a>b', 'a>c', 'b>a']);
    expect(counts()).toEqual([1, 1, 0]);
  });

  test('keeps frames for a receiver without room, in order, and loses what is too much', () => {
    const { ports, ends } = threeOf();
    ports[1].transmit(frame(BROADCAST, card(2)));
    ends[1].room = 0;
    const count = MAXIMUM_QUEUED_FRAMES + 5;
    for (let index = 0; index < count; index++) ports[0].transmit(frame(card(2), card(1), 60 + (index % 100)));
    expect(ports[1].lost).toBe(5);
    ends[1].room = 3;
    ports[1].roomAgain();
    expect(ends[1].got.map(({ bytes }) => bytes.length)).toEqual([60, 61, 62]);
    ends[1].room = Infinity;
    ports[1].roomAgain();
    expect(ends[1].got).toHaveLength(MAXIMUM_QUEUED_FRAMES);
  });

  test('keeps only so many bytes', () => {
    const { ports, ends } = threeOf();
    ports[1].transmit(frame(BROADCAST, card(2)));
    ends[1].room = 0;
    for (let bytes = 0; bytes < 2 * MAXIMUM_QUEUED_BYTES; bytes += 65_536)
      ports[0].transmit(frame(card(2), card(1), 65_536));
    expect(ports[1].lost).toBe(MAXIMUM_QUEUED_BYTES / 65_536);
  });

  test('a sender that can wait is refused and told, and what it sends does not overtake', () => {
    const network = new VirtualSwitch();
    const [patient, receiver] = [network.plug('patient'), network.plug('receiver')];
    let told = 0;
    const end = new Endpoint(receiver);
    class Patient extends Endpoint {
      roomAgain(): void {
        told++;
      }
    }
    void new Patient(patient);
    receiver.transmit(frame(BROADCAST, card(2)));
    end.room = 0;
    expect(patient.transmit(frame(card(2), card(1)))).toBe(false);
    end.room = 1;
    receiver.roomAgain();
    expect(told).toBe(1);
    expect(patient.transmit(frame(card(2), card(1)))).toBe(true);
    expect([end.got.length, receiver.lost]).toEqual([1, 0]);
  });

  test('a socket that was unplugged gets nothing more and says nothing more', () => {
    const { network, ports, counts } = threeOf();
    ports[1].transmit(frame(BROADCAST, card(2)));
    network.unplug(ports[1]);
    const before = counts();
    ports[0].transmit(frame(card(2), card(1)));
    ports[1].transmit(frame(BROADCAST, card(2)));
    expect(counts()).toEqual([before[0], before[1], (before[2] ?? 0) + 1]);
  });
});
