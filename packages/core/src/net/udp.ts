/** UDP datagrams (RFC 768). */

import { isSound } from './checksum.ts';
import type { IpPacket } from './ip.ts';
import { putU16, u16 } from './octets.ts';

export const UDP_HEADER_BYTES = 8;
export const UDP_CHECKSUM_OFFSET = 6;

export interface UdpDatagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

/** The datagram of a packet; undefined when it is none or damaged. `summed` is false when its checksum is still to be done. */
export function parseUdp({ payload, family, pseudoSum }: IpPacket, summed: boolean): UdpDatagram | undefined {
  const length = u16(payload, 4);
  if (payload.length < UDP_HEADER_BYTES || length < UDP_HEADER_BYTES || length > payload.length) return undefined;
  const checksum = u16(payload, UDP_CHECKSUM_OFFSET);
  if (summed) {
    // IPv4 may go without a checksum, IPv6 may not (RFC 8200, 8.1).
    if (checksum === 0 ? family === 6 : length !== payload.length || !isSound(payload, pseudoSum)) return undefined;
  }
  return {
    sourcePort: u16(payload, 0),
    destinationPort: u16(payload, 2),
    data: payload.subarray(UDP_HEADER_BYTES, length),
  };
}

/** Writes the header at `at`, its checksum zero. */
export function writeUdpHeader(into: Uint8Array, at: number, from: number, to: number, dataBytes: number): void {
  putU16(into, at, from);
  putU16(into, at + 2, to);
  putU16(into, at + 4, UDP_HEADER_BYTES + dataBytes);
  putU16(into, at + UDP_CHECKSUM_OFFSET, 0);
}
