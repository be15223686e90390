/**
 * Writes the frames of a cable down as pcapng (draft-ietf-opsawg-pcapng, version 1.0), which Wireshark and tshark read.
 *
 *     machine's card -- FrameCapture -- socket of the switch            section header, interface, packet, packet ... statistics
 *                            \-> ByteSink
 *
 * Frames are written as they are on this cable: a large segment as one packet, as captures on Linux show it. Checksums that are left to
 * somebody else are done in the copy, so that a reader does not take them for damage.
 */

import type { Frame, FrameEndpoint, FramePort } from '../base/frames.ts';
import { MAXIMUM_FRAME_BYTES } from '../base/frames.ts';
import type { ByteSink } from '../base/ports.ts';
import { finishChecksum } from './checksum.ts';

const BLOCK = { SECTION_HEADER: 0x0a0d_0d0a, INTERFACE: 1, STATISTICS: 5, PACKET: 6 } as const;
const BYTE_ORDER_MAGIC = 0x1a2b_3c4d;
const VERSION_MAJOR = 1;
const LINKTYPE_ETHERNET = 1;
const OPTION = { END: 0, NAME: 2, FLAGS: 2, IF_RECEIVED: 4, IF_DROPPED: 5, APPLICATION: 4 } as const;
/** `epb_flags`: the card received it, the card sent it (4.3.1). */
const INBOUND = 1;
const OUTBOUND = 2;
const PACKET_HEADER_BYTES = 28;
const FLAGS_OPTION_BYTES = 12;

export interface CaptureParts {
  /** Where the file's bytes go; takes each block in one piece. */
  readonly sink: ByteSink;
  /** Microseconds since 1970. */
  readonly nowUs: () => number;
  /** Whether the sink takes more: what comes while it does not is left out and counted. */
  readonly hasRoom: () => boolean;
  /** The cable's name, as readers show it. */
  readonly name: string;
}

export class FrameCapture implements FramePort {
  readonly #parts: CaptureParts;
  readonly #port: FramePort;
  /** A frame of the card that is being sent, until it is known whether the network takes it. */
  #leaving: Frame | undefined;
  #written = 0;
  #dropped = 0;

  /** Sits in front of `port` and begins the file. */
  constructor(port: FramePort, parts: CaptureParts) {
    this.#port = port;
    this.#parts = parts;
    parts.sink.write(sectionHeader());
    parts.sink.write(interfaceDescription(parts.name));
  }

  /** Frames that were left out because the sink took no more. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Ends the file; call it last. */
  finish(): void {
    this.#parts.sink.write(statistics(this.#parts.nowUs(), this.#written + this.#dropped, this.#dropped));
  }

  // Towards the card.

  /** To the network the card looks as it is: whether it can wait, above all. */
  attach(card: FrameEndpoint): void {
    this.#port.attach({
      get takesChecksums() {
        return card.takesChecksums;
      },
      takesSegments: (segmentation) => card.takesSegments(segmentation),
      deliver: (frame) => {
        // What comes while a frame is being sent answers it.
        this.#writeLeaving();
        const isTaken = card.deliver(frame);
        if (isTaken) this.#write(frame, INBOUND);
        return isTaken;
      },
      ...(card.delivered && { delivered: () => card.delivered?.() }),
      ...(card.roomAgain && { roomAgain: () => card.roomAgain?.() }),
    });
  }

  transmit(frame: Frame): boolean {
    this.#leaving = frame;
    const isTaken = this.#port.transmit(frame);
    if (isTaken) this.#writeLeaving();
    this.#leaving = undefined;
    return isTaken;
  }

  transmitted(): void {
    this.#port.transmitted();
  }

  roomAgain(): void {
    this.#port.roomAgain();
  }

  #writeLeaving(): void {
    const frame = this.#leaving;
    this.#leaving = undefined;
    if (frame !== undefined) this.#write(frame, OUTBOUND);
  }

  #write(frame: Frame, direction: number): void {
    const { sink, nowUs, hasRoom } = this.#parts;
    if (!hasRoom()) {
      this.#dropped++;
      return;
    }
    this.#written++;
    const { length } = frame.bytes;
    const padded = (length + 3) & ~3;
    const block = newBlock(BLOCK.PACKET, PACKET_HEADER_BYTES + padded + FLAGS_OPTION_BYTES + 4 + 4);
    const us = nowUs();
    block.setUint32(8, 0, true);
    block.setUint32(12, Math.floor(us / 2 ** 32), true);
    block.setUint32(16, us % 2 ** 32, true);
    block.setUint32(20, length, true);
    block.setUint32(24, length, true);
    const copy = new Uint8Array(block.buffer, PACKET_HEADER_BYTES, length);
    copy.set(frame.bytes);
    finishChecksum({ ...frame, bytes: copy });
    const options = PACKET_HEADER_BYTES + padded;
    putOption(block, options, OPTION.FLAGS, 4);
    block.setUint32(options + 4, direction, true);
    sink.write(new Uint8Array(block.buffer));
  }
}

/** A block of this size with its type and both of its lengths in place (3.1). */
function newBlock(type: number, bytes: number): DataView<ArrayBuffer> {
  const block = new DataView(new ArrayBuffer(bytes));
  block.setUint32(0, type, true);
  block.setUint32(4, bytes, true);
  block.setUint32(bytes - 4, bytes, true);
  return block;
}

function putOption(block: DataView, at: number, code: number, length: number): void {
  block.setUint16(at, code, true);
  block.setUint16(at + 2, length, true);
}

function putText(block: DataView, at: number, code: number, text: Uint8Array): void {
  putOption(block, at, code, text.length);
  new Uint8Array(block.buffer).set(text, at + 4);
}

function sectionHeader(): Uint8Array {
  const application = new TextEncoder().encode('Ringfence');
  const padded = (application.length + 3) & ~3;
  const block = newBlock(BLOCK.SECTION_HEADER, 24 + 4 + padded + 4 + 4);
  block.setUint32(8, BYTE_ORDER_MAGIC, true);
  block.setUint16(12, VERSION_MAJOR, true);
  // The section's length is not known beforehand: -1.
  block.setUint32(16, 0xffff_ffff, true);
  block.setUint32(20, 0xffff_ffff, true);
  putText(block, 24, OPTION.APPLICATION, application);
  return new Uint8Array(block.buffer);
}

function interfaceDescription(name: string): Uint8Array {
  const text = new TextEncoder().encode(name);
  const padded = (text.length + 3) & ~3;
  const block = newBlock(BLOCK.INTERFACE, 16 + 4 + padded + 4 + 4);
  block.setUint16(8, LINKTYPE_ETHERNET, true);
  block.setUint32(12, MAXIMUM_FRAME_BYTES, true);
  putText(block, 16, OPTION.NAME, text);
  return new Uint8Array(block.buffer);
}

function statistics(us: number, received: number, dropped: number): Uint8Array {
  const block = newBlock(BLOCK.STATISTICS, 20 + 12 + 12 + 4 + 4);
  block.setUint32(12, Math.floor(us / 2 ** 32), true);
  block.setUint32(16, us % 2 ** 32, true);
  putOption(block, 20, OPTION.IF_RECEIVED, 8);
  block.setUint32(24, received, true);
  putOption(block, 32, OPTION.IF_DROPPED, 8);
  block.setUint32(36, dropped, true);
  return new Uint8Array(block.buffer);
}
