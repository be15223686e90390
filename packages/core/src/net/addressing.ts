/**
 * Who has which address on a network with a gateway. As on QEMU's user network, so that people's habits work: the gateway 10.0.2.2 is also
 * the host itself, names are asked of 10.0.2.3, and the first machine is 10.0.2.15.
 */

import { IpAddress, MacAddress } from './addresses.ts';
import { assert } from '../base/assert.ts';

export const IPV4_PREFIX_BITS = 24;
export const IPV6_PREFIX_BITS = 64;
/** Host numbers for machines, of 10.0.2.0/24. */
const FIRST_GUEST = 15;
const LAST_GUEST = 254;
/** Machines that can have an address. */
export const MAXIMUM_LEASES = LAST_GUEST - FIRST_GUEST + 1;

export interface Addressing {
  readonly gatewayMac: MacAddress;
  readonly gateway4: IpAddress;
  readonly dns4: IpAddress;
  readonly netmask4: IpAddress;
  readonly broadcast4: IpAddress;
  readonly gateway6: IpAddress;
  readonly dns6: IpAddress;
  readonly prefix6: IpAddress;
  /** What routers call themselves (RFC 4861, 4.2). */
  readonly linkLocal6: IpAddress;
}

function ip(text: string): IpAddress {
  const address = IpAddress.parse(text);
  assert(address !== undefined, `${text} is no address`);
  return address;
}

function mac(text: string): MacAddress {
  const address = MacAddress.parse(text);
  assert(address !== undefined, `${text} is no address of a card`);
  return address;
}

export const USER_ADDRESSING: Addressing = {
  gatewayMac: mac('52:55:0a:00:02:02'),
  gateway4: ip('10.0.2.2'),
  dns4: ip('10.0.2.3'),
  netmask4: ip('255.255.255.0'),
  broadcast4: ip('10.0.2.255'),
  gateway6: ip('fd00::2'),
  dns6: ip('fd00::3'),
  prefix6: ip('fd00::'),
  linkLocal6: ip('fe80::2'),
};

export const IPV4_BROADCAST = ip('255.255.255.255');
export const LOOPBACK4 = ip('127.0.0.1');
export const LOOPBACK6 = ip('::1');
/** All nodes of the link (RFC 4291, 2.7.1), and the addresses that Ethernet carries IPv6 multicast in (RFC 2464, 7). */
export const ALL_NODES6 = ip('ff02::1');
export const ALL_NODES_MAC = mac('33:33:00:00:00:01');

/** The `index`-th address for machines. */
export function guestAddress({ gateway4 }: Addressing, index: number): IpAddress {
  const bytes = [...gateway4.bytes];
  bytes[3] = FIRST_GUEST + index;
  return IpAddress.of(...bytes);
}

/** The address that a card gives itself from a prefix (RFC 4291, appendix A; what Linux does unless told otherwise). */
export function autoconfigured(prefix: IpAddress, { bytes }: MacAddress): IpAddress {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = bytes;
  return IpAddress.of(...prefix.bytes.subarray(0, 8), a ^ 2, b, c, 0xff, 0xfe, d, e, f);
}

/** Of the cards of machines; QEMU's, counted up. */
export function guestMac(index: number): MacAddress {
  return mac(`52:54:00:12:34:${((0x56 + index) & 0xff).toString(16).padStart(2, '0')}`);
}
