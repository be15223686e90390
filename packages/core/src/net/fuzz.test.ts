/**
 * Frames that no honest guest sends: random ones, and right ones with octets changed, cut or grown. Nothing throws, and nothing grows
 * beyond its limit.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Frame, Segmentation } from '../base/frames.ts';
import { MacAddress } from './addresses.ts';
import { arpFrame } from './arp.ts';
import { MAXIMUM_INCOMPLETE, Reassembly } from './fragments.ts';
import { PROTOCOL, parseIp } from './ip.ts';
import { segments } from './segmentation.ts';
import { FakeTimers } from './testing/fake-timers.ts';
import {
  endpoint,
  GATEWAY,
  GUEST,
  GUEST6,
  ip,
  NetworkRig,
  type TestCard,
  udpHeader,
  udpPayload,
} from './testing/network-rig.ts';

const OUTSIDE = ip('192.0.2.7');
const EVERYBODY = ip('255.255.255.255');

/** One right frame of each kind. */
function rightFrames(card: TestCard): Uint8Array[] {
  const tcp = Uint8Array.of(
    0x9c,
    0x40,
    0,
    80,
    0,
    0,
    3,
    0xe8,
    0,
    0,
    0,
    0,
    0x70,
    2,
    0xff,
    0xff,
    0,
    0,
    0,
    0,
    2,
    4,
    5,
    0xb4,
    1,
    3,
    3,
    7,
  );
  const dns = Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 119, 101, 98, 0, 0, 1, 0, 1]);
  const dhcp = new Uint8Array(260);
  dhcp.set([1, 1, 6, 0]);
  dhcp.set(card.mac.bytes, 28);
  dhcp.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 12, 3, 97, 98, 99, 255], 236);
  const from = endpoint(GUEST, 68);
  const udp = (to: string, port: number, data: Uint8Array): Uint8Array =>
    card.packet(udpHeader(from, endpoint(ip(to), port)), udpPayload(from, endpoint(ip(to), port), data));
  return [
    card.packet({ source: GUEST, destination: OUTSIDE, protocol: PROTOCOL.TCP }, tcp),
    card.packet({ source: GUEST6, destination: ip('2001:db8::7'), protocol: PROTOCOL.TCP }, tcp),
    udp('192.0.2.7', 99, new Uint8Array(20)),
    udp('192.0.2.7', 0, new Uint8Array(20)),
    udp('10.0.2.3', 53, dns),
    udp('255.255.255.255', 67, dhcp),
    card.packet(
      { source: GUEST, destination: GATEWAY, protocol: PROTOCOL.ICMP },
      Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0),
    ),
    card.packet(
      { source: GUEST, destination: OUTSIDE, protocol: PROTOCOL.UDP, fragment: { id: 1, offset: 0, more: true } },
      new Uint8Array(24),
    ),
    card.packet(
      { source: GUEST6, destination: ip('ff02::2'), protocol: PROTOCOL.ICMPV6, hopLimit: 255 },
      Uint8Array.of(133, 0, 0, 0, 0, 0, 0, 0),
    ),
    arpFrame(card.mac, GUEST, GATEWAY, undefined),
  ];
}

const mutation = fc.record({
  which: fc.nat(9),
  changes: fc.array(fc.tuple(fc.nat(120), fc.oneof(fc.nat(255), fc.constantFrom(0, 255))), { maxLength: 6 }),
  length: fc.option(fc.nat(400), { nil: undefined }),
  // Whether a checksum is left to do: then nothing is sorted out by checksums, and the parsers see everything.
  isUnfinished: fc.boolean(),
  segmentation: fc.constantFrom<Segmentation>('none', 'tcp4', 'tcp6'),
  segmentBytes: fc.integer({ min: 1, max: 3000 }),
});

function mutated(
  frames: readonly Uint8Array[],
  { which, changes, length, ...rest }: typeof mutation extends fc.Arbitrary<infer T> ? T : never,
): Frame {
  const original = frames[which] ?? new Uint8Array(60);
  const bytes = new Uint8Array(Math.max(14, length ?? original.length));
  bytes.set(original.subarray(0, bytes.length));
  for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
  const checksumStart = Math.min(34, bytes.length - 2);
  const isSegmented = rest.isUnfinished && checksumStart + 20 <= bytes.length;
  return {
    bytes,
    checksumStart: rest.isUnfinished ? checksumStart : -1,
    checksumOffset: 0,
    segmentation: isSegmented ? rest.segmentation : 'none',
    segmentBytes: isSegmented && rest.segmentation !== 'none' ? rest.segmentBytes : 0,
  };
}

test('no frame makes the gateway throw or grow', () => {
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 40 }), (mutations) => {
      const rig = new NetworkRig().introduce();
      const other = rig.plug('db', 1);
      other.takesChecksums = false;
      other.segmentations = [];
      const frames = rightFrames(rig.card);
      for (const each of mutations) {
        rig.card.send(mutated(frames, each));
        for (const tcp of rig.host.tcp.splice(0)) tcp.events.connected();
      }
      rig.timers.advance(500_000);
      rig.network.close();
      expect(rig.timers.size).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test('octets that are no packet at all are passed over', () => {
  const rig = new NetworkRig();
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 14, maxLength: 200 }),
      fc.constantFrom(0x0800, 0x0806, 0x86dd),
      (bytes, type) => {
        bytes.set(MacAddress.broadcast.bytes);
        bytes.set([type >>> 8, type & 0xff], 12);
        rig.card.send(bytes);
      },
    ),
    { numRuns: 2000 },
  );
});

test('pieces never make more than they are, and only so many wait', () => {
  const timers = new FakeTimers();
  const piece = fc.record({
    id: fc.nat(40),
    offset: fc.nat(8191).map((units) => 8 * units),
    size: fc.nat(200),
    more: fc.boolean(),
  });
  const { card } = new NetworkRig();
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 100 }), (pieces) => {
      const reassembly = new Reassembly(timers);
      for (const { id, offset, size, more } of pieces) {
        const header = { source: GUEST, destination: OUTSIDE, protocol: PROTOCOL.UDP, fragment: { id, offset, more } };
        const packet = parseIp(card.packet(header, new Uint8Array(size)));
        const whole = packet && reassembly.add(packet);
        expect(whole?.payload.length ?? 0).toBeLessThanOrEqual(65_535);
        expect(reassembly.size).toBeLessThanOrEqual(MAXIMUM_INCOMPLETE);
      }
    }),
  );
});

test('whatever is to be cut comes out as no more frames than there may be', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 56, maxLength: 70_000, size: 'max' }),
      fc.integer({ min: 1, max: 70_000 }),
      fc.nat(36),
      (bytes, segmentBytes, start) => {
        const pieces = segments({
          bytes,
          checksumStart: start,
          checksumOffset: 16,
          segmentation: 'tcp4',
          segmentBytes,
        });
        expect(pieces.length).toBeLessThanOrEqual(256);
      },
    ),
    { numRuns: 100 },
  );
});

test('a broadcast from nobody and to nobody is no reason to answer', () => {
  const { card } = new NetworkRig();
  card.sendPacket(
    { source: EVERYBODY, destination: GATEWAY, protocol: PROTOCOL.ICMP },
    Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0),
  );
  expect(card.take()).toEqual([]);
});
