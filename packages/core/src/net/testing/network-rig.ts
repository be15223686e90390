/**
 * A network on a bench: a card with a driver that the test is, a host whose sockets are the test's, time that the test moves. Frames to the
 * card are taken apart again, so that tests compare what they say.
 */

import type { Frame, FrameEndpoint, Segmentation } from '../../base/frames.ts';
import { ETHERNET_HEADER_BYTES, plainFrame } from '../../base/frames.ts';
import { type Endpoint, IpAddress, MacAddress } from '../addresses.ts';
import { guestMac } from '../addressing.ts';
import { finishChecksum, fold } from '../checksum.ts';
import { ETHERTYPE, etherTypeOf, writeEthernetHeader } from '../ethernet.ts';
import { sumIcmp } from '../icmp.ts';
import { type IpHeader, type IpPacket, PROTOCOL, ipHeaderBytes, parseIp, writeIpHeader } from '../ip.ts';
import { type NetworkPlace, VirtualNetwork } from '../network.ts';
import { putU16 } from '../octets.ts';
import type { PacketFilter } from '../packet-filter.ts';
import { TCP, type TcpHeader, type TcpSegment, parseTcp, tcpHeaderBytes, writeTcpHeader } from '../tcp-segment.ts';
import { type UdpDatagram, parseUdp, UDP_HEADER_BYTES, writeUdpHeader } from '../udp.ts';
import { FakeHost } from './fake-host.ts';
import { FakeTimers } from './fake-timers.ts';

