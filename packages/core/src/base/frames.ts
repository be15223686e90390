/**
 * Ethernet frames between a network card and a network, as both see them: the ports that let `machine` and `net` meet without knowing
 * each other.
 *
 *     network card (FrameEndpoint)  --transmit-->  FramePort (a socket of the network)
 *                                   <--deliver---
 *
 * A frame may still be unfinished: its checksum not summed, its length that of many segments. Who made it says so, and whoever hands it to
 * somebody that takes no such frames finishes it first. This is what makes large transfers cheap (virtio 1.3, 5.1.6.2).
 */

/** How a frame that is too long for the wire has to be cut: not at all, or as TCP over IPv4 or IPv6. */
export type Segmentation = 'none' | 'tcp4' | 'tcp6';

/** Octets of an Ethernet header: destination, source, type. */
export const ETHERNET_HEADER_BYTES = 14;
/** What an unsegmented frame carries at the most behind its Ethernet header. */
export const MTU_BYTES = 1500;
/** The longest frame there is, segmentation left to do: an Ethernet header with a VLAN tag, an IPv6 header, 65535 octets behind it. */
export const MAXIMUM_FRAME_BYTES = ETHERNET_HEADER_BYTES + 4 + 40 + 65_535;

export interface Frame {
  /** From the destination address to the end of the payload, without frame check sequence. Readable only during the call it came with. */
  readonly bytes: Uint8Array;
  /**
   * Where the octets begin whose checksum is left to do, up to the frame's end; -1 when none is. The field for it holds the sum of the
   * pseudo header meanwhile. INVARIANT: the field lies in the frame.
   */
  readonly checksumStart: number;
  /** Where the field is, from `checksumStart`. */
  readonly checksumOffset: number;
  /** INVARIANT: 'none' unless a checksum is left to do. */
  readonly segmentation: Segmentation;
  /** Payload of one segment where there is segmentation to do; at least 1. */
  readonly segmentBytes: number;
}

/** What is plugged into a network. */
export interface FrameEndpoint {
  /** Whether it takes frames with a checksum left to do. */
  readonly takesChecksums: boolean;
  /** Whether it takes frames that are to be cut so. */
  takesSegments(segmentation: Segmentation): boolean;
  /** Takes a frame, or says false when it has no room: then it calls `FramePort.roomAgain` later. */
  deliver(frame: Frame): boolean;
  /** A burst of frames is over: an endpoint that answers may answer all of them at once. */
  delivered?(): void;
  /**
   * The network has room again where a `transmit` was refused. An endpoint without this method is never refused: what it sends waits
   * inside the network, and is lost when too much waits.
   */
  roomAgain?(): void;
}

/** The network's end of the cable. */
export interface FramePort {
  /** Called once, by the endpoint that is plugged in. */
  attach(endpoint: FrameEndpoint): void;
  /** Sends a frame; false when it was refused. */
  transmit(frame: Frame): boolean;
  /** Nothing more is to be sent for the moment: who answers may answer everything at once. */
  transmitted(): void;
  /** The endpoint has room again. */
  roomAgain(): void;
}

/** A frame that is complete as it is. */
export function plainFrame(bytes: Uint8Array): Frame {
  return { bytes, checksumStart: -1, checksumOffset: 0, segmentation: 'none', segmentBytes: 0 };
}
