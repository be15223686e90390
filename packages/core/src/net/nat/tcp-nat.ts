/**
 * All TCP connections that go through the gateway, by their ports and addresses.
 *
 *     guest --SYN--> [limit, destination] --> HostNetwork.connectTcp --> TcpConnection        (the guest calls)
 *     published port --> accept --> TcpConnection --SYN--> guest                              (the world calls)
 *
 * A segment that belongs to none is answered with a reset (RFC 9293, 3.10.7.1).
 */

import { Alarms } from '../alarms.ts';
import type { Endpoint, IpAddress } from '../addresses.ts';
import { MTU_BYTES } from '../../base/frames.ts';
import type { GuestLink } from '../guest-link.ts';
import type { HostTcp, NetworkEntropy, NetworkTimers, TcpEvents } from '../host.ts';
import { quotable } from '../icmp.ts';
import { type IpPacket, ipHeaderBytes } from '../ip.ts';
import { u32 } from '../octets.ts';
import { TCP, TCP_HEADER_BYTES, type TcpSegment } from '../tcp-segment.ts';
import { ByteBudget } from './byte-budget.ts';
import { TcpConnection, type TcpPath } from './tcp-connection.ts';

/** Connections of one network. With more, one that was silent for long makes room, or the newcomer is refused. */
export const MAXIMUM_TCP_CONNECTIONS = 4096;
/**
 * Bytes that the connections of one network may keep together, in each direction: for what guests are allowed to send, and for what waits for them. On
 * top of it comes what every connection has anyway: a window of MINIMUM_WINDOW_BYTES, and a read of MINIMUM_READ_BYTES (of a host that does not
 * ask how much, one of its own: a published port's connections read 64 KiB at once).
 */
export const MAXIMUM_TCP_BYTES = 128 * 1024 * 1024;
/** A connection may be given up for another one when it was silent this long. */
export const IDLE_MS = 60_000;
/** Ports that published connections come from (RFC 6335, 6). */
const FIRST_EPHEMERAL_PORT = 49_152;
const EPHEMERAL_PORTS = 16_384;
/** An IP packet is no longer than this. */
const MAXIMUM_PACKET_BYTES = 65_535;

export interface TcpNatParts {
  readonly link: GuestLink;
  readonly timers: NetworkTimers;
  readonly entropy: NetworkEntropy;
  /** Begins the connection that a guest asked for. */
  readonly connect: (to: Endpoint, events: TcpEvents) => HostTcp;
  /** A guest's destination cannot be reached. */
  readonly unreachable: (from: IpAddress, to: IpAddress, quoted: Uint8Array) => void;
}

interface Entry {
  readonly guest: Endpoint;
  readonly remote: Endpoint;
  readonly connection: TcpConnection;
  readonly key: string;
}

export class TcpNat {
  readonly #parts: TcpNatParts;
  readonly #alarms: Alarms;
  readonly #entries = new Map<string, Entry>();
  readonly #connections = new Set<TcpConnection>();
  /** Those that have something to answer at the end of the burst. */
  readonly #answering = new Set<TcpConnection>();
  /** Those for whose segments there was no room. */
  readonly #blocked = new Set<TcpConnection>();
  readonly #receiving = new ByteBudget(MAXIMUM_TCP_BYTES);
  readonly #sending = new ByteBudget(MAXIMUM_TCP_BYTES);
  #nextPort = 0;

