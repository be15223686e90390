/**
 * A virtual switch that learns where addresses are (IEEE 802.1D, 7.8), with as many sockets as are plugged in.
 *
 *     endpoint A --transmit--> [learn source] -> [receivers of the destination] -> [PacketFilter] -> deliver --> endpoint B
 *                                                                                        \-> queue of B, while B has no room
 *
 * A sender that can wait (`roomAgain`) is told when the one receiver has no room, and loses nothing; for all others the frame waits here,
 * and is lost when too much waits, as in any switch.
 */

import { plainFrame, type Frame, type FrameEndpoint, type FramePort } from '../base/frames.ts';
import { assert } from '../base/assert.ts';
import { macKey } from './addresses.ts';
import { ALLOW_ALL, type FilteredPort, type PacketFilter } from './packet-filter.ts';
import { finishFor } from './segmentation.ts';

/** Addresses that a switch remembers; the one that was heard of longest ago makes room. */
export const MAXIMUM_LEARNED_ADDRESSES = 1024;
/** Bytes and frames that wait for one receiver. */
export const MAXIMUM_QUEUED_BYTES = 4 * 1024 * 1024;
export const MAXIMUM_QUEUED_FRAMES = 4096;
/** Sockets of one switch. */
export const MAXIMUM_PORTS = 256;

const GROUP = 1;

export class VirtualSwitch {
  readonly #filter: PacketFilter;
  readonly #ports = new Set<SwitchPort>();
  /** Where each address was seen last; in the order of that. */
  readonly #learned = new Map<number, SwitchPort>();

  constructor(filter: PacketFilter = ALLOW_ALL) {
    this.#filter = filter;
  }

  /** A new socket; `name` is what filters know it by. */
  plug(name: string): SwitchPort {
    assert(this.#ports.size < MAXIMUM_PORTS, `a switch has no more than ${MAXIMUM_PORTS} sockets`);
    const port = new SwitchPort(name, this);
    this.#ports.add(port);
    return port;
  }

  /** Takes a socket away with all that is known about it. */
  unplug(port: SwitchPort): void {
    this.#ports.delete(port);
    for (const [key, at] of this.#learned) if (at === port) this.#learned.delete(key);
    port.close();
  }

  /** Sends a frame on; false when its only receiver has no room and the sender can wait for it. */
  forward(frame: Frame, from: SwitchPort): boolean {
    const { bytes } = frame;
    if (!this.#ports.has(from)) return true;
    this.#learn(bytes, from);
    const to = ((bytes[0] ?? 0) & GROUP) === 0 ? this.#learned.get(macKey(bytes, 0)) : undefined;
    if (to !== undefined) {
      if (to === from || !this.#filter.admits(frame, from, to)) return true;
      return to.take(frame, from);
    }
    for (const port of this.#ports) {
      if (port !== from && this.#filter.admits(frame, from, port)) port.take(frame, undefined);
    }
    return true;
  }

  #learn(bytes: Uint8Array, from: SwitchPort): void {
    if (((bytes[6] ?? 0) & GROUP) !== 0) return;
    const key = macKey(bytes, 6);
    if (this.#learned.get(key) === from) return;
    this.#learned.delete(key);
    if (this.#learned.size >= MAXIMUM_LEARNED_ADDRESSES) {
      const [oldest] = this.#learned.keys();
      if (oldest !== undefined) this.#learned.delete(oldest);
    }
    this.#learned.set(key, from);
  }
}

/** One socket of a switch. */
export class SwitchPort implements FramePort, FilteredPort {
  readonly name: string;
  readonly #switch: VirtualSwitch;
  #endpoint: FrameEndpoint | undefined;
  /** Frames that wait for the endpoint's room; theirs are copies. */
  readonly #queue: Frame[] = [];
  #queuedBytes = 0;
  #lost = 0;
  /** Who was refused and has not been told since that there is room. */
  readonly #waiters = new Set<SwitchPort>();
  /** Who is told that a burst is over. */
  readonly #talkedTo = new Set<SwitchPort>();

  constructor(name: string, owner: VirtualSwitch) {
    this.name = name;
    this.#switch = owner;
  }

  /** Frames lost because too much waited. */
  get lost(): number {
    return this.#lost;
  }

  /** What is plugged in. */
  get endpoint(): FrameEndpoint | undefined {
    return this.#endpoint;
  }

  attach(endpoint: FrameEndpoint): void {
    this.#endpoint = endpoint;
  }

  transmit(frame: Frame): boolean {
    return this.#switch.forward(frame, this);
  }

  transmitted(): void {
    for (const port of this.#talkedTo) port.endpoint?.delivered?.();
    this.#talkedTo.clear();
  }

  roomAgain(): void {
    while (this.#queue.length > 0) {
      const [frame] = this.#queue;
      if (frame === undefined || this.#endpoint?.deliver(frame) !== true) return;
      this.#queue.shift();
      this.#queuedBytes -= frame.bytes.length;
    }
    this.#tellWaiters();
  }

  /** Gives the endpoint a frame, or keeps it; false when `from` can wait and has to. */
  take(frame: Frame, from: SwitchPort | undefined): boolean {
    const endpoint = this.#endpoint;
    if (endpoint === undefined) return true;
    if (from !== undefined && endpoint.delivered !== undefined) from.#talkedTo.add(this);
    const canWait = from?.endpoint?.roomAgain !== undefined;
    if (canWait && this.#queue.length > 0) return this.#refuse(from);
    let isBegun = false;
    const isTaken = finishFor(endpoint, frame, (finished) => {
      if (this.#queue.length === 0 && endpoint.deliver(finished)) isBegun = true;
      else if (canWait && !isBegun) return false;
      else this.#enqueue(finished);
      return true;
    });
    return isTaken || this.#refuse(from);
  }

  /** Forgets what waits. */
  close(): void {
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#endpoint = undefined;
    // Whoever waited for room sends to nobody now, and learns it.
    this.#tellWaiters();
  }

  #tellWaiters(): void {
    if (this.#waiters.size === 0) return;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const { endpoint } of waiters) endpoint?.roomAgain?.();
  }

  #refuse(from: SwitchPort | undefined): boolean {
    if (from !== undefined) this.#waiters.add(from);
    return false;
  }

  #enqueue(frame: Frame): void {
    const { bytes } = frame;
    if (this.#queue.length >= MAXIMUM_QUEUED_FRAMES || this.#queuedBytes + bytes.length > MAXIMUM_QUEUED_BYTES) {
      this.#lost++;
      return;
    }
    this.#queuedBytes += bytes.length;
    this.#queue.push(frame.checksumStart < 0 ? plainFrame(bytes.slice()) : { ...frame, bytes: bytes.slice() });
  }
}
