import { describe, expect, test } from 'vitest';
import type { FakeTcp } from '../testing/fake-host.ts';
import { FakeTcp as Tcp } from '../testing/fake-host.ts';
import { DNS, endpoint, GATEWAY, GATEWAY6, GUEST, GUEST6, ip, NetworkRig } from '../testing/network-rig.ts';
import { TCP, type TcpHeader, type TcpSegment } from '../tcp-segment.ts';
import {
  FIN_WAIT_MS,
  MAXIMUM_RETRANSMISSIONS,
  MAXIMUM_SYN_RETRANSMISSIONS,
  MINIMUM_WINDOW_BYTES,
  RECEIVE_WINDOW_BYTES,
  TIME_WAIT_MS,
} from './tcp-connection.ts';
import { MINIMUM_READ_BYTES, SEND_QUEUE_BYTES } from './host-reads.ts';
import { MAXIMUM_TIMEOUT_MS } from './retransmission-timeout.ts';
import { IDLE_MS, MAXIMUM_TCP_BYTES, MAXIMUM_TCP_CONNECTIONS } from './tcp-nat.ts';

const OUTSIDE = endpoint(ip('192.0.2.7'), 80);
const HERE = endpoint(GUEST, 40_000);
const ISS = 1000;

/** What a segment says, in short: `SA 7+1`. */
function flags(segment: TcpSegment | undefined): string {
  const names: readonly (readonly [number, string])[] = [
    [TCP.SYN, 'S'],
    [TCP.FIN, 'F'],
    [TCP.RST, 'R'],
    [TCP.PSH, 'P'],
    [TCP.ACK, 'A'],
  ];
  return names.flatMap(([bit, name]) => (((segment?.flags ?? 0) & bit) === 0 ? [] : [name])).join('');
}

const text = (segments: readonly TcpSegment[]): string =>
  Buffer.concat(segments.map(({ data }) => data)).toString('latin1');

/** A connection that the guest opened, and the numbers that go on from there. */
function opened(rig = new NetworkRig().introduce(), here = HERE, to = OUTSIDE) {
  const { card, host } = rig;
  const send = (fields: Partial<TcpHeader>, data = ''): void => card.sendTcp(here, to, fields, data);
  send({ flags: TCP.SYN, sequence: ISS, maximumSegmentBytes: 1460, windowScale: 7 });
  const tcp = host.tcp.at(-1);
  if (tcp === undefined) throw new Error('the host was not asked for a connection');
  tcp.events.connected();
  const [answer] = card.takeSegments();
  const theirs = ((answer?.sequence ?? 0) + 1) >>> 0;
  send({ sequence: ISS + 1, acknowledgement: theirs, window: 512 });
  return { rig, card, tcp, answer, theirs, send };
}

