/**
 * The header in front of every frame in a queue of the network device (virtio 1.3, 5.1.6): what is left to do to the frame. Here the
 * driver's word becomes a Frame that can only be right, and a Frame becomes such a header.
 *
 *     u8 flags, u8 gso_type, le16 hdr_len, le16 gso_size, le16 csum_start, le16 csum_offset, le16 num_buffers
 */

import { ETHERNET_HEADER_BYTES, type Frame, type Segmentation } from '../../base/frames.ts';

/** With `num_buffers`, which only drivers of older versions leave out. */
export const NET_HEADER_BYTES = 12;
export const OLD_NET_HEADER_BYTES = 10;

/** Bits of `flags`. */
const NEEDS_CSUM = 1;
/** Values of `gso_type`; the bit GSO_ECN is for features that are not offered. */
const GSO = { NONE: 0, TCPV4: 1, TCPV6: 4 } as const;
const SEGMENTATIONS: ReadonlyMap<number, Segmentation> = new Map([
  [GSO.NONE, 'none'],
  [GSO.TCPV4, 'tcp4'],
  [GSO.TCPV6, 'tcp6'],
]);
const GSO_TYPES: Readonly<Record<Segmentation, number>> = { none: GSO.NONE, tcp4: GSO.TCPV4, tcp6: GSO.TCPV6 };

/** Octets of a checksum. */
const CHECKSUM_BYTES = 2;
/** A TCP header without options, and where it says how long it is. */
const TCP_HEADER_BYTES = 20;
const TCP_DATA_OFFSET = 12;

/** What the driver and the device agreed on about frames that the driver sends. */
export interface SendAgreement {
  readonly checksums: boolean;
  segments(segmentation: Segmentation): boolean;
}

/** The frame that a driver sends, or what is wrong with it. `header` holds at least OLD_NET_HEADER_BYTES. */
export function frameOf(header: Uint8Array, bytes: Uint8Array, agreed: SendAgreement): Frame | string {
  if (bytes.length < ETHERNET_HEADER_BYTES) return `is ${bytes.length} bytes long, shorter than its Ethernet header`;
  const flags = header[0] ?? 0;
  const segmentation = SEGMENTATIONS.get(header[1] ?? 0);
  if ((flags & NEEDS_CSUM) === 0) {
    if (segmentation !== 'none') return 'is to be segmented and has its checksum already';
    return { bytes, checksumStart: -1, checksumOffset: 0, segmentation, segmentBytes: 0 };
  }
  const checksumStart = little16(header, 6);
  const checksumOffset = little16(header, 8);
  if (!agreed.checksums) return 'wants a checksum, which was not negotiated';
  if (checksumStart + checksumOffset + CHECKSUM_BYTES > bytes.length) return 'wants a checksum outside of it';
  if (segmentation === undefined || !agreed.segments(segmentation))
    return `wants segmentation ${header[1] ?? 0}, which was not negotiated`;
  const segmentBytes = segmentation === 'none' ? 0 : little16(header, 4);
  if (segmentation !== 'none') {
    if (segmentBytes === 0) return 'is to be cut into segments of no size';
    if (checksumStart + TCP_HEADER_BYTES > bytes.length) return 'is to be segmented and has no TCP header';
  }
  return { bytes, checksumStart, checksumOffset, segmentation, segmentBytes };
}

/** Writes the header of a frame for the driver, which lies in `buffers` buffers. */
export function writeNetHeader(into: Uint8Array, frame: Frame, buffers: number): void {
  into.fill(0);
  if (frame.checksumStart >= 0) {
    into[0] = NEEDS_CSUM;
    putLittle16(into, 6, frame.checksumStart);
    putLittle16(into, 8, frame.checksumOffset);
  }
  if (frame.segmentation !== 'none') {
    const dataOffset = (frame.bytes[frame.checksumStart + TCP_DATA_OFFSET] ?? 0) >>> 4;
    into[1] = GSO_TYPES[frame.segmentation];
    putLittle16(into, 2, frame.checksumStart + 4 * dataOffset);
    putLittle16(into, 4, frame.segmentBytes);
  }
  if (into.length === NET_HEADER_BYTES) putLittle16(into, 10, buffers);
}

function little16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

function putLittle16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 0xff;
  bytes[at + 1] = value >>> 8;
}
