/**
 * A TcpConnection against a model of a guest (testing/model-peer.ts), over a channel that loses, doubles and reorders segments and refuses
 * them for want of room: whatever happens, both sides get all bytes of the other in order, and both end.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FakeTcp } from '../testing/fake-host.ts';
import { FakeTimers } from '../testing/fake-timers.ts';
import { ModelPeer } from '../testing/model-peer.ts';
import type { TcpSegment } from '../tcp-segment.ts';
import { ByteBudget } from './byte-budget.ts';
import { type OutgoingSegment, TcpConnection, type TcpPath } from './tcp-connection.ts';

interface Scenario {
  readonly seed: number;
  readonly fromGuest: number;
  readonly fromHost: number;
  /** Of a hundred. */
  readonly lost: number;
  readonly doubled: number;
  readonly refused: number;
  readonly largestDelayMs: number;
  readonly largestWindow: number;
  /** What this connection and its neighbours may keep, each way. */
  readonly budget: number;
  readonly guestSequence: number;
  readonly hostSequence: number;
}

const scenarios: fc.Arbitrary<Scenario> = fc.record({
  seed: fc.nat(),
  fromGuest: fc.oneof(fc.constant(0), fc.nat(200), fc.nat(20_000)),
  fromHost: fc.oneof(fc.constant(0), fc.nat(200), fc.nat(20_000)),
  lost: fc.oneof(fc.constant(0), fc.nat(25)),
  doubled: fc.oneof(fc.constant(0), fc.nat(25)),
  refused: fc.oneof(fc.constant(0), fc.nat(40)),
  largestDelayMs: fc.oneof(fc.constant(0), fc.nat(150)),
  largestWindow: fc.integer({ min: 1, max: 65_534 }),
  budget: fc.oneof(fc.constant(0), fc.nat(30_000), fc.constant(2 ** 30)),
  // Both circles of numbers begin close to their end as often as not.
  guestSequence: fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0xffff_f000, max: 0xffff_ffff })),
  hostSequence: fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0xffff_f000, max: 0xffff_ffff })),
});

/** Long enough for the unluckiest run: time costs nothing. */
const LONGEST_RUN_MS = 4 * 3_600_000;

function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    // Mulberry32.
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function bytesOf(length: number, random: (below: number) => number): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}

function incoming({ data, ...segment }: OutgoingSegment): TcpSegment {
  const bytes = new Uint8Array(data?.length ?? 0);
  data?.queue.copyTo(bytes, 0, data.offset, data.length);
  return {
    sourcePort: 2,
    destinationPort: 1,
    sequence: segment.sequence,
    acknowledgement: segment.acknowledgement,
    flags: segment.flags,
    window: segment.window,
    maximumSegmentBytes: segment.maximumSegmentBytes,
    windowScale: segment.windowScale,
    data: bytes,
  };
}

function run(scenario: Scenario): void {
  const random = randomFrom(scenario.seed);
  const timers = new FakeTimers();
  const later = (delayMs: number, callback: () => void): void => void timers.after(delayMs, callback);
  const chance = (percent: number): boolean => random(100) < percent;
  const guestBytes = bytesOf(scenario.fromGuest, random);
  const hostBytes = bytesOf(scenario.fromHost, random);
  const sent: { connection?: TcpConnection; host?: FakeTcp; ends: number } = { ends: 0 };

  /** One way of the channel. */
  const channel = (arrive: (segment: TcpSegment) => void) => (segment: TcpSegment) => {
    const copies = chance(scenario.lost) ? 0 : chance(scenario.doubled) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) later(1 + random(1 + scenario.largestDelayMs), () => arrive(segment));
  };
  const peer = new ModelPeer({
    send: channel((segment) => {
      if (sent.connection === undefined) {
        if (sent.ends === 0 && (segment.flags & 2) !== 0) open(segment);
        return;
      }
      sent.connection.segment(segment);
      later(0, () => sent.connection?.burstEnded());
    }),
    later,
    random,
    toSend: guestBytes,
    initialSequence: scenario.guestSequence,
    largestWindow: scenario.largestWindow,
  });
  const toPeer = channel((segment) => peer.segment(segment));
  const path: TcpPath = {
    timers,
    receiving: new ByteBudget(scenario.budget),
    sending: new ByteBudget(scenario.budget),
    ownSegmentBytes: 1460,
    maximumDataBytes: 10_000,
    send(segment) {
      if (chance(scenario.refused)) {
        later(1 + random(20), () => sent.connection?.roomAgain());
        return false;
      }
      toPeer(incoming(segment));
      return true;
    },
    deadlineChanged: (deadlineMs) =>
      later(Math.max(0, deadlineMs - timers.nowMs()), () => {
        const { connection } = sent;
        if (connection !== undefined && connection.deadlineMs <= timers.nowMs()) connection.alarm(timers.nowMs());
      }),
    answerLater: () => undefined,
    closed() {
      sent.ends++;
      delete sent.connection;
    },
    unreachable: () => undefined,
  };
  const open = (syn: TcpSegment): void => {
    const connection = TcpConnection.fromGuest(path, syn, scenario.hostSequence);
    sent.connection = connection;
    const host = new FakeTcp(connection);
    host.isSlow = true;
    sent.host = host;
    connection.attach(host);
    later(random(50), () => {
      connection.connected();
      give(0);
    });
    const drain = (): void => {
      if (sent.ends > 0) return;
      host.drain();
      later(5 + random(40), drain);
    };
    drain();
  };
  /** The host's socket gives what it has, in pieces, unless it is paused. */
  const give = (from: number): void => {
    const { host } = sent;
    if (host === undefined || sent.ends > 0) return;
    if (from === hostBytes.length) {
      host.events.ended();
      return;
    }
    const end = host.isPaused ? from : Math.min(hostBytes.length, from + 1 + random(5000));
    if (end > from) host.events.data(hostBytes.slice(from, end));
    later(random(30), () => give(end));
  };

  peer.open();
  const endMs = timers.nowMs() + LONGEST_RUN_MS;
  while (timers.nextMs < endMs && !(peer.isDone && sent.ends > 0)) timers.advance(timers.nextMs - timers.nowMs());

  expect(peer.wasReset, 'the guest was reset').toBe(false);
  expect(sent.host?.isReset, 'the host was reset').toBe(false);
  expect(Buffer.from(sent.host?.received ?? []).equals(guestBytes), 'what the host got').toBe(true);
  expect(Buffer.from(peer.received).equals(hostBytes), 'what the guest got').toBe(true);
  expect(sent.host?.hasEnded, 'the host heard of the end').toBe(true);
  expect(sent.ends, 'the connection ended once').toBe(1);
}

/** What says that the window is open again gets lost. */
const WINDOW_OPENED_IN_VAIN: Scenario = {
  seed: 1_597_492_489,
  fromGuest: 19_991,
  fromHost: 0,
  lost: 3,
  doubled: 0,
  refused: 0,
  largestDelayMs: 0,
  largestWindow: 1,
  budget: 0,
  guestSequence: 4_294_963_200,
  hostSequence: 0,
};

test('all bytes arrive in order and both sides end, whatever the channel does', { timeout: 120_000 }, () => {
  fc.assert(
    fc.property(scenarios, (scenario) => run(scenario)),
    { numRuns: 60, examples: [[WINDOW_OPENED_IN_VAIN]] },
  );
});