export function ip(text: string): IpAddress {
  const address = IpAddress.parse(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

export const GUEST = ip('10.0.2.15');
export const GUEST6 = ip('fd00::5054:ff:fe12:3456');
export const GATEWAY = ip('10.0.2.2');
export const GATEWAY6 = ip('fd00::2');
export const DNS = ip('10.0.2.3');

/** A card whose driver is the test. */
export class TestCard implements FrameEndpoint {
  takesChecksums = true;
  segmentations: readonly Segmentation[] = ['tcp4', 'tcp6'];
  /** Frames that it still has room for. */
  room = Infinity;
  readonly frames: Frame[] = [];
  readonly mac: MacAddress;
  readonly place: NetworkPlace;
  readonly #gateway: MacAddress;

  constructor(network: VirtualNetwork, name: string, index: number) {
    const place = network.plug(name, guestMac(index));
    if (place === undefined) throw new Error('the network is full');
    this.place = place;
    this.mac = place.mac;
    this.#gateway = network.addressing.gatewayMac;
    place.port.attach(this);
  }

  takesSegments(segmentation: Segmentation): boolean {
    return this.segmentations.includes(segmentation);
  }

  deliver(frame: Frame): boolean {
    if (this.room <= 0) return false;
    this.room--;
    this.frames.push({ ...frame, bytes: frame.bytes.slice() });
    return true;
  }

  /** The frames that came since the last call. */
  take(): Frame[] {
    return this.frames.splice(0);
  }

  /** The packets among them; the checksums of those that are complete are right, or it throws. */
  takePackets(): IpPacket[] {
    return this.take().flatMap((frame) => {
      if (etherTypeOf(frame.bytes) === ETHERTYPE.ARP) return [];
      const packet = parseIp(frame.bytes);
      if (packet === undefined) throw new Error('a frame holds no right packet');
      return [packet];
    });
  }

  takeSegments(): TcpSegment[] {
    return this.takePackets().flatMap(({ payload, protocol }) => {
      const segment = protocol === PROTOCOL.TCP ? parseTcp(payload) : undefined;
      return segment ? [segment] : [];
    });
  }

  takeDatagrams(): (UdpDatagram & Pick<IpPacket, 'source' | 'destination'>)[] {
    return this.takePackets().flatMap((packet) => {
      const datagram = packet.protocol === PROTOCOL.UDP ? parseUdp(packet, true) : undefined;
      return datagram ? [{ ...datagram, source: packet.source, destination: packet.destination }] : [];
    });
  }

  send(frame: Frame | Uint8Array): void {
    this.place.port.transmit(frame instanceof Uint8Array ? plainFrame(frame) : frame);
    this.place.port.transmitted();
  }

  /** Sends a packet to the gateway's card, or another one. */
  sendPacket(header: IpHeader, payload: Uint8Array, card = this.#gateway): void {
    this.send(this.packet(header, payload, card));
  }

  packet(header: IpHeader, payload: Uint8Array, card = this.#gateway): Uint8Array {
    const at = ETHERNET_HEADER_BYTES + ipHeaderBytes(header.source.family);
    const bytes = new Uint8Array(at + payload.length);
    writeEthernetHeader(bytes, card, this.mac, header.source.family === 4 ? ETHERTYPE.IPV4 : ETHERTYPE.IPV6);
    writeIpHeader(bytes, ETHERNET_HEADER_BYTES, header, payload.length);
    bytes.set(payload, at);
    return bytes;
  }

  sendIcmp(source: IpAddress, destination: IpAddress, message: readonly number[], hopLimit = 64): void {
    const payload = Uint8Array.from(message);
    const protocol = source.family === 4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6;
    const header = { source, destination, protocol, hopLimit };
    sumIcmp(payload, source.family, writeIpHeader(new Uint8Array(80), 14, header, payload.length));
    this.sendPacket(header, payload);
  }

  sendUdp(from: Endpoint, to: Endpoint, text: string | Uint8Array): void {
    this.sendPacket(udpHeader(from, to), udpPayload(from, to, text));
  }

  /** A TCP segment with its checksum complete. */
  sendTcp(from: Endpoint, to: Endpoint, fields: Partial<TcpHeader>, text = ''): void {
    const header: TcpHeader = {
      sourcePort: from.port,
      destinationPort: to.port,
      sequence: 0,
      acknowledgement: 0,
      flags: TCP.ACK,
      window: 0xffff,
      ...fields,
    };
    const data = Buffer.from(text, 'latin1');
    const payload = new Uint8Array(tcpHeaderBytes(header) + data.length);
    writeTcpHeader(payload, 0, header);
    payload.set(data, tcpHeaderBytes(header));
    const ipHeader = { source: from.address, destination: to.address, protocol: PROTOCOL.TCP };
    putU16(payload, 16, fold(writeIpHeader(new Uint8Array(80), 14, ipHeader, payload.length)));
    finishChecksum({ ...plainFrame(payload), checksumStart: 0, checksumOffset: 16 });
    this.sendPacket(ipHeader, payload);
  }
}

export function udpHeader(from: Endpoint, to: Endpoint): IpHeader {
  return { source: from.address, destination: to.address, protocol: PROTOCOL.UDP };
}

export function udpPayload(from: Endpoint, to: Endpoint, text: string | Uint8Array): Uint8Array {
  const data = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
  const payload = new Uint8Array(UDP_HEADER_BYTES + data.length);
  writeUdpHeader(payload, 0, from.port, to.port, data.length);
  payload.set(data, UDP_HEADER_BYTES);
  putU16(payload, 6, fold(writeIpHeader(new Uint8Array(80), 14, udpHeader(from, to), payload.length)));
  finishChecksum({ ...plainFrame(payload), checksumStart: 0, checksumOffset: 6 });
  return payload;
}

export class NetworkRig {
  readonly host = new FakeHost();
  readonly timers = new FakeTimers();
  readonly network: VirtualNetwork;
  readonly card: TestCard;

  constructor(filter?: PacketFilter) {
    let next = 0;
    this.network = new VirtualNetwork({
      host: this.host,
      timers: this.timers,
      entropy: { fill: (into) => void into.fill(++next) },
      ...(filter ? { filter } : {}),
    });
    this.card = new TestCard(this.network, 'web', 0);
  }

  /** Alarms that are set, but for the router's, which is while there are machines. */
  get alarms(): number {
    return this.timers.size - Number(this.network.size > 0);
  }

  /** Another machine. */
  plug(name: string, index: number): TestCard {
    return new TestCard(this.network, name, index);
  }

  /** The machine has spoken, so the gateway knows its card. */
  introduce(): this {
    this.card.sendIcmp(GUEST, GATEWAY, [8, 0, 0, 0, 0, 1, 0, 1]);
    this.card.sendIcmp(GUEST6, GATEWAY6, [128, 0, 0, 0, 0, 1, 0, 1]);
    this.card.take();
    return this;
  }
}

export function endpoint(address: IpAddress, port: number): Endpoint {
  return { address, port };
}