describe('a connection that a guest opens', () => {
  test('is answered when the host is connected, with segment size and a scaled window', () => {
    const { card, host } = new NetworkRig().introduce();
    card.sendTcp(HERE, OUTSIDE, { flags: TCP.SYN, sequence: ISS, maximumSegmentBytes: 1460, windowScale: 7 });
    expect(host.tcp.map(({ to }) => `${to?.address.toString()} ${to?.port}`)).toEqual(['192.0.2.7 80']);
    expect(card.takeSegments()).toEqual([]);
    host.tcp[0]?.events.connected();
    const [answer] = card.takeSegments();
    expect(flags(answer)).toBe('SA');
    expect([answer?.acknowledgement, answer?.maximumSegmentBytes, answer?.windowScale]).toEqual([ISS + 1, 1460, 5]);
  });

  test('to the gateway goes to the loopback of the host, over IPv4 and IPv6', () => {
    const { card, host } = new NetworkRig().introduce();
    card.sendTcp(HERE, endpoint(GATEWAY, 80), { flags: TCP.SYN });
    card.sendTcp(endpoint(GUEST6, 40_000), endpoint(GATEWAY6, 80), { flags: TCP.SYN });
    expect(host.tcp.map(({ to }) => to?.address.toString())).toEqual(['127.0.0.1', '::1']);
  });

  test('is reset when the host was refused', () => {
    const { card, host } = new NetworkRig().introduce();
    card.sendTcp(HERE, OUTSIDE, { flags: TCP.SYN, sequence: ISS });
    host.tcp[0]?.events.closed('refused');
    const [answer, ...more] = card.takePackets();
    expect([answer?.payload[13], more]).toEqual([TCP.RST | TCP.ACK, []]);
  });

  test('is told when the host cannot reach the destination', () => {
    const { card, host } = new NetworkRig().introduce();
    card.sendTcp(HERE, OUTSIDE, { flags: TCP.SYN, sequence: ISS });
    host.tcp[0]?.events.closed('unreachable');
    const [news] = card.takePackets();
    // Destination unreachable, host; and the beginning of the packet it is about.
    expect([...(news?.payload.subarray(0, 2) ?? [])]).toEqual([3, 1]);
    expect([...(news?.payload.subarray(8 + 16, 8 + 20) ?? [])]).toEqual([...OUTSIDE.address.bytes]);
  });

  test('carries bytes both ways', () => {
    const { card, tcp, send, theirs } = opened();
    send({ sequence: ISS + 1, acknowledgement: theirs, flags: TCP.ACK | TCP.PSH }, 'question');
    expect(Buffer.from(tcp.received).toString()).toBe('question');
    tcp.events.data(Buffer.from('answer'));
    const segments = card.takeSegments();
    expect(text(segments)).toBe('answer');
    expect(segments.map(({ acknowledgement }) => acknowledgement)).toEqual([ISS + 9]);
  });

  test('small data is acknowledged a little later, much data at once when the burst is over', () => {
    const { rig, card, send, theirs } = opened();
    send({ sequence: ISS + 1, acknowledgement: theirs }, 'x');
    expect(card.takeSegments()).toEqual([]);
    rig.timers.advance(20);
    expect(card.takeSegments().map(({ acknowledgement }) => acknowledgement)).toEqual([ISS + 2]);
    send({ sequence: ISS + 2, acknowledgement: theirs }, 'y'.repeat(4000));
    expect(card.takeSegments().map(({ acknowledgement }) => acknowledgement)).toEqual([ISS + 4002]);
  });

  test('large data comes in one frame that is still to be cut', () => {
    const { card, tcp } = opened();
    tcp.events.data(Buffer.alloc(50_000, 'z'));
    const frames = card.take();
    expect(frames.map(({ segmentation, segmentBytes }) => [segmentation, segmentBytes])).toEqual([['tcp4', 1460]]);
    expect(frames[0]?.bytes.length).toBe(54 + 50_000);
  });

  test('the small end of much data goes with what follows an acknowledgement, or with the end', () => {
    const { card, tcp, theirs, send } = opened();
    const LARGEST = 44 * 1460;
    const lengths = (): number[] => card.takeSegments().map(({ data }) => data.length);
    send({ sequence: ISS + 1, acknowledgement: theirs, window: 4096 });
    tcp.events.data(Buffer.alloc(65_536));
    tcp.events.data(Buffer.alloc(1000));
    expect(lengths()).toEqual([LARGEST]);
    send({ sequence: ISS + 1, acknowledgement: theirs + LARGEST, window: 4096 });
    expect(lengths()).toEqual([65_536 + 1000 - LARGEST]);
    tcp.events.data(Buffer.alloc(65_536));
    expect(lengths()).toEqual([LARGEST]);
    tcp.events.ended();
    expect(lengths()).toEqual([65_536 - LARGEST]);
  });

  test('a card that takes no such frames gets segments of its size, with checksums', () => {
    const { card, tcp } = opened();
    card.takesChecksums = false;
    card.segmentations = [];
    const sent = Buffer.from(Array.from({ length: 5000 }, (_, index) => index & 0xff));
    tcp.events.data(sent);
    const segments = card.takeSegments();
    expect(segments.map(({ data }) => data.length)).toEqual([1460, 1460, 1460, 620]);
    expect(segments.map(flags)).toEqual(['A', 'A', 'A', 'PA']);
    expect(Buffer.concat(segments.map(({ data }) => data)).equals(sent)).toBe(true);
  });

  test('waits while the card has no room, and goes on when it has', () => {
    const { card, tcp, theirs } = opened();
    card.room = 1;
    tcp.events.data(Buffer.alloc(60_000, 'a'));
    tcp.events.data(Buffer.alloc(1000, 'b'));
    expect(card.takeSegments()).toHaveLength(1);
    card.room = Infinity;
    card.place.port.roomAgain();
    expect(card.takeSegments().map(({ sequence, data }) => [sequence - theirs, data.length])).toEqual([[60_000, 1000]]);
  });

  test('the host is paused while the guest does not take what it sent, and goes on when it does', () => {
    const { card, tcp, send, theirs } = opened();
    tcp.events.data(Buffer.alloc(SEND_QUEUE_BYTES));
    expect(tcp.isPaused).toBe(true);
    let acknowledged = 0;
    for (let round = 0; round < 40; round++) {
      acknowledged += card.takeSegments().reduce((sum, { data }) => sum + data.length, 0);
      send({ sequence: ISS + 1, acknowledgement: (theirs + acknowledged) >>> 0, window: 512 });
    }
    expect([acknowledged, tcp.isPaused]).toEqual([SEND_QUEUE_BYTES, false]);
  });

  test("the guest's window closes while the host does not take what it sent, and opens again", () => {
    const { rig, card, tcp, send, theirs } = opened();
    tcp.isSlow = true;
    for (let at = 0; at < RECEIVE_WINDOW_BYTES; at += 1024)
      send({ sequence: ISS + 1 + at, acknowledgement: theirs }, 'x'.repeat(1024));
    rig.timers.advance(20);
    expect(card.takeSegments().at(-1)?.window).toBe(0);
    // What is sent all the same is not taken.
    send({ sequence: ISS + 1 + RECEIVE_WINDOW_BYTES, acknowledgement: theirs }, 'too much');
    expect(tcp.received.length).toBe(RECEIVE_WINDOW_BYTES);
    card.takeSegments();
    tcp.drain();
    expect(card.takeSegments().map(({ window }) => window * 32)).toEqual([RECEIVE_WINDOW_BYTES]);
  });

  test('a closed window is asked after, with one octet', () => {
    const { rig, card, tcp, send, theirs } = opened();
    send({ sequence: ISS + 1, acknowledgement: theirs, window: 0 });
    tcp.events.data(Buffer.from('waiting'));
    expect(card.takeSegments()).toEqual([]);
    rig.timers.advance(1100);
    expect(text(card.takeSegments())).toBe('w');
    for (let probe = 0; probe < 30; probe++) {
      rig.timers.advance(MAXIMUM_TIMEOUT_MS + 1000);
      send({ sequence: ISS + 1, acknowledgement: theirs, window: 0 });
    }
    card.takeSegments();
    send({ sequence: ISS + 1, acknowledgement: theirs + 1, window: 100 });
    expect(text(card.takeSegments())).toBe('aiting');
  });

  test('what is not acknowledged is sent again, ever more slowly, and given up in the end', () => {
    const { rig, card, tcp } = opened();
    tcp.events.data(Buffer.from('lost'));
    expect(text(card.takeSegments())).toBe('lost');
    rig.timers.advance(1100);
    expect(text(card.takeSegments())).toBe('lost');
    rig.timers.advance(1100);
    expect(card.takeSegments()).toEqual([]);
    rig.timers.advance((MAXIMUM_RETRANSMISSIONS + 1) * MAXIMUM_TIMEOUT_MS);
    const segments = card.takeSegments();
    expect(segments.length).toBe(MAXIMUM_RETRANSMISSIONS);
    expect(flags(segments.at(-1))).toBe('RA');
    expect([tcp.isReset, rig.alarms]).toEqual([true, 0]);
  });

  test('three duplicate acknowledgements bring the missing segment at once', () => {
    const { card, tcp, send, theirs } = opened();
    tcp.events.data(Buffer.from('first'));
    tcp.events.data(Buffer.from('second'));
    card.takeSegments();
    for (let count = 0; count < 3; count++) send({ sequence: ISS + 1, acknowledgement: theirs, window: 512 });
    expect(text(card.takeSegments()).startsWith('first')).toBe(true);
  });

  test('segments out of order are answered at once with what is missing', () => {
    const { card, tcp, send, theirs } = opened();
    send({ sequence: ISS + 5, acknowledgement: theirs }, 'later');
    expect(card.takeSegments().map(({ acknowledgement }) => acknowledgement)).toEqual([ISS + 1]);
    expect(tcp.received).toEqual([]);
    send({ sequence: ISS - 3, acknowledgement: theirs }, 'old');
    expect(card.takeSegments().map(({ acknowledgement }) => acknowledgement)).toEqual([ISS + 1]);
    // Half known already.
    send({ sequence: ISS + 1, acknowledgement: theirs }, 'ab');
    send({ sequence: ISS + 2, acknowledgement: theirs }, 'bc');
    expect(Buffer.from(tcp.received).toString()).toBe('abc');
  });
});

