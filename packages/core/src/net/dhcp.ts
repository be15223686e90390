/**
 * The DHCP server of a network (RFC 2131, 4.3): every card has one address for as long as the network lives, so nothing expires.
 * What names the machines give themselves is handed on to the DNS server.
 */

import type { Addressing } from './addressing.ts';
import { IPV4_BROADCAST, MAXIMUM_LEASES, guestAddress } from './addressing.ts';
import { IpAddress, MacAddress } from './addresses.ts';
import { DHCP, DHCP_OPTION, dhcpReply, parseDhcp, type DhcpRequest } from './dhcp-message.ts';
import { isHostName } from './dns-message.ts';
import { putU32 } from './octets.ts';

export const DHCP_PORT = { SERVER: 67, CLIENT: 68 } as const;
/** A day, in seconds. Clients ask again in half of it. */
const LEASE_TIME_S = 86_400;
const UNSPECIFIED = IpAddress.of(0, 0, 0, 0);

/** A reply and where it goes. */
export interface DhcpAnswer {
  readonly message: Uint8Array;
  readonly destination: IpAddress;
  readonly card: MacAddress;
}

export interface Lease {
  readonly card: MacAddress;
  readonly address: IpAddress;
  /** What it calls itself, in lower case. */
  hostName: string | undefined;
  /** A machine is plugged in with this card: its address is nobody else's while it is. */
  isPlugged: boolean;
}

export class DhcpServer {
  readonly #addressing: Addressing;
  /** By card. */
  readonly #leases = new Map<number, Lease>();

  constructor(addressing: Addressing) {
    this.#addressing = addressing;
  }

  get leases(): Iterable<Lease> {
    return this.#leases.values();
  }

  /** The card's machine is gone. */
  forget(card: MacAddress): void {
    this.#leases.delete(card.key);
  }

  /** The lease of a card, which is made when there is none; undefined when machines have all addresses. */
  leaseOf(card: MacAddress): Lease | undefined {
    const known = this.#leases.get(card.key);
    if (known !== undefined) return known;
    // Addresses that a guest got for cards that it made up do not keep machines out.
    if (this.#leases.size >= MAXIMUM_LEASES) {
      const madeUp = [...this.#leases.values()].find(({ isPlugged }) => !isPlugged);
      if (madeUp === undefined) return undefined;
      this.#leases.delete(madeUp.card.key);
    }
    const taken = new Set(Array.from(this.#leases.values(), ({ address }) => address.key));
    for (let index = 0; index < MAXIMUM_LEASES; index++) {
      const address = guestAddress(this.#addressing, index);
      if (taken.has(address.key)) continue;
      const lease = { card, address, hostName: undefined, isPlugged: false };
      this.#leases.set(card.key, lease);
      return lease;
    }
    return undefined;
  }

  /** What to answer to a datagram; undefined when nothing. */
  answer(data: Uint8Array): DhcpAnswer | undefined {
    const request = parseDhcp(data);
    if (request === undefined) return undefined;
    switch (request.type) {
      case DHCP.DISCOVER:
        return this.#give(request, DHCP.OFFER);
      case DHCP.REQUEST:
        return this.#confirm(request);
      case DHCP.INFORM:
        return this.#reply(request, DHCP.ACK, UNSPECIFIED);
      case DHCP.RELEASE:
        this.#release(request);
        return undefined;
      default:
        return undefined;
    }
  }

  #give(request: DhcpRequest, type: number): DhcpAnswer | undefined {
    const lease = this.leaseOf(request.card);
    if (lease === undefined) return undefined;
    this.#claim(lease, request.hostName);
    return this.#reply(request, type, lease.address);
  }

  /** A machine is called what it says when that is one label of a host name (RFC 1123, 2.1), and nobody else is called so. */
  #claim(lease: Lease, hostName: string | undefined): void {
    if (hostName === undefined || !isHostName(hostName)) return;
    const key = hostName.toLowerCase();
    if ([...this.#leases.values()].every((other) => other === lease || other.hostName !== key)) lease.hostName = key;
  }

  /** A request for another address than the card's own is refused, one that was meant for another server is not ours (4.3.2). */
  #confirm(request: DhcpRequest): DhcpAnswer | undefined {
    const { gateway4 } = this.#addressing;
    if (request.server !== undefined && !request.server.equals(gateway4)) return undefined;
    const wanted = request.requested ?? request.clientAddress;
    const lease = this.leaseOf(request.card);
    if (lease?.address.equals(wanted) === true) return this.#give(request, DHCP.ACK);
    const message = dhcpReply(request, { type: DHCP.NAK, address: UNSPECIFIED, server: gateway4, options: [] });
    return { message, destination: IPV4_BROADCAST, card: MacAddress.broadcast };
  }

  /** A machine's address stays its own; others give theirs back. */
  #release({ card, clientAddress }: DhcpRequest): void {
    const lease = this.#leases.get(card.key);
    if (lease?.isPlugged === false && lease.address.equals(clientAddress)) this.#leases.delete(card.key);
  }

  #reply(request: DhcpRequest, type: number, address: IpAddress): DhcpAnswer {
    const { gateway4, dns4, netmask4, broadcast4 } = this.#addressing;
    const leaseTime = new Uint8Array(4);
    putU32(leaseTime, 0, LEASE_TIME_S);
    const message = dhcpReply(request, {
      type,
      address,
      server: gateway4,
      options: [
        // A client that has an address already is told no time (RFC 2131, 4.3.5).
        ...(address.isUnspecified ? [] : [[DHCP_OPTION.LEASE_TIME, leaseTime] as const]),
        [DHCP_OPTION.SUBNET_MASK, netmask4.bytes],
        [DHCP_OPTION.BROADCAST, broadcast4.bytes],
        [DHCP_OPTION.ROUTER, gateway4.bytes],
        [DHCP_OPTION.NAME_SERVER, dns4.bytes],
      ],
    });
    // A client that has no address yet hears what is sent to its card, unless it says that it does not (4.1).
    const hasAddress = !request.clientAddress.isUnspecified;
    if (hasAddress) return { message, destination: request.clientAddress, card: request.card };
    return request.wantsBroadcast
      ? { message, destination: IPV4_BROADCAST, card: MacAddress.broadcast }
      : { message, destination: address, card: request.card };
  }
}
