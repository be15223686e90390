/** ARP for IPv4 over Ethernet (RFC 826). */

import { IPV4_BYTES, IpAddress, MAC_BYTES, MacAddress } from './addresses.ts';
import { ETHERNET_HEADER_BYTES } from '../base/frames.ts';
import { ETHERTYPE, ethernetFrame } from './ethernet.ts';
import { putU16, u16 } from './octets.ts';

export const ARP = { REQUEST: 1, REPLY: 2 } as const;
const ETHERNET = 1;
const ARP_BYTES = 28;

export interface ArpMessage {
  readonly operation: number;
  readonly senderMac: MacAddress;
  readonly sender: IpAddress;
  readonly target: IpAddress;
}

export function parseArp(frame: Uint8Array): ArpMessage | undefined {
  const bytes = frame.subarray(ETHERNET_HEADER_BYTES);
  const isRight =
    bytes.length >= ARP_BYTES &&
    u16(bytes, 0) === ETHERNET &&
    u16(bytes, 2) === ETHERTYPE.IPV4 &&
    bytes[4] === MAC_BYTES &&
    bytes[5] === IPV4_BYTES;
  if (!isRight) return undefined;
  return {
    operation: u16(bytes, 6),
    senderMac: MacAddress.at(bytes, 8),
    sender: IpAddress.at(bytes, 14, 4),
    target: IpAddress.at(bytes, 24, 4),
  };
}

/** A frame: a request to everybody when `targetMac` is undefined, else the reply to that card. */
export function arpFrame(
  senderMac: MacAddress,
  sender: IpAddress,
  target: IpAddress,
  targetMac: MacAddress | undefined,
): Uint8Array {
  const bytes = new Uint8Array(ARP_BYTES);
  putU16(bytes, 0, ETHERNET);
  putU16(bytes, 2, ETHERTYPE.IPV4);
  bytes[4] = MAC_BYTES;
  bytes[5] = IPV4_BYTES;
  putU16(bytes, 6, targetMac === undefined ? ARP.REQUEST : ARP.REPLY);
  bytes.set(senderMac.bytes, 8);
  bytes.set(sender.bytes, 14);
  if (targetMac !== undefined) bytes.set(targetMac.bytes, 18);
  bytes.set(target.bytes, 24);
  return ethernetFrame(targetMac ?? MacAddress.broadcast, senderMac, ETHERTYPE.ARP, bytes);
}
