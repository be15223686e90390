/** TCP segments (RFC 9293, 3.1): from the payload of a packet to something that can only be right, and the header back. */

import { putU16, putU32, u16, u32 } from './octets.ts';

export const TCP_HEADER_BYTES = 20;
/** Where the checksum is. */
export const TCP_CHECKSUM_OFFSET = 16;

export const TCP = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;

/** Option kinds: maximum segment size (3.7.1), window scale (RFC 7323, 2). */
const OPTION = { END: 0, NOP: 1, MSS: 2, WINDOW_SCALE: 3 } as const;
/** The largest shift (RFC 7323, 2.3). */
const MAXIMUM_WINDOW_SCALE = 14;

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  /** As it stands in the header, not yet scaled. */
  readonly window: number;
  readonly data: Uint8Array;
  /** Undefined when the option is absent. */
  readonly maximumSegmentBytes: number | undefined;
  readonly windowScale: number | undefined;
}

export function parseTcp(payload: Uint8Array): TcpSegment | undefined {
  const headerBytes = 4 * ((payload[12] ?? 0) >>> 4);
  if (payload.length < TCP_HEADER_BYTES || headerBytes < TCP_HEADER_BYTES || headerBytes > payload.length)
    return undefined;
  const flags = payload[13] ?? 0;
  const options = (flags & TCP.SYN) === 0 ? NO_OPTIONS : readOptions(payload, headerBytes);
  return {
    sourcePort: u16(payload, 0),
    destinationPort: u16(payload, 2),
    sequence: u32(payload, 4),
    acknowledgement: u32(payload, 8),
    flags,
    window: u16(payload, 14),
    data: payload.subarray(headerBytes),
    ...options,
  };
}

type Options = Pick<TcpSegment, 'maximumSegmentBytes' | 'windowScale'>;
const NO_OPTIONS: Options = { maximumSegmentBytes: undefined, windowScale: undefined };

/** The options that matter; what is cut short or senseless is passed over. */
function readOptions(header: Uint8Array, end: number): Options {
  let { maximumSegmentBytes, windowScale } = NO_OPTIONS;
  for (let at = TCP_HEADER_BYTES; at < end;) {
    const kind = header[at] ?? 0;
    if (kind === OPTION.END) break;
    if (kind === OPTION.NOP) {
      at++;
      continue;
    }
    const length = header[at + 1] ?? 0;
    if (length < 2 || at + length > end) break;
    if (kind === OPTION.MSS && length === 4) maximumSegmentBytes = u16(header, at + 2);
    if (kind === OPTION.WINDOW_SCALE && length === 3) windowScale = Math.min(header[at + 2] ?? 0, MAXIMUM_WINDOW_SCALE);
    at += length;
  }
  return { maximumSegmentBytes, windowScale };
}

/** What goes into a header; options only with SYN. */
export interface TcpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  readonly maximumSegmentBytes?: number | undefined;
  readonly windowScale?: number | undefined;
}

export function tcpHeaderBytes({ maximumSegmentBytes, windowScale }: TcpHeader): number {
  return TCP_HEADER_BYTES + (maximumSegmentBytes === undefined ? 0 : 4) + (windowScale === undefined ? 0 : 4);
}

/** Writes the header at `at`, its checksum zero. */
export function writeTcpHeader(into: Uint8Array, at: number, header: TcpHeader): void {
  const { maximumSegmentBytes, windowScale } = header;
  putU16(into, at, header.sourcePort);
  putU16(into, at + 2, header.destinationPort);
  putU32(into, at + 4, header.sequence);
  putU32(into, at + 8, header.acknowledgement);
  into[at + 12] = (tcpHeaderBytes(header) / 4) << 4;
  into[at + 13] = header.flags;
  putU16(into, at + 14, header.window);
  putU32(into, at + TCP_CHECKSUM_OFFSET, 0);
  let option = at + TCP_HEADER_BYTES;
  if (maximumSegmentBytes !== undefined) {
    into[option] = OPTION.MSS;
    into[option + 1] = 4;
    putU16(into, option + 2, maximumSegmentBytes);
    option += 4;
  }
  if (windowScale !== undefined) into.set([OPTION.NOP, OPTION.WINDOW_SCALE, 3, windowScale], option);
}
