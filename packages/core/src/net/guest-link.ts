/**
 * The gateway's way to the machines: packets become frames for the right card, which is asked for where it is not known yet.
 *
 *     packet --[fragments, if it is longer than the MTU]--> [card of the address?] --> frame --> FramePort
 *                                                               \-> ARP or neighbour solicitation; the frame waits
 *
 * Large TCP segments go out whole, to be cut by whoever has to (base/frames.ts).
 */

import {
  ETHERNET_HEADER_BYTES,
  MAXIMUM_FRAME_BYTES,
  MTU_BYTES,
  plainFrame,
  type Frame,
  type FramePort,
} from '../base/frames.ts';
import type { Addressing } from './addressing.ts';
import { ALL_NODES6, ALL_NODES_MAC, IPV4_BROADCAST } from './addressing.ts';
import { MacAddress, type Endpoint, type IpAddress } from './addresses.ts';
import { arpFrame } from './arp.ts';
import { finishChecksum, fold } from './checksum.ts';
import { ETHERTYPE, writeEthernetHeader } from './ethernet.ts';
import { sumIcmp } from './icmp.ts';
import { type IpHeader, PROTOCOL, ipHeaderBytes, writeIpHeader } from './ip.ts';
import { DISCOVERY_HOP_LIMIT, neighborSolicitation, solicitedNode } from './neighbor-discovery.ts';
import { Neighbors } from './neighbors.ts';
import { putU16, putU32 } from './octets.ts';
import type { OutgoingSegment } from './nat/tcp-connection.ts';
import { TCP_CHECKSUM_OFFSET, tcpHeaderBytes, writeTcpHeader } from './tcp-segment.ts';
import { UDP_CHECKSUM_OFFSET, UDP_HEADER_BYTES, writeUdpHeader } from './udp.ts';

/** Addresses that are being asked for at once, and frames that wait for each. What is more is lost, and sent again by who needs it. */
export const MAXIMUM_UNRESOLVED = 64;
export const MAXIMUM_WAITING_FRAMES = 8;

const IPV6_FRAGMENT_HEADER_BYTES = 8;
const IPV6_FRAGMENT = 44;

export class GuestLink {
  readonly neighbors = new Neighbors();
  readonly #port: FramePort;
  readonly #addressing: Addressing;
  /** Frames are made here; whoever takes one copies it. */
  readonly #frame = new Uint8Array(MAXIMUM_FRAME_BYTES);
  /** Frames without a destination yet, by address. */
  readonly #waiting = new Map<string, Frame[]>();
  #fragmentId = 0;

  constructor(port: FramePort, addressing: Addressing) {
    this.#port = port;
    this.#addressing = addressing;
  }

