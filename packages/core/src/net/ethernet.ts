/** Ethernet II frames (IEEE 802.3, 3.1.1): destination, source, type, and what it carries. */

import { ETHERNET_HEADER_BYTES } from '../base/frames.ts';
import type { MacAddress } from './addresses.ts';
import { putU16, u16 } from './octets.ts';

export const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const;
export type EtherType = (typeof ETHERTYPE)[keyof typeof ETHERTYPE];

export function etherTypeOf(frame: Uint8Array): number {
  return u16(frame, 12);
}

export function writeEthernetHeader(into: Uint8Array, to: MacAddress, from: MacAddress, type: EtherType): void {
  into.set(to.bytes, 0);
  into.set(from.bytes, 6);
  putU16(into, 12, type);
}

/** A frame around `payload`. */
export function ethernetFrame(to: MacAddress, from: MacAddress, type: EtherType, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ETHERNET_HEADER_BYTES + payload.length);
  writeEthernetHeader(frame, to, from, type);
  frame.set(payload, ETHERNET_HEADER_BYTES);
  return frame;
}
