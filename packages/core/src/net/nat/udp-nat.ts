/**
 * UDP through the gateway (RFC 4787): what a guest sends from one port goes out of one socket of the host, whoever it is for; answers come
 * back only from where something was sent to.
 *
 *     guest port --> Flow { a socket of the host, remotes } --> the world
 *     the world --> published port: every sender gets a port of the gateway, towards the guest
 */

import { Alarms } from '../alarms.ts';
import type { Endpoint, IpAddress } from '../addresses.ts';
import type { GuestLink } from '../guest-link.ts';
import type { HostUdp, NetworkTimers, UdpEvents } from '../host.ts';

/** Guest ports with a socket of the host; the one that was silent longest makes room. */
export const MAXIMUM_UDP_FLOWS = 512;
/** Remotes that one guest port may hear from; the one not sent to for longest makes room. */
export const MAXIMUM_UDP_REMOTES = 256;
/** Senders that a network's published ports know at once; the one silent longest makes room. */
export const MAXIMUM_UDP_VISITORS = 1024;
/** A flow ends when it was silent this long (RFC 4787, REQ-5: two minutes or more). */
export const UDP_TIMEOUT_MS = 120_000;
const FIRST_EPHEMERAL_PORT = 49_152;
const EPHEMERAL_PORTS = 16_384;

export interface UdpNatParts {
  readonly link: GuestLink;
  readonly timers: NetworkTimers;
  readonly open: (family: 4 | 6, events: UdpEvents) => HostUdp;
  /** Where a guest's destination is for the host, and the other way round. */
  readonly outside: (address: IpAddress) => IpAddress;
  readonly inside: (address: IpAddress) => IpAddress;
}

interface Flow {
  readonly socket: HostUdp;
  /** By remote; the one sent to last comes last. */
  readonly remotes: Set<string>;
  deadlineMs: number;
  alarm(): void;
}

/** Somebody outside who sent to a published port. */
interface Visitor {
  readonly key: string;
  readonly reply: (data: Uint8Array) => void;
  deadlineMs: number;
  alarm(): void;
}

export class UdpNat {
  readonly #parts: UdpNatParts;
  /** By guest address and port; the one used last comes last. */
  readonly #flows = new Map<string, Flow>();
  /** By guest, the gateway's address and port; the one heard of last comes last. */
  readonly #visitors = new Map<string, Visitor>();
  /** The gateway's port for each visitor. */
  readonly #visitorPorts = new Map<string, number>();
  readonly #alarms: Alarms;
  #nextPort = 0;

  constructor(parts: UdpNatParts) {
    this.#parts = parts;
    const flows = this.#flows;
    const visitors = this.#visitors;
    this.#alarms = new Alarms(parts.timers, {
      *[Symbol.iterator]() {
        yield* flows.values();
        yield* visitors.values();
      },
    });
  }

  get size(): number {
    return this.#flows.size + this.#visitors.size;
  }

  /** A datagram of a guest for the world. */
  datagram(guest: Endpoint, to: Endpoint, data: Uint8Array): void {
    // Nobody can be sent to there (RFC 768).
    if (to.port === 0) return;
    const visitor = this.#visitors.get(visitorKey(guest, to));
    if (visitor !== undefined) {
      this.#heard(visitor);
      visitor.reply(data);
      return;
    }
    const flow = this.#flowOf(guest);
    const remote = { address: this.#parts.outside(to.address), port: to.port };
    const key = endpointKey(remote);
    // From port 0 no answer is wanted (RFC 768).
    if (guest.port !== 0) {
      // Behind all others, whether it is new or not.
      if (!flow.remotes.delete(key) && flow.remotes.size >= MAXIMUM_UDP_REMOTES) {
        const [oldest] = flow.remotes;
        if (oldest !== undefined) flow.remotes.delete(oldest);
      }
      flow.remotes.add(key);
    }
    flow.deadlineMs = this.#deadline();
    flow.socket.send(remote, data);
  }

  /** A datagram for a published port. `sender` tells the senders apart; `reply` sends them an answer. */
  visit(sender: string, from: IpAddress, guest: Endpoint, data: Uint8Array, reply: (data: Uint8Array) => void): void {
    const port = this.#visitorPort(`${sender} ${endpointKey(guest)}`, from, guest, reply);
    if (port !== undefined) this.#parts.link.sendUdp({ address: from, port }, guest, data);
  }

  close(): void {
    for (const flow of this.#flows.values()) flow.socket.close();
    this.#flows.clear();
    this.#visitors.clear();
    this.#visitorPorts.clear();
    this.#alarms.stop();
  }

  #flowOf(guest: Endpoint): Flow {
    const key = endpointKey(guest);
    const known = this.#flows.get(key);
    if (known !== undefined) {
      this.#flows.delete(key);
      this.#flows.set(key, known);
      return known;
    }
    if (this.#flows.size >= MAXIMUM_UDP_FLOWS) {
      const [oldest] = this.#flows.values();
      oldest?.alarm();
    }
    const end = (): void => {
      if (this.#flows.get(key) === flow) this.#flows.delete(key);
      flow.socket.close();
    };
    const remotes = new Set<string>();
    const socket = this.#parts.open(guest.address.family, {
      message: (from, data) => {
        if (!remotes.has(endpointKey(from))) return;
        flow.deadlineMs = this.#deadline();
        this.#parts.link.sendUdp({ address: this.#parts.inside(from.address), port: from.port }, guest, data);
      },
      failed: () => end(),
    });
    const flow: Flow = { socket, remotes, deadlineMs: this.#deadline(), alarm: end };
    this.#flows.set(key, flow);
    return flow;
  }

  #visitorPort(
    sender: string,
    from: IpAddress,
    guest: Endpoint,
    reply: (data: Uint8Array) => void,
  ): number | undefined {
    const known = this.#visitorPorts.get(sender);
    if (known !== undefined) {
      const visitor = this.#visitors.get(visitorKey(guest, { address: from, port: known }));
      if (visitor !== undefined) this.#heard(visitor);
      return known;
    }
    if (this.#visitors.size >= MAXIMUM_UDP_VISITORS) {
      const [oldest] = this.#visitors.values();
      oldest?.alarm();
    }
    for (let tries = 0; tries < EPHEMERAL_PORTS; tries++) {
      const port = FIRST_EPHEMERAL_PORT + this.#nextPort;
      this.#nextPort = (this.#nextPort + 1) % EPHEMERAL_PORTS;
      const key = visitorKey(guest, { address: from, port });
      if (this.#visitors.has(key)) continue;
      const alarm = (): void => {
        this.#visitors.delete(key);
        this.#visitorPorts.delete(sender);
      };
      this.#visitors.set(key, { key, reply, deadlineMs: this.#deadline(), alarm });
      this.#visitorPorts.set(sender, port);
      return port;
    }
    return undefined;
  }

  #heard(visitor: Visitor): void {
    visitor.deadlineMs = this.#deadline();
    this.#visitors.delete(visitor.key);
    this.#visitors.set(visitor.key, visitor);
  }

  #deadline(): number {
    const deadlineMs = this.#parts.timers.nowMs() + UDP_TIMEOUT_MS;
    this.#alarms.set(deadlineMs);
    return deadlineMs;
  }
}

function endpointKey({ address, port }: Endpoint): string {
  return `${port} ${address.key}`;
}

function visitorKey(guest: Endpoint, gateway: Endpoint): string {
  return `${endpointKey(guest)} ${endpointKey(gateway)}`;
}
