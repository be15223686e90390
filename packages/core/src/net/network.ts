/**
 * A network as people know it: machines plug in, and there is a gateway with everything a machine expects.
 *
 *     machine's card -- [capture] -- socket of the VirtualSwitch -- PacketFilter -- Gateway -- the host's sockets
 *                                          \-- socket -- another machine's card
 */

import type { FramePort } from '../base/frames.ts';
import { autoconfigured, type Addressing, guestMac, USER_ADDRESSING } from './addressing.ts';
import type { IpAddress, MacAddress } from './addresses.ts';
import { DhcpServer } from './dhcp.ts';
import { isHostName } from './dns-message.ts';
import { DnsServer } from './dns.ts';
import { Gateway } from './gateway.ts';
import type { HostNetwork, HostTcp, NetworkEntropy, NetworkTimers, TcpEvents } from './host.ts';
import type { PacketFilter } from './packet-filter.ts';
import { type SwitchPort, VirtualSwitch } from './switch.ts';

export interface NetworkParts {
  readonly host: HostNetwork;
  readonly timers: NetworkTimers;
  readonly entropy: NetworkEntropy;
  /** Allows everything when absent. */
  readonly filter?: PacketFilter;
}

/** A machine's place in a network. */
export interface NetworkPlace {
  readonly port: FramePort;
  readonly mac: MacAddress;
  /** What DHCP gives to the card. */
  readonly address: IpAddress;
  /** The same and what goes with it, as text, for who tells the machine so without DHCP. */
  readonly settings: {
    readonly address: string;
    readonly netmask: string;
    readonly gateway: string;
    readonly nameServer: string;
  };
  /** Lets a connection of the host in, to a port of the machine; false when there are too many. */
  acceptTcp(port: number, attach: (events: TcpEvents) => HostTcp): boolean;
  /** Lets a datagram in. `sender` tells senders apart, `reply` sends one an answer. */
  acceptUdp(port: number, sender: string, data: Uint8Array, reply: (data: Uint8Array) => void): void;
  /** The machine's card has this address by now: what it has said under another one does not count. */
  settled(): void;
  /** The machine is gone. */
  unplug(): void;
}

export class VirtualNetwork {
  readonly addressing: Addressing = USER_ADDRESSING;
  readonly #switch: VirtualSwitch;
  readonly #dhcp = new DhcpServer(this.addressing);
  readonly #gateway: Gateway;
  /** Cards that are plugged in, by their keys. */
  readonly #cards = new Set<number>();
  /** Names that machines were plugged in with, in lower case. */
  readonly #names = new Map<string, MacAddress>();

  constructor({ host, timers, entropy, filter }: NetworkParts) {
    this.#switch = new VirtualSwitch(filter);
    this.#gateway = new Gateway({
      port: this.#switch.plug('gateway'),
      addressing: this.addressing,
      host,
      timers,
      entropy,
      dhcp: this.#dhcp,
      dns: new DnsServer(host, (name) => this.addressesOf(name)),
    });
  }

  /** Machines that are plugged in. */
  get size(): number {
    return this.#cards.size;
  }

  /**
   * A socket for a machine that others call `name`, with a card that nobody else has here unless `mac` says which; undefined when machines
   * have all addresses, or the card is plugged in already.
   */
  plug(name: string, mac: MacAddress = this.#freeCard()): NetworkPlace | undefined {
    const lease = this.#cards.has(mac.key) ? undefined : this.#dhcp.leaseOf(mac);
    if (lease === undefined) return undefined;
    lease.isPlugged = true;
    this.#cards.add(mac.key);
    this.#gateway.hasGuests = true;
    const port: SwitchPort = this.#switch.plug(name);
    const key = name.toLowerCase();
    if (isHostName(name) && !this.#names.has(key)) this.#names.set(key, mac);
    const { gateway4, netmask4, dns4 } = this.addressing;
    return {
      port,
      mac,
      address: lease.address,
      settings: {
        address: lease.address.toString(),
        netmask: netmask4.toString(),
        gateway: gateway4.toString(),
        nameServer: dns4.toString(),
      },
      acceptTcp: (guestPort, attach) =>
        this.#gateway.tcp.accept(gateway4, { address: lease.address, port: guestPort }, attach) !== undefined,
      acceptUdp: (guestPort, sender, data, reply) =>
        this.#gateway.udp.visit(sender, gateway4, { address: lease.address, port: guestPort }, data, reply),
      settled: () => this.#gateway.link.learn(lease.address, mac),
      unplug: () => {
        if (!this.#cards.delete(mac.key)) return;
        for (const address of [lease.address, autoconfigured(this.addressing.prefix6, mac)])
          this.#gateway.tcp.forget(address);
        this.#switch.unplug(port);
        this.#gateway.hasGuests = this.#cards.size > 0;
        this.#dhcp.forget(mac);
        if (this.#names.get(key) === mac) this.#names.delete(key);
      },
    };
  }

  /** The addresses of a machine by the name it was plugged in with, or that it gave itself. */
  addressesOf(name: string): readonly IpAddress[] | undefined {
    const mac = this.#names.get(name) ?? this.#cardThatCallsItself(name);
    const lease = mac && this.#dhcp.leaseOf(mac);
    if (lease === undefined) return undefined;
    // Whether a machine uses IPv6 shows when it is heard of; until then nobody is sent there.
    const address6 = autoconfigured(this.addressing.prefix6, lease.card);
    const isHeard = this.#gateway.link.neighbors.get(address6) !== undefined;
    return [lease.address, ...(isHeard ? [address6] : [])];
  }

  /** Ends everything that goes through the gateway. */
  close(): void {
    this.#gateway.close();
  }

  #freeCard(): MacAddress {
    let index = 0;
    while (this.#cards.has(guestMac(index).key)) index++;
    return guestMac(index);
  }

  #cardThatCallsItself(name: string): MacAddress | undefined {
    for (const { card, hostName } of this.#dhcp.leases) if (hostName === name) return card;
    return undefined;
  }
}
