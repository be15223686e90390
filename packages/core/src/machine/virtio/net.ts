/**
 * The network device (virtio 1.3, 5.1): a card on a cable that ends in a FramePort.
 *
 *     queues: 0, 1 pair 0 (receive, transmit)   2, 3 pair 1 ...   the last: control (2 while the driver uses one pair only)
 *
 * Checksums and segmentation are left to whoever needs them done: the driver sends frames of 64 KiB with the checksum not summed, and takes
 * such frames. What the driver has no buffers for is refused, not lost: the network hears when there is room again.
 *
 * Where the machine polls it between two stretches of execution, it spares the guest notifications and interrupts: after one notification it
 * looks by itself for what follows in the same stretch, and buffers of frames that were sent go back together (net-completions.ts).
 */

import { assert } from '../../base/assert.ts';
import { MAXIMUM_FRAME_BYTES, MTU_BYTES } from '../../base/frames.ts';
import type { Frame, FrameEndpoint, FramePort, Segmentation } from '../../base/frames.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize } from '../device.ts';
import { HeldCompletions, IDLE_HOLD_NS } from './net-completions.ts';
import { CONTROL_ACK, parseControlCommand } from './net-control.ts';
import type { ControlCommand } from './net-control.ts';
import { FlowTable } from './net-flows.ts';
import { NET_HEADER_BYTES, OLD_NET_HEADER_BYTES, frameOf, writeNetHeader } from './net-header.ts';
import type { SendAgreement } from './net-header.ts';
import { MAC_BYTES, ReceiveFilter } from './net-receive-filter.ts';
import { VIRTIO_F } from './features.ts';
import type { UsedChain, Virtqueue } from './queue.ts';
import { VIRTIO_ID, readLittleEndian } from './virtio-device.ts';
import type { VirtioDevice, VirtioDriver } from './virtio-device.ts';

/** Feature bits (5.1.3). */
export const VIRTIO_NET_F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
} as const;

/** As many buffers as with QEMU. */
const QUEUE_SIZE = 256;
const CONTROL_QUEUE_SIZE = 64;
/** Queue pairs that one device may have: one for each processor there can be. */
export const MAXIMUM_QUEUE_PAIRS = 8;

/** struct virtio_net_config up to `mtu` (5.1.4). */
const CONFIGURATION = { mac: 0, status: 6, maxVirtqueuePairs: 8, mtu: 10, end: 12 };
/** Bits of `status`. */
const LINK_UP = 1;
const ANNOUNCE = 2;

/** Features that the driver can give up and take up while it runs (5.1.6.5.5). */
const GUEST_OFFLOADS = [VIRTIO_NET_F.GUEST_CSUM, VIRTIO_NET_F.GUEST_TSO4, VIRTIO_NET_F.GUEST_TSO6];
const EVERY_GUEST_OFFLOAD = GUEST_OFFLOADS.reduce((bits, feature) => bits | (1 << feature), 0);

const GUEST_SEGMENTS: Readonly<Record<Segmentation, number>> = {
  none: VIRTIO_NET_F.GUEST_CSUM,
  tcp4: VIRTIO_NET_F.GUEST_TSO4,
  tcp6: VIRTIO_NET_F.GUEST_TSO6,
};
const HOST_SEGMENTS: Readonly<Record<Segmentation, number>> = {
  none: VIRTIO_NET_F.CSUM,
  tcp4: VIRTIO_NET_F.HOST_TSO4,
  tcp6: VIRTIO_NET_F.HOST_TSO6,
};

export interface VirtioNetParts {
  /** The card's address, of 6 octets. */
  readonly mac: Uint8Array;
  readonly port: FramePort;
  /** Gets the bytes of the frames that it sent and received. */
  readonly counts?: { bytes: number } | undefined;
  /** From 1 to MAXIMUM_QUEUE_PAIRS; 1 when absent. */
  readonly queuePairs?: number;
  /** Monotonic nanoseconds. Who gives it calls `poll` whenever the guest has executed for a while, and before it waits. */
  readonly nowNs?: () => number;
}

export class VirtioNet implements VirtioDevice, FrameEndpoint {
  readonly kind = 'virtio-net';
  readonly deviceType = VIRTIO_ID.NETWORK;
  readonly features: readonly number[];
  readonly queueSizes: readonly number[];
  readonly #port: FramePort;
  readonly #pairs: number;
  /** The address as the card was made with; the driver may give it another. */
  readonly #factoryMac: Uint8Array;
  #driver: VirtioDriver | undefined;
  readonly #counts: { bytes: number };