  constructor(parts: TcpNatParts) {
    this.#parts = parts;
    this.#alarms = new Alarms(parts.timers, this.#connections);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** A segment of a guest. */
  segment(packet: IpPacket, segment: TcpSegment): void {
    const guest = { address: packet.source, port: segment.sourcePort };
    const remote = { address: packet.destination, port: segment.destinationPort };
    const key = keyOf(guest, remote);
    const entry = this.#entries.get(key);
    const isSyn = (segment.flags & (TCP.SYN | TCP.ACK | TCP.RST)) === TCP.SYN;
    if (entry !== undefined && !(isSyn && entry.connection.state === 'time-wait')) {
      entry.connection.segment(segment);
      return;
    }
    // A new connection may begin where an old one is only remembered (RFC 9293, 3.6.1).
    entry?.connection.abort();
    if (isSyn && this.#makeRoom()) this.#open(packet, segment, { guest, remote, key });
    else if ((segment.flags & TCP.RST) === 0) this.#refuse(guest, remote, segment);
  }

  /**
   * Somebody came to a published port: opens a connection to `guest` that comes from `from`. `attach` is given the events and gives the
   * host's end; undefined when there are too many connections.
   */
  accept(from: IpAddress, guest: Endpoint, attach: (events: TcpEvents) => HostTcp): TcpConnection | undefined {
    if (!this.#makeRoom()) return undefined;
    for (let tries = 0; tries < EPHEMERAL_PORTS; tries++) {
      const remote = { address: from, port: FIRST_EPHEMERAL_PORT + this.#nextPort };
      this.#nextPort = (this.#nextPort + 1) % EPHEMERAL_PORTS;
      const key = keyOf(guest, remote);
      if (this.#entries.has(key)) continue;
      const { path, add } = this.#path(guest, remote, key, undefined);
      const connection = add(TcpConnection.toGuest(path, this.#initialSequence()));
      connection.attach(attach(connection));
      return connection;
    }
    return undefined;
  }

  /** The guests have sent what they had to send for now. */
  burstEnded(): void {
    if (this.#answering.size === 0) return;
    const answering = [...this.#answering];
    this.#answering.clear();
    for (const connection of answering) connection.burstEnded();
  }

  /** There is room for segments again. */
  roomAgain(): void {
    if (this.#blocked.size === 0) return;
    const blocked = [...this.#blocked];
    this.#blocked.clear();
    for (const connection of blocked) connection.roomAgain();
  }

  /** Ends the connections of a guest that is gone. */
  forget(address: IpAddress): void {
    for (const { guest, connection } of this.#entries.values()) if (guest.address.equals(address)) connection.abort();
  }

  /** Ends all connections. */
  close(): void {
    for (const connection of this.#connections) connection.abort();
    this.#alarms.stop();
  }

  #open(packet: IpPacket, syn: TcpSegment, at: Pick<Entry, 'guest' | 'remote' | 'key'>): void {
    const { path, add } = this.#path(at.guest, at.remote, at.key, quotable(packet));
    const connection = add(TcpConnection.fromGuest(path, syn, this.#initialSequence()));
    connection.attach(this.#parts.connect(at.remote, connection));
  }

  #path(
    guest: Endpoint,
    remote: Endpoint,
    key: string,
    quoted: Uint8Array | undefined,
  ): { readonly path: TcpPath; readonly add: (connection: TcpConnection) => TcpConnection } {
    const { link, timers } = this.#parts;
    const late: { connection?: TcpConnection } = {};
    const headerBytes = ipHeaderBytes(guest.address.family) + TCP_HEADER_BYTES;
    const payload =
      guest.address.family === 4 ? MAXIMUM_PACKET_BYTES - headerBytes : MAXIMUM_PACKET_BYTES - TCP_HEADER_BYTES;
    const path: TcpPath = {
      timers,
      receiving: this.#receiving,
      sending: this.#sending,
      ownSegmentBytes: MTU_BYTES - headerBytes,
      maximumDataBytes: payload,
      send: (segment) => {
        const isSent = link.sendTcp(remote, guest, segment);
        if (!isSent && late.connection !== undefined) this.#blocked.add(late.connection);
        return isSent;
      },
      deadlineChanged: (deadlineMs) => this.#alarms.set(deadlineMs),
      answerLater: () => {
        if (late.connection !== undefined) this.#answering.add(late.connection);
      },
      closed: () => {
        this.#entries.delete(key);
        if (late.connection === undefined) return;
        this.#connections.delete(late.connection);
        this.#answering.delete(late.connection);
        this.#blocked.delete(late.connection);
      },
      unreachable: () => {
        if (quoted !== undefined) this.#parts.unreachable(remote.address, guest.address, quoted);
      },
    };
    const add = (connection: TcpConnection): TcpConnection => {
      late.connection = connection;
      this.#entries.set(key, { guest, remote, connection, key });
      this.#connections.add(connection);
      return connection;
    };
    return { path, add };
  }

  /** Whether there is room for one more connection, if need be in place of one that was silent for long. */
  #makeRoom(): boolean {
    if (this.#connections.size < MAXIMUM_TCP_CONNECTIONS) return true;
    let idlest: TcpConnection | undefined;
    for (const connection of this.#connections) {
      if (connection.state === 'time-wait') {
        connection.abort();
        return true;
      }
      if (idlest === undefined || connection.lastHeardMs < idlest.lastHeardMs) idlest = connection;
    }
    if (idlest === undefined || this.#parts.timers.nowMs() - idlest.lastHeardMs < IDLE_MS) return false;
    idlest.abort();
    return true;
  }

  /** A reset that the guest believes (RFC 9293, 3.10.7.1). */
  #refuse(guest: Endpoint, remote: Endpoint, { flags, sequence, acknowledgement, data }: TcpSegment): void {
    const hasAck = (flags & TCP.ACK) !== 0;
    const length = data.length + Number((flags & TCP.SYN) !== 0) + Number((flags & TCP.FIN) !== 0);
    this.#parts.link.sendTcp(remote, guest, {
      sequence: hasAck ? acknowledgement : 0,
      acknowledgement: hasAck ? 0 : (sequence + length) >>> 0,
      flags: hasAck ? TCP.RST : TCP.RST | TCP.ACK,
      window: 0,
      segmentBytes: MTU_BYTES,
    });
  }

  #initialSequence(): number {
    const bytes = new Uint8Array(4);
    // oxlint-disable-next-line unicorn/no-array-fill-with-reference-type -- a port, not an array
    this.#parts.entropy.fill(bytes);
    return u32(bytes, 0);
  }
}

function keyOf(guest: Endpoint, remote: Endpoint): string {
  return `${guest.port} ${remote.port} ${guest.address.key}${remote.address.key}`;
}