describe('the end of a connection', () => {
  test('of the guest: the host may go on sending', () => {
    const { card, tcp, send, theirs } = opened();
    send({ sequence: ISS + 1, acknowledgement: theirs, flags: TCP.FIN | TCP.ACK }, 'bye');
    expect([Buffer.from(tcp.received).toString(), tcp.hasEnded]).toEqual(['bye', true]);
    expect(card.takeSegments().at(-1)?.acknowledgement).toBe(ISS + 5);
    tcp.events.data(Buffer.from('more'));
    tcp.events.ended();
    const segments = card.takeSegments();
    expect([text(segments), flags(segments.at(-1))]).toEqual(['more', 'FA']);
    send({ sequence: ISS + 5, acknowledgement: theirs + 5 });
    // It is gone: another segment is nobody's.
    send({ sequence: ISS + 5, acknowledgement: theirs + 5 });
    expect(card.takeSegments().map(flags)).toEqual(['R']);
  });

  test('of the host: the guest may go on sending, and late segments are answered for a while', () => {
    const { rig, card, tcp, send, theirs } = opened();
    tcp.events.data(Buffer.from('all'));
    tcp.events.ended();
    expect(card.takeSegments().map(flags)).toEqual(['PA', 'FA']);
    send({ sequence: ISS + 1, acknowledgement: theirs + 4 }, 'still here');
    send({ sequence: ISS + 11, acknowledgement: theirs + 4, flags: TCP.FIN | TCP.ACK });
    expect([Buffer.from(tcp.received).toString(), tcp.hasEnded]).toEqual(['still here', true]);
    card.takeSegments();
    send({ sequence: ISS + 11, acknowledgement: theirs + 4, flags: TCP.FIN | TCP.ACK });
    expect(card.takeSegments().map(flags)).toEqual(['A']);
    tcp.events.closed(undefined);
    rig.timers.advance(TIME_WAIT_MS + 10);
    expect(rig.alarms).toBe(0);
    send({ sequence: ISS + 12, acknowledgement: theirs + 4 });
    expect(card.takeSegments().map(flags)).toEqual(['R']);
  });

  test('a new connection may begin where an old one is only remembered', () => {
    const { card, tcp, send, theirs, rig } = opened();
    tcp.events.ended();
    send({ sequence: ISS + 1, acknowledgement: theirs + 1, flags: TCP.FIN | TCP.ACK });
    card.takeSegments();
    send({ flags: TCP.SYN, sequence: ISS + 5000 });
    expect(rig.host.tcp).toHaveLength(2);
  });

  test('a reset of the guest resets the host, when it hits the mark', () => {
    const { card, tcp, send } = opened();
    send({ sequence: ISS + 100, flags: TCP.RST });
    expect([card.takeSegments().map(flags), tcp.isReset]).toEqual([['A'], false]);
    send({ sequence: ISS + 1, flags: TCP.RST });
    expect([card.takeSegments(), tcp.isReset]).toEqual([[], true]);
  });

  test('a SYN within a connection is a guess and is answered as such', () => {
    const { card, tcp, send, theirs } = opened();
    send({ sequence: ISS + 10, acknowledgement: theirs, flags: TCP.SYN | TCP.ACK });
    expect([card.takeSegments().map(flags), tcp.isReset]).toEqual([['A'], false]);
  });

  test('a failure of the host resets the guest', () => {
    const { card, tcp, theirs } = opened();
    tcp.events.closed('reset');
    expect(card.takeSegments().map((segment) => [flags(segment), segment.sequence])).toEqual([['RA', theirs]]);
  });

  test('a guest that keeps its half open has a while when nobody is behind the other', () => {
    const { rig, card, tcp, send, theirs } = opened();
    tcp.events.ended();
    tcp.events.closed(undefined);
    send({ sequence: ISS + 1, acknowledgement: theirs + 1 });
    card.takeSegments();
    rig.timers.advance(FIN_WAIT_MS + 10);
    expect(card.takeSegments().map(flags)).toEqual(['RA']);
    expect(rig.alarms).toBe(0);
  });

  test('a segment for nobody is answered with a reset that is believed', () => {
    const { card } = new NetworkRig().introduce();
    card.sendTcp(HERE, OUTSIDE, { flags: TCP.ACK, sequence: 7, acknowledgement: 99 });
    card.sendTcp(HERE, OUTSIDE, { flags: TCP.FIN, sequence: 7 }, 'abc');
    card.sendTcp(HERE, OUTSIDE, { flags: TCP.RST, sequence: 7 });
    expect(card.takeSegments().map((segment) => [flags(segment), segment.sequence, segment.acknowledgement])).toEqual([
      ['R', 99, 0],
      ['RA', 0, 11],
    ]);
  });
});

