/**
 * What of IPv6 neighbour discovery (RFC 4861) a router with one prefix says and hears: it answers for its own addresses, and tells the
 * prefix from which cards make their addresses (RFC 4862) and the name server (RFC 8106).
 */

import type { Addressing } from './addressing.ts';
import { IPV6_PREFIX_BITS } from './addressing.ts';
import { IPV6_BYTES, IpAddress, MAC_BYTES, MacAddress } from './addresses.ts';
import { MTU_BYTES } from '../base/frames.ts';
import { ICMPV6 } from './icmp.ts';
import { putU16, putU32 } from './octets.ts';

/** Every message of neighbour discovery has this hop limit, so that none can come from another network (RFC 4861, 3.1). */
export const DISCOVERY_HOP_LIMIT = 255;

const OPTION = { SOURCE_LINK: 1, TARGET_LINK: 2, PREFIX: 3, MTU: 5, RDNSS: 25 } as const;
/** Flags of a neighbour advertisement: router, solicited, override. */
const ADVERTISEMENT_FLAGS = 0xe000_0000;
const SOLICITED = 0x4000_0000;
/** On-link and for autonomous configuration. */
const PREFIX_FLAGS = 0xc0;
/** Seconds that what an advertisement says is good for: as long as may be (RFC 4861, 6.2.1), so that many may be missed. */
const ROUTER_LIFETIME_S = 9000;
const PREFIX_LIFETIME_S = 0xffff_ffff;
const NAME_SERVER_LIFETIME_S = 0xffff_ffff;

const NEIGHBOR_BYTES = 24;
const LINK_OPTION_BYTES = 8;

/** A neighbour solicitation or advertisement: whom it is about, and the card it names. */
export interface NeighborMessage {
  readonly target: IpAddress;
  readonly card: MacAddress | undefined;
}

export function parseNeighbor(message: Uint8Array): NeighborMessage | undefined {
  if (message.length < NEIGHBOR_BYTES || message[1] !== 0) return undefined;
  const wanted = message[0] === ICMPV6.NEIGHBOR_SOLICITATION ? OPTION.SOURCE_LINK : OPTION.TARGET_LINK;
  let card: MacAddress | undefined;
  for (let at = NEIGHBOR_BYTES; at + LINK_OPTION_BYTES <= message.length;) {
    const length = 8 * (message[at + 1] ?? 0);
    if (length === 0) return undefined;
    if (message[at] === wanted && length === LINK_OPTION_BYTES) card = MacAddress.at(message, at + 2);
    at += length;
  }
  return { target: IpAddress.at(message, 8, 6), card };
}

/** "I am `target`", the checksum still to do. Who asked from no address yet hears it as news to everybody (RFC 4861, 7.2.4). */
export function neighborAdvertisement(target: IpAddress, card: MacAddress, isSolicited: boolean): Uint8Array {
  const message = neighborMessage(ICMPV6.NEIGHBOR_ADVERTISEMENT, target, OPTION.TARGET_LINK, card);
  putU32(message, 4, isSolicited ? ADVERTISEMENT_FLAGS : ADVERTISEMENT_FLAGS - SOLICITED);
  return message;
}

/** "Who is `target`?", the checksum still to do. */
export function neighborSolicitation(target: IpAddress, card: MacAddress): Uint8Array {
  return neighborMessage(ICMPV6.NEIGHBOR_SOLICITATION, target, OPTION.SOURCE_LINK, card);
}

function neighborMessage(type: number, target: IpAddress, option: number, card: MacAddress): Uint8Array {
  const message = new Uint8Array(NEIGHBOR_BYTES + LINK_OPTION_BYTES);
  message[0] = type;
  message.set(target.bytes, 8);
  message.set([option, 1], NEIGHBOR_BYTES);
  message.set(card.bytes, NEIGHBOR_BYTES + 2);
  return message;
}

/** The group that a solicitation goes to (RFC 4291, 2.7.1). */
export function solicitedNode(target: IpAddress): { readonly address: IpAddress; readonly card: MacAddress } {
  const [a = 0, b = 0, c = 0] = target.bytes.subarray(IPV6_BYTES - 3);
  return {
    address: IpAddress.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c),
    card: MacAddress.at(Uint8Array.of(0x33, 0x33, 0xff, a, b, c), 0),
  };
}

/** "I am your router", the checksum still to do (RFC 4861, 4.2). */
export function routerAdvertisement({ gatewayMac, prefix6, dns6 }: Addressing): Uint8Array {
  const message = new Uint8Array(16 + LINK_OPTION_BYTES + 8 + 32 + 24);
  message[0] = ICMPV6.ROUTER_ADVERTISEMENT;
  message[4] = 64;
  putU16(message, 6, ROUTER_LIFETIME_S);
  let at = 16;
  message.set([OPTION.SOURCE_LINK, 1], at);
  message.set(gatewayMac.bytes.subarray(0, MAC_BYTES), at + 2);
  at += LINK_OPTION_BYTES;
  message.set([OPTION.MTU, 1], at);
  putU32(message, at + 4, MTU_BYTES);
  at += 8;
  message.set([OPTION.PREFIX, 4, IPV6_PREFIX_BITS, PREFIX_FLAGS], at);
  putU32(message, at + 4, PREFIX_LIFETIME_S);
  putU32(message, at + 8, PREFIX_LIFETIME_S);
  message.set(prefix6.bytes, at + 16);
  at += 32;
  message.set([OPTION.RDNSS, 3], at);
  putU32(message, at + 4, NAME_SERVER_LIFETIME_S);
  message.set(dns6.bytes, at + 8);
  return message;
}