  #mac: Uint8Array;
  readonly #filter = new ReceiveFilter();
  readonly #flows: FlowTable;
  /** Queue pairs that the driver uses. */
  #usedPairs = 1;
  /** Guest offloads in force, as bits of features. */
  #guestOffloads = EVERY_GUEST_OFFLOAD;
  /** The driver is asked to tell the network its address anew, and has not done it yet. */
  #announcing = false;

  /** Of each transmit queue. INVARIANT: nothing is held without a clock. */
  readonly #held: readonly HeldCompletions[];
  readonly #nowNs: (() => number) | undefined;
  /** Something was sent since the last `poll`, and the driver does not notify of what follows. */
  #looksAgain = false;

  #quiesced = false;
  /** A saved state was taken over, and the network may be another one. */
  #moved = false;
  readonly #header = new Uint8Array(NET_HEADER_BYTES);
  readonly #frame = new Uint8Array(MAXIMUM_FRAME_BYTES);
  readonly #agreement: SendAgreement;

  constructor({ mac, port, counts = { bytes: 0 }, queuePairs = 1, nowNs }: VirtioNetParts) {
    assert(mac.length === MAC_BYTES, 'a network card has an address of 6 octets');
    assert(
      queuePairs >= 1 && queuePairs <= MAXIMUM_QUEUE_PAIRS,
      `a network card cannot have ${queuePairs} queue pairs`,
    );
    this.#port = port;
    this.#counts = counts;
    this.#pairs = queuePairs;
    this.#factoryMac = mac;
    this.#mac = mac.slice();
    this.#flows = new FlowTable(queuePairs);
    this.#nowNs = nowNs;
    this.#held = Array.from({ length: queuePairs }, () => new HeldCompletions());
    const { MQ, ...always } = VIRTIO_NET_F;
    this.features = [...Object.values(always), ...(queuePairs > 1 ? [MQ] : [])];
    this.queueSizes = [...Array.from({ length: 2 * queuePairs }, () => QUEUE_SIZE), CONTROL_QUEUE_SIZE];
    const accepted = (feature: number): boolean => this.#driver?.accepted(feature) === true;
    this.#agreement = {
      get checksums(): boolean {
        return accepted(VIRTIO_NET_F.CSUM);
      },
      segments: (segmentation) => accepted(HOST_SEGMENTS[segmentation]),
    };
    port.attach(this);
  }

  attach(driver: VirtioDriver): void {
    this.#driver = driver;
  }

  activate(): void {
    this.#lookAtEverything();
  }

  notify(queueIndex: number): void {
    if (queueIndex === this.#controlIndex) this.#takeCommands();
    else if (queueIndex % 2 === 1) this.#notified(queueIndex);
    else if (!this.#quiesced) this.#port.roomAgain();
  }

  readConfiguration(offset: number, size: AccessSize): number {
    const bytes = new Uint8Array(CONFIGURATION.end);
    const fields = new DataView(bytes.buffer);
    bytes.set(this.#mac, CONFIGURATION.mac);
    fields.setUint16(CONFIGURATION.status, LINK_UP | (this.#announcing ? ANNOUNCE : 0), true);
    fields.setUint16(CONFIGURATION.maxVirtqueuePairs, this.#pairs, true);
    fields.setUint16(CONFIGURATION.mtu, MTU_BYTES, true);
    return readLittleEndian(bytes, offset, size);
  }

  resetQueue(queueIndex: number): undefined {
    if (queueIndex % 2 === 1) this.#held[queueIndex >> 1]?.forget();
  }

  writeConfiguration(): void {
    this.#driver?.complain('the driver wrote to a part of the configuration that is read-only');
  }

  /** What was sent since the guest was notified last, and what was held back for long or is much. */
  poll(): void {
    if (this.#looksAgain) {
      this.#looksAgain = false;
      for (let pair = 0; pair < this.#pairs; pair++) this.#send(2 * pair + 1);
    }
    for (const [pair, held] of this.#held.entries()) {
      if (!held.isEmpty && (held.isMuch || held.isDue(this.#nowNs?.() ?? 0))) this.#giveBack(pair);
    }
  }

  /** Nanoseconds until `poll` has something to do: now, when frames may have followed the one that was notified of. */
  dueInNs(): number {
    if (this.#looksAgain) return 0;
    return this.#held.every(({ isEmpty }) => isEmpty) ? Infinity : IDLE_HOLD_NS;
  }

  reset(): undefined {
    this.#forgetHeld();
    this.#mac = this.#factoryMac.slice();
    this.#filter.reset();
    this.#flows.reset();
    this.#usedPairs = 1;
    this.#guestOffloads = EVERY_GUEST_OFFLOAD;
    this.#announcing = false;
    this.#moved = false;
  }

  /** Nothing is ever under way here; but what the network does from now on must not reach the guest. */
  quiesce(): Promise<void> {
    for (let pair = 0; pair < this.#pairs; pair++) this.#giveBack(pair);
    this.#quiesced = true;
    return Promise.resolve();
  }

  resume(): void {
    this.#quiesced = false;
    if (this.#moved && this.#driver?.live === true && this.#driver.accepted(VIRTIO_NET_F.GUEST_ANNOUNCE)) {
      this.#announcing = true;
      this.#driver.configurationChanged();
    }
    this.#moved = false;
    this.#lookAtEverything();
  }

  save(): Saved {
    return {
      mac: this.#mac.slice(),
      filter: this.#filter.save(),
      flows: this.#flows.save(),
      usedPairs: this.#usedPairs,
      guestOffloads: this.#guestOffloads,
      announcing: this.#announcing,
    };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.kind);
    const mac = reader.field('mac').bytes(MAC_BYTES);
    const restoreFilter = this.#filter.restorer(reader.field('filter'));
    const restoreFlows = this.#flows.restorer(reader.field('flows'));
    const usedPairs = reader.field('usedPairs').integer(1, this.#pairs);
    const guestOffloads = reader.field('guestOffloads').integer(0, EVERY_GUEST_OFFLOAD);
    const announcing = reader.field('announcing').boolean();
    if ((guestOffloads & ~EVERY_GUEST_OFFLOAD) !== 0)
      reader.field('guestOffloads').refuse('has bits that do not exist');
    this.#mac = mac.slice();
    restoreFilter();
    restoreFlows();
    this.#usedPairs = usedPairs;
    this.#guestOffloads = guestOffloads;
    this.#announcing = announcing;
    this.#forgetHeld();
    this.#moved = true;
  }

  // The network's side.

  get takesChecksums(): boolean {
    return this.takesSegments('none');
  }

  takesSegments(segmentation: Segmentation): boolean {
    const feature = GUEST_SEGMENTS[segmentation];
    return this.#driver?.accepted(feature) === true && (this.#guestOffloads & (1 << feature)) !== 0;
  }

  /** A card whose driver is not there takes frames and loses them, as one that is switched off does. */
  deliver(frame: Frame): boolean {
    const driver = this.#driver;
    if (this.#quiesced) return false;
    if (driver?.live !== true || !this.#filter.takes(frame.bytes, this.#mac)) return true;
    const pair = this.#flows.pairOf(frame.bytes, this.#usedPairs);
    const queue = driver.queues[2 * pair];
    if (queue?.enabled !== true) return true;
    try {
      // One interrupt says both: what came in, and what was sent before.
      this.#giveBack(pair);
      return this.#receive(driver, queue, frame);
    } catch (error) {
      driver.broke(error);
      return true;
    }
  }

  /** Lays the frame into as many buffers as it needs, or says false when there are too few. */
  #receive(driver: VirtioDriver, queue: Virtqueue, frame: Frame): boolean {
    const merging = driver.accepted(VIRTIO_NET_F.MRG_RXBUF);
    const header = this.#header.subarray(0, this.#headerBytes(driver));
    const bytes = header.length + frame.bytes.length;
    const used: UsedChain[] = [];
    let room = 0;
    while (room < bytes && (merging || used.length === 0)) {
      const chain = queue.pop();
      if (chain === undefined) break;
      const written = Math.min(chain.writable.bytes, bytes - room);
      used.push({ chain, written });
      room += written;
    }
    if (room < bytes) {
      // What does not fit though there is nothing else in the queue, or into the one buffer it may have, will never fit.
      const isHopeless = merging ? used.length === queue.size : used.length === 1;
      for (const { chain } of used.toReversed()) queue.undo(chain);
      if (isHopeless) driver.complain(`the driver's buffers are too small for a frame of ${frame.bytes.length} bytes`);
      return isHopeless;
    }
    writeNetHeader(header, frame, used.length);
    let done = 0;
    for (const { chain, written } of used) {
      const ofHeader = Math.min(written, Math.max(0, header.length - done));
      if (ofHeader > 0) chain.writable.copyFrom(header.subarray(done, done + ofHeader));
      const from = done + ofHeader - header.length;
      if (written > ofHeader) chain.writable.copyFrom(frame.bytes.subarray(from, from + written - ofHeader), ofHeader);
      done += written;
    }
    queue.completeTogether(used);
    this.#counts.bytes += frame.bytes.length;
    return true;
  }

  // The driver's side.

  get #controlIndex(): number {
    return this.#driver?.accepted(VIRTIO_NET_F.MQ) === true ? 2 * this.#pairs : 2;
  }

  #headerBytes(driver: VirtioDriver): number {
    const isNew = driver.accepted(VIRTIO_F.VERSION_1) || driver.accepted(VIRTIO_NET_F.MRG_RXBUF);
    return isNew ? NET_HEADER_BYTES : OLD_NET_HEADER_BYTES;
  }

  #lookAtEverything(): void {
    this.#takeCommands();
    for (let pair = 0; pair < this.#pairs; pair++) this.#send(2 * pair + 1);
    this.#port.roomAgain();
  }

  /** The first of what may be several frames is on its way at once; for the others the device looks itself. */
  #notified(queueIndex: number): void {
    this.#looksAgain = this.#nowNs !== undefined;
    this.#send(queueIndex);
    if (this.#held[queueIndex >> 1]?.isMuch === true) this.#giveBack(queueIndex >> 1);
  }

  #giveBack(pair: number): void {
    const queue = this.#driver?.queues[2 * pair + 1];
    if (queue !== undefined) this.#held[pair]?.flush(queue);
  }

  #forgetHeld(): void {
    this.#looksAgain = false;
    for (const held of this.#held) held.forget();
  }

  /** Sends what waits in a transmit queue. */
  #send(queueIndex: number): void {
    const driver = this.#driver;
    const queue = driver?.queues[queueIndex];
    if (driver === undefined || queue === undefined || this.#quiesced) return;
    const headerBytes = this.#headerBytes(driver);
    const nowNs = this.#nowNs?.();
    for (;;) {
      const chain = queue.pop(this.#looksAgain);
      if (chain === undefined) break;
      const bytes = chain.readable.bytes - headerBytes;
      if (bytes < 0 || bytes > MAXIMUM_FRAME_BYTES) {
        driver.complain(`the driver sent ${chain.readable.bytes} bytes, which is no frame`);
      } else {
        const view = this.#frame.subarray(0, bytes);
        chain.readable.copyTo(this.#header.subarray(0, headerBytes));
        chain.readable.copyTo(view, headerBytes);
        const frame = frameOf(this.#header, view, this.#agreement);
        if (typeof frame === 'string') driver.complain(`a frame of the driver ${frame}`);
        else {
          if (this.#pairs > 1) this.#flows.sent(view, queueIndex >> 1);
          this.#counts.bytes += bytes;
          this.#port.transmit(frame);
        }
      }
      if (nowNs === undefined) queue.complete(chain, 0);
      else this.#held[queueIndex >> 1]?.add(chain, nowNs);
    }
    this.#port.transmitted();
  }

  #takeCommands(): void {
    const driver = this.#driver;
    if (driver?.accepted(VIRTIO_NET_F.CTRL_VQ) !== true || this.#quiesced) return;
    const queue = driver.queues[this.#controlIndex];
    for (;;) {
      const chain = queue?.pop();
      if (chain === undefined) return;
      const problem = this.#obey(parseControlCommand(chain));
      if (problem !== undefined) driver.complain(`a control command ${problem}`);
      const ack = problem === undefined ? CONTROL_ACK.OK : CONTROL_ACK.ERR;
      if (chain.writable.bytes > 0) chain.writable.copyFrom(Uint8Array.of(ack));
      queue?.complete(chain, Math.min(1, chain.writable.bytes));
    }
  }

  #acceptedOffloads(): number {
    const accepted = GUEST_OFFLOADS.filter((feature) => this.#driver?.accepted(feature) === true);
    return accepted.reduce((bits, feature) => bits | (1 << feature), 0);
  }

  /** Does it, or says why not. */
  #obey(command: ControlCommand): string | undefined {
    switch (command.kind) {
      case 'promiscuous':
        this.#filter.promiscuous = command.on;
        return undefined;
      case 'all-multicast':
        this.#filter.allMulticast = command.on;
        return undefined;
      case 'address-tables':
        return this.#filter.setTables(command.data) ? undefined : 'has a table that is cut short';
      case 'address':
        this.#mac = command.mac.slice();
        return undefined;
      case 'announced':
        this.#announcing = false;
        return undefined;
      case 'queue-pairs':
        if (command.pairs < 1 || command.pairs > this.#pairs) return `wants ${command.pairs} queue pairs`;
        this.#usedPairs = command.pairs;
        return undefined;
      case 'guest-offloads':
        if ((command.features & ~this.#acceptedOffloads()) !== 0) return 'wants offloads that were not negotiated';
        this.#guestOffloads = command.features;
        return undefined;
      case 'refused':
        return command.reason;
    }
  }
}
