/**
 * IPv4 (RFC 791) and IPv6 (RFC 8200): where the bytes of a frame become an IpPacket that can only be right, and back. Both versions look
 * alike from here on.
 *
 *     frame --parseIp--> IpPacket { source, destination, protocol, payload }       writeIpHeader --> frame
 *
 * IPv6's extension headers are walked through, as far as a packet of a guest may have them; what carries no payload for us is refused.
 */

import { ETHERNET_HEADER_BYTES } from '../base/frames.ts';
import { IPV4_BYTES, IPV6_BYTES, IpAddress } from './addresses.ts';
import { complement, fold, pseudoHeaderSum, sumWords } from './checksum.ts';
import { ETHERTYPE, etherTypeOf } from './ethernet.ts';
import { putU16, putU32, u16, u32 } from './octets.ts';

export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58 } as const;

export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;
/** Hops that our packets may make; neighbour discovery has its own. */
export const DEFAULT_HOP_LIMIT = 64;

/** IPv6 extension headers (RFC 8200, 4). */
const EXTENSION = { HOP_BY_HOP: 0, ROUTING: 43, FRAGMENT: 44, DESTINATION: 60 } as const;
/** Extension headers that one packet may have. */
const MAXIMUM_EXTENSIONS = 8;
const MORE_FRAGMENTS = 0x2000;

/** What a packet says about being a piece of another one. */
export interface Fragment {
  readonly id: number;
  /** Octets of the payload that come before this piece's. */
  readonly offset: number;
  readonly more: boolean;
}

export interface IpPacket {
  readonly family: 4 | 6;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly hopLimit: number;
  /** What follows the headers; a view of the frame. */
  readonly payload: Uint8Array;
  readonly fragment: Fragment | undefined;
  /** The packet from its IP header on, for who has to quote it. */
  readonly bytes: Uint8Array;
  /** The sum of the transport's pseudo header for the whole payload. */
  readonly pseudoSum: number;
}

/** The packet in a frame; undefined when it carries none or a wrong one. Headers are checked, payload is not looked at. */
export function parseIp(frame: Uint8Array): IpPacket | undefined {
  switch (etherTypeOf(frame)) {
    case ETHERTYPE.IPV4:
      return parseIpv4(frame.subarray(ETHERNET_HEADER_BYTES));
    case ETHERTYPE.IPV6:
      return parseIpv6(frame.subarray(ETHERNET_HEADER_BYTES));
    default:
      return undefined;
  }
}

function parseIpv4(bytes: Uint8Array): IpPacket | undefined {
  const headerBytes = 4 * ((bytes[0] ?? 0) & 0xf);
  const totalBytes = u16(bytes, 2);
  if (bytes.length < IPV4_HEADER_BYTES || (bytes[0] ?? 0) >>> 4 !== 4 || headerBytes < IPV4_HEADER_BYTES)
    return undefined;
  if (totalBytes < headerBytes || totalBytes > bytes.length) return undefined;
  if (fold(sumWords(bytes, 0, headerBytes)) !== 0xffff) return undefined;
  const flags = u16(bytes, 6);
  const fragment = { id: u16(bytes, 4), offset: 8 * (flags & 0x1fff), more: (flags & MORE_FRAGMENTS) !== 0 };
  const protocol = bytes[9] ?? 0;
  const payload = bytes.subarray(headerBytes, totalBytes);
  return {
    family: 4,
    source: IpAddress.at(bytes, 12, 4),
    destination: IpAddress.at(bytes, 16, 4),
    protocol,
    hopLimit: bytes[8] ?? 0,
    payload,
    fragment: fragment.more || fragment.offset > 0 ? fragment : undefined,
    bytes: bytes.subarray(0, totalBytes),
    pseudoSum: pseudoHeaderSum(bytes, 12, IPV4_BYTES, protocol, payload.length),
  };
}

function parseIpv6(bytes: Uint8Array): IpPacket | undefined {
  const end = IPV6_HEADER_BYTES + u16(bytes, 4);
  if (bytes.length < IPV6_HEADER_BYTES || (bytes[0] ?? 0) >>> 4 !== 6 || end > bytes.length) return undefined;
  let protocol = bytes[6] ?? 0;
  let at = IPV6_HEADER_BYTES;
  let fragment: Fragment | undefined;
  for (let count = 0; isExtension(protocol); count++) {
    // A piece that does not begin the payload has no further headers of its own.
    if (count === MAXIMUM_EXTENSIONS || at + 8 > end || fragment !== undefined) return undefined;
    const next = bytes[at] ?? 0;
    if (protocol === EXTENSION.FRAGMENT) {
      const word = u16(bytes, at + 2);
      fragment = { id: u32(bytes, at + 4), offset: word & 0xfff8, more: (word & 1) !== 0 };
      at += 8;
    } else at += 8 + 8 * (bytes[at + 1] ?? 0);
    protocol = next;
  }
  if (at > end) return undefined;
  const payload = bytes.subarray(at, end);
  return {
    family: 6,
    source: IpAddress.at(bytes, 8, 6),
    destination: IpAddress.at(bytes, 24, 6),
    protocol,
    hopLimit: bytes[7] ?? 0,
    payload,
    // A fragment header on a packet that is whole is legal and says nothing (RFC 6946).
    fragment: fragment !== undefined && (fragment.more || fragment.offset > 0) ? fragment : undefined,
    bytes: bytes.subarray(0, end),
    pseudoSum: pseudoHeaderSum(bytes, 8, IPV6_BYTES, protocol, payload.length),
  };
}

function isExtension(protocol: number): boolean {
  return (
    protocol === EXTENSION.HOP_BY_HOP ||
    protocol === EXTENSION.ROUTING ||
    protocol === EXTENSION.FRAGMENT ||
    protocol === EXTENSION.DESTINATION
  );
}

/** What goes into a header. */
export interface IpHeader {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly hopLimit?: number;
  /** IPv4 only: identification of a datagram that is sent in pieces. */
  readonly fragment?: Fragment;
}

export function ipHeaderBytes(family: 4 | 6): number {
  return family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
}

/** Writes an IP header for `payloadBytes` at `at` and gives the sum of the pseudo header. */
export function writeIpHeader(into: Uint8Array, at: number, header: IpHeader, payloadBytes: number): number {
  const { source, destination, protocol, hopLimit = DEFAULT_HOP_LIMIT, fragment } = header;
  if (source.family === 4) {
    into[at] = 0x45;
    into[at + 1] = 0;
    putU16(into, at + 2, IPV4_HEADER_BYTES + payloadBytes);
    putU16(into, at + 4, fragment?.id ?? 0);
    // Whole datagrams must not be cut on their way (0x4000), which there is nobody to do here.
    putU16(into, at + 6, fragment ? (fragment.offset >>> 3) | (fragment.more ? MORE_FRAGMENTS : 0) : 0x4000);
    into[at + 8] = hopLimit;
    into[at + 9] = protocol;
    putU16(into, at + 10, 0);
    into.set(source.bytes, at + 12);
    into.set(destination.bytes, at + 16);
    putU16(into, at + 10, complement(sumWords(into, at, at + IPV4_HEADER_BYTES)));
    return pseudoHeaderSum(into, at + 12, IPV4_BYTES, protocol, payloadBytes);
  }
  putU32(into, at, 0x6000_0000);
  putU16(into, at + 4, payloadBytes);
  into[at + 6] = protocol;
  into[at + 7] = hopLimit;
  into.set(source.bytes, at + 8);
  into.set(destination.bytes, at + 24);
  return pseudoHeaderSum(into, at + 8, IPV6_BYTES, protocol, payloadBytes);
}