  /** The card of an address is known now. */
  learn(address: IpAddress, card: MacAddress): void {
    if (address.isUnspecified || address.isGroup || !card.isUnicast) return;
    this.neighbors.set(address, card);
    if (this.#waiting.size === 0) return;
    const frames = this.#waiting.get(address.key);
    if (frames === undefined) return;
    this.#waiting.delete(address.key);
    for (const frame of frames) {
      frame.bytes.set(card.bytes);
      this.#port.transmit(frame);
    }
  }

  /** Sends a frame as it is. */
  sendFrame(bytes: Uint8Array): void {
    this.#port.transmit(plainFrame(bytes));
  }

  /** Sends a TCP segment; false when there is no room. */
  sendTcp(from: Endpoint, to: Endpoint, segment: OutgoingSegment): boolean {
    const frame = this.#frame;
    const { family } = from.address;
    const tcp = ETHERNET_HEADER_BYTES + ipHeaderBytes(family);
    const header = { ...segment, sourcePort: from.port, destinationPort: to.port };
    const headerBytes = tcpHeaderBytes(header);
    const dataBytes = segment.data?.length ?? 0;
    const pseudoSum = writeIpHeader(
      frame,
      ETHERNET_HEADER_BYTES,
      { source: from.address, destination: to.address, protocol: PROTOCOL.TCP },
      headerBytes + dataBytes,
    );
    writeTcpHeader(frame, tcp, header);
    putU16(frame, tcp + TCP_CHECKSUM_OFFSET, fold(pseudoSum));
    segment.data?.queue.copyTo(frame, tcp + headerBytes, segment.data.offset, dataBytes);
    const isLarge = dataBytes > segment.segmentBytes;
    return this.#send(to.address, {
      bytes: frame.subarray(0, tcp + headerBytes + dataBytes),
      checksumStart: tcp,
      checksumOffset: TCP_CHECKSUM_OFFSET,
      segmentation: isLarge ? (family === 4 ? 'tcp4' : 'tcp6') : 'none',
      segmentBytes: isLarge ? segment.segmentBytes : 0,
    });
  }

  /** Sends a datagram. Lost when there is no room. */
  sendUdp(from: Endpoint, to: Endpoint, data: Uint8Array): void {
    const payload = new Uint8Array(UDP_HEADER_BYTES + data.length);
    writeUdpHeader(payload, 0, from.port, to.port, data.length);
    payload.set(data, UDP_HEADER_BYTES);
    this.sendPacket({ source: from.address, destination: to.address, protocol: PROTOCOL.UDP }, payload);
  }

  /** Sends a packet around `payload`, whose checksum is done here. `card` is where it goes to when not to the address's own. */
  sendPacket(header: IpHeader, payload: Uint8Array, card?: MacAddress): void {
    const ip = ETHERNET_HEADER_BYTES;
    const headerBytes = ipHeaderBytes(header.source.family);
    // The whole payload counts for the checksum, whatever is sent of it at once.
    const pseudoSum = writeIpHeader(this.#frame, ip, header, payload.length);
    if (header.protocol === PROTOCOL.UDP) {
      putU16(payload, UDP_CHECKSUM_OFFSET, fold(pseudoSum));
      finishChecksum({ ...plainFrame(payload), checksumStart: 0, checksumOffset: UDP_CHECKSUM_OFFSET });
    } else sumIcmp(payload, header.source.family, pseudoSum);
    if (headerBytes + payload.length > MTU_BYTES) return this.#sendPieces(header, payload);
    this.#frame.set(payload, ip + headerBytes);
    this.#send(header.destination, plainFrame(this.#frame.subarray(0, ip + headerBytes + payload.length)), card);
    return undefined;
  }

  #sendPieces(header: IpHeader, payload: Uint8Array): void {
    const { family } = header.source;
    const ip = ETHERNET_HEADER_BYTES;
    const extra = family === 4 ? 0 : IPV6_FRAGMENT_HEADER_BYTES;
    const dataAt = ip + ipHeaderBytes(family) + extra;
    // All pieces but the last are a multiple of 8 octets long.
    const room = (ip + MTU_BYTES - dataAt) & ~7;
    this.#fragmentId = (this.#fragmentId + 1) & 0xffff;
    for (let offset = 0; offset < payload.length; offset += room) {
      const piece = payload.subarray(offset, offset + room);
      const fragment = { id: this.#fragmentId, offset, more: offset + room < payload.length };
      if (family === 4) writeIpHeader(this.#frame, ip, { ...header, fragment }, piece.length);
      else {
        writeIpHeader(this.#frame, ip, { ...header, protocol: IPV6_FRAGMENT }, extra + piece.length);
        this.#frame.set([header.protocol, 0], dataAt - extra);
        putU16(this.#frame, dataAt - extra + 2, fragment.offset | Number(fragment.more));
        putU32(this.#frame, dataAt - extra + 4, fragment.id);
      }
      this.#frame.set(piece, dataAt);
      this.#send(header.destination, plainFrame(this.#frame.subarray(0, dataAt + piece.length)));
    }
  }

  /** Sends a frame that has everything but its Ethernet header. */
  #send(destination: IpAddress, frame: Frame, given?: MacAddress): boolean {
    const card = given ?? this.#cardOf(destination);
    const type = destination.family === 4 ? ETHERTYPE.IPV4 : ETHERTYPE.IPV6;
    writeEthernetHeader(frame.bytes, card ?? MacAddress.broadcast, this.#addressing.gatewayMac, type);
    if (card !== undefined) return this.#port.transmit(frame);
    this.#wait(destination, frame);
    return true;
  }

  #cardOf(address: IpAddress): MacAddress | undefined {
    const known = this.neighbors.get(address);
    if (known !== undefined) return known;
    if (address.family === 4)
      return address.equals(IPV4_BROADCAST) || address.equals(this.#addressing.broadcast4)
        ? MacAddress.broadcast
        : undefined;
    return address.equals(ALL_NODES6) ? ALL_NODES_MAC : undefined;
  }

  #wait(address: IpAddress, frame: Frame): void {
    const waiting = this.#waiting.get(address.key) ?? [];
    if (waiting.length === 0) {
      if (this.#waiting.size >= MAXIMUM_UNRESOLVED) {
        const [oldest] = this.#waiting.keys();
        if (oldest !== undefined) this.#waiting.delete(oldest);
      }
      this.#waiting.set(address.key, waiting);
    }
    // What waits longest is the least wanted by now.
    if (waiting.length === MAXIMUM_WAITING_FRAMES) waiting.shift();
    waiting.push({ ...frame, bytes: frame.bytes.slice() });
    this.#ask(address);
  }

  #ask(address: IpAddress): void {
    const { gatewayMac, gateway4, linkLocal6 } = this.#addressing;
    if (address.family === 4) return this.sendFrame(arpFrame(gatewayMac, gateway4, address, undefined));
    const group = solicitedNode(address);
    const header = {
      source: linkLocal6,
      destination: group.address,
      protocol: PROTOCOL.ICMPV6,
      hopLimit: DISCOVERY_HOP_LIMIT,
    };
    this.sendPacket(header, neighborSolicitation(address, gatewayMac), group.card);
    return undefined;
  }
}