describe('a published port', () => {
  const accept = (rig: NetworkRig, port = 80): FakeTcp | undefined => {
    let tcp: FakeTcp | undefined;
    rig.card.place.acceptTcp(port, (events) => (tcp = new Tcp(events)));
    return tcp;
  };

  test('leads to the guest, and bytes that come before it answers are kept', () => {
    const rig = new NetworkRig().introduce();
    const tcp = accept(rig);
    tcp?.events.data(Buffer.from('early'));
    const [syn] = rig.card.takeSegments();
    expect([flags(syn), syn?.destinationPort, syn?.maximumSegmentBytes, syn?.windowScale]).toEqual(['S', 80, 1460, 5]);
    const there = endpoint(GATEWAY, syn?.sourcePort ?? 0);
    rig.card.sendTcp(endpoint(GUEST, 80), there, {
      flags: TCP.SYN | TCP.ACK,
      sequence: 50,
      acknowledgement: ((syn?.sequence ?? 0) + 1) >>> 0,
      maximumSegmentBytes: 1460,
      windowScale: 7,
    });
    const segments = rig.card.takeSegments();
    expect([segments.map(flags), text(segments)]).toEqual([['A', 'PA'], 'early']);
  });

  test('that nobody listens to in the guest resets the host', () => {
    const rig = new NetworkRig().introduce();
    const tcp = accept(rig);
    const [syn] = rig.card.takeSegments();
    rig.card.sendTcp(endpoint(GUEST, 80), endpoint(GATEWAY, syn?.sourcePort ?? 0), {
      flags: TCP.RST | TCP.ACK,
      acknowledgement: ((syn?.sequence ?? 0) + 1) >>> 0,
    });
    rig.timers.advance(MAXIMUM_TIMEOUT_MS);
    expect([tcp?.isReset, rig.card.takeSegments(), rig.alarms]).toEqual([true, [], 0]);
  });

  test('of a guest that does not answer is tried again and then given up', () => {
    const rig = new NetworkRig().introduce();
    const tcp = accept(rig);
    rig.timers.advance(10 * MAXIMUM_TIMEOUT_MS);
    expect(rig.card.takeSegments().map(flags)).toEqual([
      ...Array.from({ length: MAXIMUM_SYN_RETRANSMISSIONS + 1 }, () => 'S'),
      'R',
    ]);
    expect([tcp?.isReset, rig.alarms]).toEqual([true, 0]);
  });
});

