import { describe, expect, test } from 'vitest';
import { MAXIMUM_LEASES } from './addressing.ts';
import { IpAddress, MacAddress } from './addresses.ts';
import { arpFrame, parseArp } from './arp.ts';
import { DHCP, DHCP_OPTION } from './dhcp-message.ts';
import { MAXIMUM_WAITING_FRAMES } from './guest-link.ts';
import { DISCOVERY_HOP_LIMIT, neighborSolicitation, parseNeighbor } from './neighbor-discovery.ts';
import { putU32, u16, u32 } from './octets.ts';
import { PROTOCOL } from './ip.ts';
import { ADVERTISEMENT_INTERVAL_MS } from './router-alarm.ts';
import {
  DNS,
  endpoint,
  GATEWAY,
  GATEWAY6,
  GUEST,
  GUEST6,
  ip,
  NetworkRig,
  udpHeader,
  udpPayload,
} from './testing/network-rig.ts';

const OUTSIDE = ip('192.0.2.7');
const OUTSIDE6 = ip('2001:db8::7');
const ANY = ip('0.0.0.0');
const EVERYBODY = ip('255.255.255.255');
const LINK_LOCAL = ip('fe80::5054:ff:fe12:3456');
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

describe('the gateway', () => {
  test.each([GATEWAY, DNS])('answers ARP for %s', (address) => {
    const { card } = new NetworkRig();
    card.send(arpFrame(card.mac, GUEST, address, undefined));
    const reply = parseArp(card.take()[0]?.bytes ?? new Uint8Array(0));
    expect([reply?.operation, reply?.sender.toString(), reply?.senderMac.toString()]).toEqual([
      2,
      address.toString(),
      '52:55:0a:00:02:02',
    ]);
  });

  test('answers ARP for nobody else', () => {
    const { card } = new NetworkRig();
    card.send(arpFrame(card.mac, GUEST, ip('10.0.2.9'), undefined));
    expect(card.take()).toEqual([]);
  });

  test.each([
    ['IPv4', GUEST, GATEWAY, 8, 0],
    ['IPv4, of the name server', GUEST, DNS, 8, 0],
    ['IPv6', GUEST6, GATEWAY6, 128, 129],
  ])('answers an echo request of %s', (_, from, to, request, reply) => {
    const { card } = new NetworkRig().introduce();
    card.sendIcmp(from, to, [request, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]);
    const [packet] = card.takePackets();
    expect([packet?.source, packet?.destination]).toEqual([to, from]);
    expect([...(packet?.payload ?? [])].toSpliced(2, 2)).toEqual([reply, 0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('says that it lets no echoes out', () => {
    const { card } = new NetworkRig().introduce();
    card.sendIcmp(GUEST, OUTSIDE, [8, 0, 0, 0, 1, 2, 3, 4]);
    expect(card.takePackets().map(({ source, payload }) => [source, payload[0], payload[1]])).toEqual([
      [GATEWAY, 3, 13],
    ]);
  });

  test('an echo request that came in pieces is answered in pieces', () => {
    const { card } = new NetworkRig().introduce();
    const header = { source: GUEST, destination: GATEWAY, protocol: PROTOCOL.ICMP };
    const whole = Uint8Array.from({ length: 3000 }, (_, index) => (index < 8 ? 0 : index & 0xff));
    whole.set([8, 0]);
    const sum = whole.reduce((total, byte, index) => total + (index % 2 === 0 ? byte << 8 : byte), 0);
    const folded = ((sum & 0xffff) + (sum >>> 16)) ^ 0xffff;
    whole.set([folded >>> 8, folded & 0xff], 2);
    // The last piece comes first.
    card.sendPacket({ ...header, fragment: { id: 9, offset: 1480, more: false } }, whole.subarray(1480));
    expect(card.takePackets()).toEqual([]);
    card.sendPacket({ ...header, fragment: { id: 9, offset: 0, more: true } }, whole.subarray(0, 1480));
    const pieces = card.takePackets();
    expect(pieces.map(({ fragment, payload }) => [fragment?.offset, fragment?.more, payload.length])).toEqual([
      [0, true, 1480],
      [1480, true, 1480],
      [2960, false, 40],
    ]);
    const answer = Buffer.concat(pieces.map(({ payload }) => payload));
    expect(answer[0]).toBe(0);
    expect(answer.subarray(8).equals(whole.subarray(8))).toBe(true);
  });

  test('advertises its prefix and its name server to who asks', () => {
    const { card } = new NetworkRig();
    card.sendIcmp(LINK_LOCAL, ip('ff02::2'), [133, 0, 0, 0, 0, 0, 0, 0], DISCOVERY_HOP_LIMIT);
    // The frame must be for a group, or for the gateway's card.
    const [packet] = card.takePackets();
    const message = packet?.payload ?? new Uint8Array(0);
    expect([message[0], packet?.source.toString(), packet?.hopLimit]).toEqual([134, 'fe80::2', 255]);
    expect(latin1(message)).toContain(latin1(ip('fd00::').bytes));
    expect(latin1(message)).toContain(latin1(ip('fd00::3').bytes));
  });

  test('advertises itself unasked while there are machines', () => {
    const { card, timers } = new NetworkRig();
    timers.advance(3 * ADVERTISEMENT_INTERVAL_MS);
    const advertisements = card.takePackets();
    expect(advertisements.map(({ destination, payload }) => `${payload[0]} to ${destination.toString()}`)).toEqual([
      '134 to ff02::1',
      '134 to ff02::1',
      '134 to ff02::1',
    ]);
    card.place.unplug();
    expect(timers.size).toBe(0);
  });

  test('a router solicitation that came from another network is passed over', () => {
    const { card } = new NetworkRig();
    card.sendIcmp(LINK_LOCAL, ip('ff02::2'), [133, 0, 0, 0, 0, 0, 0, 0], 64);
    expect(card.take()).toEqual([]);
  });

  test.each(['fd00::2', 'fd00::3', 'fe80::2'])('answers who asks for %s', (address) => {
    const { card } = new NetworkRig();
    const question = neighborSolicitation(ip(address), card.mac);
    card.sendIcmp(LINK_LOCAL, ip(address), [...question], DISCOVERY_HOP_LIMIT);
    const [packet] = card.takePackets();
    expect(packet?.payload[0]).toBe(136);
    expect(parseNeighbor(packet?.payload ?? new Uint8Array(0))?.card?.toString()).toBe('52:55:0a:00:02:02');
  });

  test('does not hand on what is for loopback, groups, nobody, or other machines of the network', () => {
    const { card, host } = new NetworkRig().introduce();
    for (const to of ['127.0.0.1', '224.0.0.1', '255.255.255.255', '0.0.0.0', '10.0.2.99', '169.254.169.254'])
      card.sendUdp(endpoint(GUEST, 5000), endpoint(ip(to), 53), 'x');
    for (const to of ['::1', 'ff02::1', '::', 'fd00::99', 'fe80::99', '::ffff:127.0.0.1'])
      card.sendUdp(endpoint(GUEST6, 5000), endpoint(ip(to), 53), 'x');
    expect([host.udp, host.tcp]).toEqual([[], []]);
  });

  test('protocols that it does not know are refused with a word', () => {
    const { card } = new NetworkRig().introduce();
    card.sendPacket({ source: GUEST, destination: OUTSIDE, protocol: 47 }, new Uint8Array(20));
    expect(card.takePackets().map(({ payload }) => [payload[0], payload[1]])).toEqual([[3, 13]]);
  });
});

describe('DHCP', () => {
  const message = (
    card: MacAddress,
    type: number,
    options: readonly number[] = [],
    clientAddress = ANY,
  ): Uint8Array => {
    const bytes = new Uint8Array(300);
    bytes.set([1, 1, 6, 0, 1, 2, 3, 4]);
    bytes.set(clientAddress.bytes, 12);
    bytes.set(card.bytes, 28);
    putU32(bytes, 236, 0x6382_5363);
    bytes.set([DHCP_OPTION.MESSAGE_TYPE, 1, type, ...options, 255], 240);
    return bytes;
  };
  const ask = (rig: NetworkRig, bytes: Uint8Array, card = rig.card): Uint8Array | undefined => {
    card.send(
      card.packet(
        udpHeader(endpoint(ANY, 68), endpoint(EVERYBODY, 67)),
        udpPayload(endpoint(ANY, 68), endpoint(EVERYBODY, 67), bytes),
        MacAddress.broadcast,
      ),
    );
    return card.takeDatagrams().find(({ destinationPort }) => destinationPort === 68)?.data;
  };
  const option = (reply: Uint8Array | undefined, code: number): number[] | undefined => {
    for (let at = 240; reply !== undefined && reply[at] !== 255 && at < reply.length; at += 2 + (reply[at + 1] ?? 0))
      if (reply[at] === code) return [...reply.subarray(at + 2, at + 2 + (reply[at + 1] ?? 0))];
    return undefined;
  };

  test('offers and confirms the address of a card, with router, mask and name server', () => {
    const rig = new NetworkRig();
    const offer = ask(rig, message(rig.card.mac, DHCP.DISCOVER));
    expect([option(offer, 53), [...(offer?.subarray(16, 20) ?? [])]]).toEqual([[DHCP.OFFER], [10, 0, 2, 15]]);
    const ack = ask(rig, message(rig.card.mac, DHCP.REQUEST, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]));
    expect([53, 1, 3, 6, 54].map((code) => option(ack, code))).toEqual([
      [DHCP.ACK],
      [255, 255, 255, 0],
      [10, 0, 2, 2],
      [10, 0, 2, 3],
      [10, 0, 2, 2],
    ]);
    expect(u32(ack ?? new Uint8Array(8), 4)).toBe(0x0102_0304);
  });

  test('every card has an address of its own, and keeps it', () => {
    const rig = new NetworkRig();
    const other = rig.plug('db', 1);
    const address = (reply: Uint8Array | undefined): string => (reply ?? []).slice(16, 20).join('.');
    expect(address(ask(rig, message(rig.card.mac, DHCP.DISCOVER)))).toBe('10.0.2.15');
    expect(address(ask(rig, message(other.mac, DHCP.DISCOVER), other))).toBe('10.0.2.16');
    expect(address(ask(rig, message(rig.card.mac, DHCP.DISCOVER)))).toBe('10.0.2.15');
  });

  test('refuses another address than the one it would give, and is silent about other servers', () => {
    const rig = new NetworkRig();
    expect(option(ask(rig, message(rig.card.mac, DHCP.REQUEST, [50, 4, 192, 168, 0, 9])), 53)).toEqual([DHCP.NAK]);
    expect(ask(rig, message(rig.card.mac, DHCP.REQUEST, [50, 4, 10, 0, 2, 15, 54, 4, 9, 9, 9, 9]))).toBeUndefined();
  });

  test('cards that are made up do not take the addresses of machines', () => {
    const rig = new NetworkRig();
    const cards = Array.from({ length: MAXIMUM_LEASES }, (_, index) =>
      MacAddress.at(Uint8Array.of(2, 0, 0, 0, 1, index), 0),
    );
    const offered = cards.map((card) => ask(rig, message(card, DHCP.DISCOVER)));
    expect(offered.every((reply) => reply !== undefined)).toBe(true);
    const other = rig.plug('db', 1);
    expect(other.place.address.toString()).not.toBe(rig.card.place.address.toString());
    expect([...(ask(rig, message(rig.card.mac, DHCP.DISCOVER)) ?? [])].slice(16, 20)).toEqual([10, 0, 2, 15]);
  });

  test.each([
    ['cut short', (bytes: Uint8Array) => bytes.subarray(0, 200)],
    ['without the magic cookie', (bytes: Uint8Array) => bytes.fill(0, 236, 240)],
    ['with an option longer than the message', (bytes: Uint8Array) => bytes.subarray(0, 242)],
    ['that is a reply', (bytes: Uint8Array) => bytes.fill(2, 0, 1)],
    ['of a group', (bytes: Uint8Array) => bytes.fill(0xff, 28, 34)],
  ])('a message %s is passed over', (_, damage) => {
    const rig = new NetworkRig();
    expect(ask(rig, damage(message(rig.card.mac, DHCP.DISCOVER)))).toBeUndefined();
  });
});

describe('UDP through the gateway', () => {
  test('goes out of one socket for each port of the guest, and answers come back', () => {
    const { card, host } = new NetworkRig().introduce();
    card.sendUdp(endpoint(GUEST, 5000), endpoint(OUTSIDE, 99), 'one');
    card.sendUdp(endpoint(GUEST, 5000), endpoint(ip('192.0.2.8'), 99), 'two');
    card.sendUdp(endpoint(GUEST6, 5001), endpoint(OUTSIDE6, 99), 'three');
    expect(host.udp.map(({ sent }) => sent)).toEqual([
      [
        { to: '192.0.2.7 99', data: 'one' },
        { to: '192.0.2.8 99', data: 'two' },
      ],
      [{ to: '2001:db8::7 99', data: 'three' }],
    ]);
    host.udp[0]?.events.message(endpoint(OUTSIDE, 99), Buffer.from('back'));
    host.udp[1]?.events.message(endpoint(OUTSIDE6, 99), Buffer.from('back6'));
    expect(
      card
        .takeDatagrams()
        .map(({ source, sourcePort, destinationPort, data }) => [
          source.toString(),
          sourcePort,
          destinationPort,
          latin1(data),
        ]),
    ).toEqual([
      ['192.0.2.7', 99, 5000, 'back'],
      ['2001:db8::7', 99, 5001, 'back6'],
    ]);
  });

  test("the gateway's address is the host's loopback, both ways", () => {
    const { card, host } = new NetworkRig().introduce();
    card.sendUdp(endpoint(GUEST, 5000), endpoint(GATEWAY, 99), 'in');
    expect(host.udp[0]?.sent).toEqual([{ to: '127.0.0.1 99', data: 'in' }]);
    host.udp[0]?.events.message(endpoint(ip('127.0.0.1'), 99), Buffer.from('out'));
    expect(card.takeDatagrams().map(({ source }) => source.toString())).toEqual(['10.0.2.2']);
  });

  test('nothing comes in from where nothing was sent to', () => {
    const { card, host } = new NetworkRig().introduce();
    card.sendUdp(endpoint(GUEST, 5000), endpoint(OUTSIDE, 99), 'one');
    host.udp[0]?.events.message(endpoint(OUTSIDE, 98), Buffer.from('x'));
    host.udp[0]?.events.message(endpoint(ip('192.0.2.8'), 99), Buffer.from('x'));
    expect(card.take()).toEqual([]);
  });

  test('a large answer comes in pieces, and a large datagram goes out whole', () => {
    const { card, host } = new NetworkRig().introduce();
    const large = Buffer.alloc(4000, 'abc');
    const from = endpoint(GUEST, 5000);
    const to = endpoint(OUTSIDE, 99);
    const whole = udpPayload(from, to, large);
    for (let offset = 0; offset < whole.length; offset += 1480) {
      const fragment = { id: 7, offset, more: offset + 1480 < whole.length };
      card.sendPacket({ ...udpHeader(from, to), fragment }, whole.subarray(offset, offset + 1480));
    }
    expect(host.udp[0]?.sent).toEqual([{ to: '192.0.2.7 99', data: large.toString() }]);
    host.udp[0]?.events.message(to, large);
    const pieces = card.takePackets();
    expect(pieces.map(({ payload }) => payload.length)).toEqual([1480, 1480, 1048]);
    expect(
      Buffer.concat(pieces.map(({ payload }) => payload))
        .subarray(8)
        .equals(large),
    ).toBe(true);
  });

  test('a socket that was silent is closed', () => {
    const rig = new NetworkRig().introduce();
    const { card, host, timers } = rig;
    card.sendUdp(endpoint(GUEST, 5000), endpoint(OUTSIDE, 99), 'one');
    timers.advance(100_000);
    card.sendUdp(endpoint(GUEST, 5000), endpoint(OUTSIDE, 99), 'one');
    timers.advance(100_000);
    expect(host.udp[0]?.isClosed).toBe(false);
    timers.advance(30_000);
    expect(host.udp[0]?.isClosed).toBe(true);
    expect(rig.alarms).toBe(0);
  });

  test('to port 0 nothing is sent, and from port 0 nothing is answered', () => {
    const { card, host } = new NetworkRig().introduce();
    card.sendUdp(endpoint(GUEST, 5000), endpoint(ip('192.0.2.7'), 0), 'to nobody');
    expect(host.udp).toEqual([]);
    card.sendUdp(endpoint(GUEST, 0), endpoint(ip('192.0.2.7'), 514), 'news');
    expect(host.udp[0]?.sent).toEqual([{ to: '192.0.2.7 514', data: 'news' }]);
    host.udp[0]?.events.message(endpoint(ip('192.0.2.7'), 514), Buffer.from('thanks'));
    card.sendUdp(
      endpoint(GUEST, 0),
      endpoint(DNS, 53),
      Buffer.from('0001010000010000000000000377656200 00010001'.replace(' ', ''), 'hex'),
    );
    expect(card.takeDatagrams()).toEqual([]);
  });

  test('a damaged datagram goes nowhere', () => {
    const { card, host } = new NetworkRig().introduce();
    const from = endpoint(GUEST, 5000);
    const to = endpoint(OUTSIDE, 99);
    const payload = udpPayload(from, to, 'damaged');
    payload[9] = 0;
    card.sendPacket(udpHeader(from, to), payload);
    expect(host.udp).toEqual([]);
  });

  test('published ports lead to the card that a guest has by now, whatever it said before', () => {
    const { card } = new NetworkRig().introduce();
    const before = MacAddress.parse('52:54:00:00:00:99')!;
    card.send(arpFrame(before, GUEST, GUEST, undefined));
    const visited = (): string[] => {
      card.place.acceptUdp(53, 'a', Buffer.from('hello'), () => undefined);
      return card.take().map(({ bytes }) => Buffer.from(bytes.subarray(0, 6)).toString('hex'));
    };
    expect(visited()).not.toContain(Buffer.from(card.mac.bytes).toString('hex'));
    card.place.settled();
    expect(visited()).toEqual([Buffer.from(card.mac.bytes).toString('hex')]);
  });

  test('published ports: a visitor reaches the guest, and its answer goes back to that visitor', () => {
    const { card } = new NetworkRig().introduce();
    const answers: string[] = [];
    for (const visitor of ['a', 'b'])
      card.place.acceptUdp(53, visitor, Buffer.from(`from ${visitor}`), (data) =>
        answers.push(`${visitor}: ${latin1(data)}`),
      );
    const visits = card.takeDatagrams();
    expect(
      visits.map(({ source, destinationPort, data }) => [source.toString(), destinationPort, latin1(data)]),
    ).toEqual([
      ['10.0.2.2', 53, 'from a'],
      ['10.0.2.2', 53, 'from b'],
    ]);
    for (const { sourcePort } of visits.toReversed())
      card.sendUdp(endpoint(GUEST, 53), endpoint(GATEWAY, sourcePort), `to ${sourcePort}`);
    expect(answers).toEqual([`b: to ${visits[1]?.sourcePort}`, `a: to ${visits[0]?.sourcePort}`]);
  });
});

describe('names', () => {
  const query = (name: string, type: number, id = 0x1234): Uint8Array =>
    Uint8Array.from([
      id >>> 8,
      id & 0xff,
      1,
      0,
      0,
      1,
      0,
      0,
      0,
      0,
      0,
      0,
      ...name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]),
      0,
      0,
      type,
      0,
      1,
    ]);
  const ask = (rig: NetworkRig, message: Uint8Array): Uint8Array | undefined => {
    rig.card.sendUdp(endpoint(GUEST, 5000), endpoint(DNS, 53), message);
    return rig.card.takeDatagrams()[0]?.data;
  };

  test('of machines on the network are known', () => {
    const rig = new NetworkRig().introduce();
    rig.plug('db', 1);
    const answer = ask(rig, query('DB', 1));
    expect([
      u16(answer ?? new Uint8Array(12), 6),
      latin1(answer ?? new Uint8Array(0)).endsWith('\u000a\0\u0002\u0010'),
    ]).toEqual([1, true]);
    expect([...(ask(rig, query('db', 28)) ?? [])].slice(2, 8)).toEqual([0x85, 0x80, 0, 1, 0, 0]);
    const six = ask(rig, query('web', 28));
    expect(latin1(six ?? new Uint8Array(0)).endsWith(latin1(GUEST6.bytes))).toBe(true);
  });

  test("of the world are asked of the host's name servers, and their answers go through as they are", async () => {
    const rig = new NetworkRig().introduce();
    rig.host.answer = async (message) =>
      Uint8Array.from([...message.subarray(0, 2), 0x81, 0x80, ...message.subarray(4), 42]);
    expect(ask(rig, query('example.org', 16))).toBeUndefined();
    await Promise.resolve();
    const [answer] = rig.card.takeDatagrams();
    expect([answer?.source.toString(), answer?.destinationPort, answer?.data.at(-1)]).toEqual(['10.0.2.3', 5000, 42]);
    expect(rig.host.queries).toEqual([query('example.org', 16)]);
  });

  test('nobody knows are a server failure', async () => {
    const rig = new NetworkRig().introduce();
    ask(rig, query('example.org', 1));
    await Promise.resolve();
    expect((rig.card.takeDatagrams()[0]?.data[3] ?? 0) & 0xf).toBe(2);
  });

  test('an answer to another question is none', async () => {
    const rig = new NetworkRig().introduce();
    rig.host.answer = () => Promise.resolve(query('example.org', 1, 0x9999));
    ask(rig, query('example.org', 1));
    await Promise.resolve();
    expect((rig.card.takeDatagrams()[0]?.data[3] ?? 0) & 0xf).toBe(2);
  });

  test.each([
    ['with a name without end', Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63])],
    ['with a pointer', Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1])],
    ['with two questions', Uint8Array.from([0, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1])],
  ])('a query %s is called wrong', (_, message) => {
    expect((ask(new NetworkRig().introduce(), message)?.[3] ?? 0) & 0xf).toBe(1);
  });
});

describe('a card whose address is not known', () => {
  test('is asked for, and what waits goes to it then', () => {
    const { card } = new NetworkRig();
    for (let index = 0; index < MAXIMUM_WAITING_FRAMES + 3; index++)
      card.place.acceptUdp(53, `visitor ${index}`, Buffer.from(String(index)), () => undefined);
    const asked = card.take().map(({ bytes }) => parseArp(bytes)?.target.toString());
    expect(new Set(asked)).toEqual(new Set(['10.0.2.15']));
    card.send(arpFrame(card.mac, GUEST, GATEWAY, MacAddress.parse('52:55:0a:00:02:02')));
    const came = card.takeDatagrams().map(({ data }) => latin1(data));
    expect(came).toEqual(Array.from({ length: MAXIMUM_WAITING_FRAMES }, (_, index) => String(index + 3)));
  });

  test('addresses of other networks are not believed', () => {
    const { card, network } = new NetworkRig();
    card.send(arpFrame(card.mac, OUTSIDE, GATEWAY, undefined));
    card.send(arpFrame(card.mac, GATEWAY, GATEWAY, undefined));
    card.take();
    expect(network.addressesOf('web')?.map((address: IpAddress) => address.toString())).toEqual(['10.0.2.15']);
  });
});
