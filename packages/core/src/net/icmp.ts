/** ICMP (RFC 792) and ICMPv6 (RFC 4443): echoes, and the news that something cannot be reached. */

import { complement, isSound, sumWords } from './checksum.ts';
import { IPV4_HEADER_BYTES, type IpPacket } from './ip.ts';
import { putU16 } from './octets.ts';

export const ICMP = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8 } as const;
export const ICMPV6 = {
  UNREACHABLE: 1,
  ECHO: 128,
  ECHO_REPLY: 129,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOR_SOLICITATION: 135,
  NEIGHBOR_ADVERTISEMENT: 136,
} as const;

export type UnreachableReason = 'network' | 'host' | 'port' | 'prohibited';
/** Codes of "destination unreachable" (RFC 792; RFC 1812, 5.2.7.1) and of the same in IPv6 (RFC 4443, 3.1). */
const CODES: Readonly<Record<UnreachableReason, readonly [ipv4: number, ipv6: number]>> = {
  network: [0, 0],
  host: [1, 3],
  port: [3, 4],
  prohibited: [13, 1],
};

export const ICMP_HEADER_BYTES = 8;
/** What of the packet goes back with the news: enough to know the ports (RFC 792), and for IPv6 as much as fits the smallest MTU. */
const QUOTED_BYTES4 = IPV4_HEADER_BYTES + 40 + 8;
const QUOTED_BYTES6 = 1280 - 40 - ICMP_HEADER_BYTES;

export function quotable({ family, bytes }: IpPacket): Uint8Array {
  return bytes.slice(0, family === 4 ? QUOTED_BYTES4 : QUOTED_BYTES6);
}

/** Whether the checksum is right. IPv6's covers the pseudo header. */
export function isSoundIcmp({ family, payload, pseudoSum }: IpPacket): boolean {
  return payload.length >= 4 && isSound(payload, family === 4 ? 0 : pseudoSum);
}

/** The checksum still to do. */
export function unreachableMessage(family: 4 | 6, reason: UnreachableReason, quoted: Uint8Array): Uint8Array {
  const message = new Uint8Array(ICMP_HEADER_BYTES + quoted.length);
  message[0] = family === 4 ? ICMP.UNREACHABLE : ICMPV6.UNREACHABLE;
  message[1] = CODES[reason][family === 4 ? 0 : 1];
  message.set(quoted, ICMP_HEADER_BYTES);
  return message;
}

/** The reply to an echo request, the checksum still to do; undefined when it is none. */
export function echoReply({ family, payload }: IpPacket): Uint8Array | undefined {
  const request = family === 4 ? ICMP.ECHO : ICMPV6.ECHO;
  if (payload.length < ICMP_HEADER_BYTES || payload[0] !== request || payload[1] !== 0) return undefined;
  const reply = payload.slice();
  reply[0] = family === 4 ? ICMP.ECHO_REPLY : ICMPV6.ECHO_REPLY;
  return reply;
}

/** Puts the checksum in. */
export function sumIcmp(message: Uint8Array, family: 4 | 6, pseudoSum: number): void {
  putU16(message, 2, 0);
  putU16(message, 2, complement(sumWords(message, 0, message.length, family === 4 ? 0 : pseudoSum)));
}

/** Whether a packet is itself the news of a failure: about such there is no news (RFC 1122, 3.2.2; RFC 4443, 2.4). */
export function isIcmpError({ family, payload }: IpPacket): boolean {
  const [type = 0] = payload;
  return family === 4 ? ![ICMP.ECHO, ICMP.ECHO_REPLY].includes(type as 0) : type < 128;
}