describe('limits', () => {
  test('beyond the number of connections a newcomer is refused, until one was silent for long', () => {
    const rig = new NetworkRig().introduce();
    const { card, host, timers } = rig;
    for (let index = 0; index < MAXIMUM_TCP_CONNECTIONS; index++)
      card.sendTcp(endpoint(GUEST, 1000 + index), OUTSIDE, { flags: TCP.SYN });
    card.takeSegments();
    card.sendTcp(endpoint(GUEST, 999), OUTSIDE, { flags: TCP.SYN });
    expect([host.tcp.length, card.takeSegments().map(flags)]).toEqual([MAXIMUM_TCP_CONNECTIONS, ['RA']]);
    timers.advance(IDLE_MS + 1);
    card.sendTcp(endpoint(GUEST, 999), OUTSIDE, { flags: TCP.SYN });
    expect([host.tcp.length, host.tcp[0]?.isReset]).toEqual([MAXIMUM_TCP_CONNECTIONS + 1, true]);
  });

  /** Connections of which nobody takes anything, with room for twice as many bytes as they may keep. */
  const stalled = (count = (2 * MAXIMUM_TCP_BYTES) / RECEIVE_WINDOW_BYTES) => {
    const rig = new NetworkRig().introduce();
    const all = Array.from({ length: count }, (_, index) => {
      const each = opened(rig, endpoint(GUEST, 1000 + index));
      each.send({ sequence: ISS + 1, acknowledgement: each.theirs }, 'x');
      rig.timers.advance(20);
      return { ...each, window: 32 * (rig.card.takeSegments()[0]?.window ?? 0) };
    });
    return { rig, all };
  };

  test('all connections together let guests send no more than the network may keep, and each a little', () => {
    const { rig, all } = stalled();
    const windows = all.map(({ window }) => window);
    expect(windows.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(
      MAXIMUM_TCP_BYTES + all.length * MINIMUM_WINDOW_BYTES,
    );
    expect([windows[0], windows.at(-1)]).toEqual([RECEIVE_WINDOW_BYTES, MINIMUM_WINDOW_BYTES]);
    // What one gives back another one has.
    all[0]?.tcp.events.closed('failed');
    rig.card.takeSegments();
    const last = all.at(-1);
    last?.send({ sequence: ISS + 2, acknowledgement: last.theirs }, 'x');
    rig.timers.advance(20);
    expect(rig.card.takeSegments()[0]?.window).toBeGreaterThan(MINIMUM_WINDOW_BYTES / 32);
  });

  test('all connections together keep no more for guests than the network may, and what one read of each', () => {
    const { all } = stalled();
    const read = Buffer.alloc(65_536);
    let kept = 0;
    for (const { tcp, send, theirs } of all) {
      send({ sequence: ISS + 2, acknowledgement: theirs, window: 0 });
      for (; !tcp.isPaused; kept += read.length) tcp.events.data(read);
    }
    expect(kept).toBeGreaterThan(MAXIMUM_TCP_BYTES);
    expect(kept).toBeLessThanOrEqual(MAXIMUM_TCP_BYTES + all.length * read.length);
  });

  test('what hosts read at once grows while they fill it and memory is there, and counts before it has come', () => {
    const { all } = stalled(1);
    const [only] = all;
    const reads = Array.from({ length: 6 }, () => {
      const bytes = only?.tcp.events.nextRead() ?? 0;
      only?.tcp.events.data(Buffer.alloc(bytes));
      return bytes / MINIMUM_READ_BYTES;
    });
    expect(reads).toEqual([1, 2, 4, 8, 16, 16]);
    only?.tcp.events.data(Buffer.alloc(10));
    expect(only?.tcp.events.nextRead()).toBe(8 * MINIMUM_READ_BYTES);

    const many = stalled(2048).all;
    const next = new Map(many.map(({ tcp }) => [tcp, tcp.events.nextRead()]));
    let kept = 0;
    // Twice in turn, then whoever is not paused once more, with nobody asking before.
    for (const { tcp, send, theirs } of many) {
      send({ sequence: ISS + 2, acknowledgement: theirs, window: 0 });
      for (let turn = 0; turn < 2; turn++) {
        kept += next.get(tcp) ?? 0;
        tcp.events.data(Buffer.alloc(next.get(tcp) ?? 0));
        next.set(tcp, tcp.events.nextRead());
      }
    }
    for (const { tcp } of many) if (!tcp.isPaused) kept += next.get(tcp) ?? 0;
    expect(kept).toBeLessThanOrEqual(MAXIMUM_TCP_BYTES + many.length * MINIMUM_READ_BYTES);
  });

  test('when a machine is unplugged, its connections end and its address is free', () => {
    const { rig, card, tcp } = opened();
    card.place.unplug();
    expect([tcp.isReset, rig.network.size, rig.network.addressesOf('web')]).toEqual([true, 0, undefined]);
    expect(rig.network.plug('next')?.address.toString()).toBe('10.0.2.15');
  });

  test('when a network closes, both ends of every connection hear of it', () => {
    const { rig, card, tcp } = opened();
    rig.network.close();
    expect([card.takeSegments().map(flags), tcp.isReset, rig.timers.size]).toEqual([['RA'], true, 0]);
  });
});

describe('names over TCP', () => {
  test('are answered in order, each behind its length, and the stream ends when the guest ends it', async () => {
    const rig = new NetworkRig().introduce();
    rig.host.answer = (message) => Promise.resolve(message);
    const { card } = rig;
    const to = endpoint(DNS, 53);
    card.sendTcp(HERE, to, { flags: TCP.SYN, sequence: ISS });
    const [answer] = card.takeSegments();
    expect([flags(answer), rig.host.tcp]).toEqual(['SA', []]);
    const theirs = ((answer?.sequence ?? 0) + 1) >>> 0;
    const query = '\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01x\0\0\x01\0\x01';
    const framed = `\0${String.fromCharCode(query.length)}${query}`;
    card.sendTcp(HERE, to, { sequence: ISS + 1, acknowledgement: theirs }, framed.slice(0, 5));
    card.sendTcp(HERE, to, { sequence: ISS + 6, acknowledgement: theirs, flags: TCP.FIN | TCP.ACK }, framed.slice(5));
    await Promise.resolve();
    await Promise.resolve();
    const segments = card.takeSegments();
    expect(text(segments)).toBe(framed);
    expect(flags(segments.at(-1))).toContain('F');
  });

  test('other ports of the name server are refused', () => {
    const { card } = new NetworkRig().introduce();
    card.sendTcp(HERE, endpoint(DNS, 80), { flags: TCP.SYN, sequence: ISS });
    expect(card.takeSegments().map(flags)).toEqual(['RA']);
  });
});
