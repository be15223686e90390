/**
 * The gateway of a network: router, name server, DHCP server and NAT in one, plugged into the switch like a machine.
 *
 *     frame -> ARP             -> answers for its own addresses
 *           -> IPv4, IPv6 -> [fragments] -> ICMP(v6)  -> echoes, neighbour discovery, or EchoNat -> the world
 *                                        -> UDP       -> DHCP, DNS, or UdpNat -> the world
 *                                        -> TCP       -> DNS, or TcpNat       -> the world
 *
 * As on QEMU's user network, the gateway's own address is the host's loopback. What is meant for other machines of the network goes from
 * one to the other through the switch and does not come here.
 */

import type { Frame, FrameEndpoint, FramePort } from '../base/frames.ts';
import { ALL_NODES6, IPV4_PREFIX_BITS, IPV6_PREFIX_BITS, LOOPBACK4, LOOPBACK6, type Addressing } from './addressing.ts';
import { type Endpoint, IpAddress, MacAddress, macKey } from './addresses.ts';
import { Alarms } from './alarms.ts';
import { ARP, arpFrame, parseArp } from './arp.ts';
import { isSound } from './checksum.ts';
import { DHCP_PORT, type DhcpServer } from './dhcp.ts';
import { truncated } from './dns-message.ts';
import { DNS_PORT, type DnsServer, DnsStream } from './dns.ts';
import { ETHERTYPE, etherTypeOf } from './ethernet.ts';
import { Reassembly } from './fragments.ts';
import { GuestLink } from './guest-link.ts';
import type { HostNetwork, HostTcp, NetworkEntropy, NetworkTimers, TcpEvents } from './host.ts';
import { ICMPV6, echoReply, isIcmpError, isSoundIcmp, quotable, unreachableMessage } from './icmp.ts';
import type { UnreachableReason } from './icmp.ts';
import { type IpPacket, PROTOCOL, parseIp } from './ip.ts';
import { EchoNat } from './nat/echo-nat.ts';
import { TcpNat } from './nat/tcp-nat.ts';
import { UdpNat } from './nat/udp-nat.ts';
import {
  DISCOVERY_HOP_LIMIT,
  neighborAdvertisement,
  parseNeighbor,
  routerAdvertisement,
} from './neighbor-discovery.ts';
import { RouterAlarm } from './router-alarm.ts';
import { parseTcp } from './tcp-segment.ts';
import { parseUdp } from './udp.ts';

/** What is answered over UDP at once is no longer than this; a client that takes more says so, and then gets it in fragments. */
const LONGEST_DNS_ANSWER = 4096;
const GROUP = 1;

export interface GatewayParts {
  readonly port: FramePort;
  readonly addressing: Addressing;
  readonly host: HostNetwork;
  readonly timers: NetworkTimers;
  readonly entropy: NetworkEntropy;
  readonly dhcp: DhcpServer;
  readonly dns: DnsServer;
}

export class Gateway implements FrameEndpoint {
  readonly takesChecksums = true;
  readonly tcp: TcpNat;
  readonly udp: UdpNat;
  readonly echoes: EchoNat;
  readonly link: GuestLink;
  readonly #parts: GatewayParts;
  readonly #reassembly: Reassembly;
  readonly #advertising = new RouterAlarm(() => this.#advertise());
  readonly #alarms: Alarms;

  constructor(parts: GatewayParts) {
    const { port, addressing, timers, entropy, host } = parts;
    this.#parts = parts;
    this.#reassembly = new Reassembly(timers);
    this.#alarms = new Alarms(timers, [this.#advertising]);
    this.link = new GuestLink(port, addressing);
    this.tcp = new TcpNat({
      link: this.link,
      timers,
      entropy,
      connect: (to, events) => this.#connect(to, events),
      unreachable: (from, to, quoted) => this.#tellUnreachable(from, to, 'host', quoted),
    });
    this.udp = new UdpNat({
      link: this.link,
      timers,
      open: (family, events) => host.openUdp(family, events),
      outside: (address) => this.#outside(address),
      inside: (address) => this.#inside(address),
    });
    this.echoes = new EchoNat({
      host,
      outside: (address) => this.#outside(address),
      reply: (request, reply) => this.#sendIcmp(request.destination, request.source, reply),
      unreachable: ({ source, destination }, reason, quoted) =>
        this.#tellUnreachable(destination, source, reason, quoted),
    });
    port.attach(this);
  }

  takesSegments(): boolean {
    return true;
  }

  /** It always has room: what it cannot take it refuses by the means of the protocols. */
  deliver(frame: Frame): boolean {
    const { bytes } = frame;
    const isForUs = ((bytes[0] ?? 0) & GROUP) !== 0 || macKey(bytes, 0) === this.#parts.addressing.gatewayMac.key;
    if (!isForUs || bytes.length < 14) return true;
    if (etherTypeOf(bytes) === ETHERTYPE.ARP) this.#arp(bytes);
    else {
      const packet = parseIp(bytes);
      if (packet !== undefined) this.#packet(packet, frame);
    }
    return true;
  }

  delivered(): void {
    this.tcp.burstEnded();
  }

  roomAgain(): void {
    this.tcp.roomAgain();
  }

  /** Whether there is anybody who should hear from time to time that there is a router. */
  set hasGuests(hasGuests: boolean) {
    if (hasGuests) this.#advertising.start(this.#alarms, this.#parts.timers.nowMs());
    else this.#advertising.stop(this.#alarms);
  }

  /** Ends everything that goes through it. */
  close(): void {
    this.hasGuests = false;
    this.tcp.close();
    this.udp.close();
    this.echoes.close();
  }

  #arp(bytes: Uint8Array): void {
    const message = parseArp(bytes);
    if (message === undefined) return;
    const { addressing } = this.#parts;
    this.#learn(message.sender, message.senderMac);
    const isOurs = message.target.equals(addressing.gateway4) || message.target.equals(addressing.dns4);
    if (message.operation === ARP.REQUEST && isOurs)
      this.link.sendFrame(arpFrame(addressing.gatewayMac, message.target, message.sender, message.senderMac));
  }

  /** Only addresses of the network are anybody's here. */
  #learn(address: IpAddress, card: MacAddress): void {
    if (this.#isLocal(address) && !this.#isOurs(address)) this.link.learn(address, card);
  }

  #packet(arrived: IpPacket, frame: Frame): void {
    const packet = this.#reassembly.add(arrived);
    if (packet === undefined) return;
    // A group is nobody who could say something (RFC 1122, 3.2.1.3; RFC 4291, 2.7).
    if (packet.source.isGroup) return undefined;
    const card = MacAddress.at(frame.bytes, 6);
    // Pieces were summed when the whole was made.
    const isSummed = frame.checksumStart < 0;
    if (packet.protocol === PROTOCOL.UDP) return this.#udp(packet, isSummed, card);
    // From nobody comes only the question for an address.
    if (packet.source.isUnspecified) {
      if (packet.protocol === PROTOCOL.ICMPV6) this.#icmp(packet, card);
      return undefined;
    }
    this.#learn(packet.source, card);
    if (packet.protocol === PROTOCOL.ICMP || packet.protocol === PROTOCOL.ICMPV6) return this.#icmp(packet, card);
    if (!this.#isRoutable(packet)) return undefined;
    if (packet.protocol === PROTOCOL.TCP) {
      if (!isSummed || isSound(packet.payload, packet.pseudoSum)) this.#tcp(packet);
    } else this.#refuse(packet, 'prohibited');
    return undefined;
  }

  #tcp(packet: IpPacket): void {
    const segment = parseTcp(packet.payload);
    if (segment !== undefined) this.tcp.segment(packet, segment);
  }

  #udp(packet: IpPacket, isSummed: boolean, card: MacAddress): void {
    const datagram = parseUdp(packet, isSummed);
    if (datagram === undefined) return;
    const { addressing, dhcp, dns } = this.#parts;
    if (packet.family === 4 && datagram.destinationPort === DHCP_PORT.SERVER) {
      const answer = dhcp.answer(datagram.data);
      if (answer === undefined) return;
      // The card is told before it has the address, so the address must not be asked for.
      if (!answer.destination.isGroup) this.link.learn(answer.destination, answer.card);
      const from = { address: addressing.gateway4, port: DHCP_PORT.SERVER };
      this.link.sendUdp(from, { address: answer.destination, port: DHCP_PORT.CLIENT }, answer.message);
      return;
    }
    if (packet.source.isUnspecified || !this.#isRoutable(packet)) return;
    this.#learn(packet.source, card);
    const guest = { address: packet.source, port: datagram.sourcePort };
    const to = { address: packet.destination, port: datagram.destinationPort };
    if (this.#isDns(to.address)) {
      if (guest.port === 0) return;
      if (to.port === DNS_PORT)
        dns.ask(datagram.data, false, (message) =>
          this.link.sendUdp(to, guest, message.length > LONGEST_DNS_ANSWER ? truncated(message) : message),
        );
      else this.#refuse(packet, 'port');
    } else this.udp.datagram(guest, to, datagram.data);
  }

  #icmp(packet: IpPacket, card: MacAddress): void {
    if (!isSoundIcmp(packet)) return;
    const { source, destination, family } = packet;
    if (family === 6 && this.#discovery(packet, card)) return;
    if (source.isUnspecified) return;
    const reply = echoReply(packet);
    if (reply === undefined) return;
    if (this.#isOurs(destination)) this.#sendIcmp(destination, source, reply);
    else if (this.#isRoutable(packet)) this.echoes.request(packet);
  }

  #sendIcmp(source: IpAddress, destination: IpAddress, message: Uint8Array): void {
    const protocol = source.family === 4 ? PROTOCOL.ICMP : PROTOCOL.ICMPV6;
    this.link.sendPacket({ source, destination, protocol }, message);
  }

  /** Whether it was neighbour discovery, which is then answered. */
  #discovery({ source, payload, hopLimit, destination }: IpPacket, card: MacAddress): boolean {
    const [type] = payload;
    const { addressing } = this.#parts;
    switch (type) {
      case ICMPV6.ROUTER_SOLICITATION:
        if (hopLimit !== DISCOVERY_HOP_LIMIT) return true;
        this.#learn(source, card);
        this.#advertise();
        return true;
      case ICMPV6.NEIGHBOR_SOLICITATION: {
        const message = parseNeighbor(payload);
        if (hopLimit !== DISCOVERY_HOP_LIMIT || message === undefined) return true;
        if (!source.isUnspecified) this.#learn(source, message.card ?? card);
        if (!this.#isOurs(message.target)) return true;
        // Somebody who wants one of our addresses for himself (RFC 4862, 5.4) has none yet; everybody hears that it is taken.
        const to = source.isUnspecified ? ALL_NODES6 : source;
        const answer = neighborAdvertisement(message.target, addressing.gatewayMac, !source.isUnspecified);
        this.#discoveryMessage(message.target, to, answer);
        return true;
      }
      case ICMPV6.NEIGHBOR_ADVERTISEMENT: {
        const message = parseNeighbor(payload);
        if (hopLimit === DISCOVERY_HOP_LIMIT && message !== undefined)
          this.#learn(message.target, message.card ?? card);
        return true;
      }
      default:
        return destination.isGroup;
    }
  }

  #advertise(): void {
    const { addressing } = this.#parts;
    this.#discoveryMessage(addressing.linkLocal6, ALL_NODES6, routerAdvertisement(addressing));
  }

  #discoveryMessage(source: IpAddress, destination: IpAddress, message: Uint8Array): void {
    const header = { source, destination, protocol: PROTOCOL.ICMPV6, hopLimit: DISCOVERY_HOP_LIMIT };
    this.link.sendPacket(header, message);
  }

  /** Whether a packet is for somewhere that a guest can send to through us; what is for a group or for another machine is not. */
  #isRoutable({ source, destination }: IpPacket): boolean {
    if (destination.isGroup || destination.isUnspecified || destination.isLoopback || destination.isMapped)
      return false;
    if (destination.isLinkLocal || source.isGroup || source.isLoopback) return false;
    return this.#isOurs(destination) || !this.#isLocal(destination);
  }

  #isLocal(address: IpAddress): boolean {
    const { gateway4, prefix6 } = this.#parts.addressing;
    if (address.family === 4) return address.sharesPrefix(gateway4, IPV4_PREFIX_BITS);
    return address.isLinkLocal || address.sharesPrefix(prefix6, IPV6_PREFIX_BITS);
  }

  #isOurs(address: IpAddress): boolean {
    const { gateway4, gateway6, linkLocal6 } = this.#parts.addressing;
    return address.equals(gateway4) || address.equals(gateway6) || address.equals(linkLocal6) || this.#isDns(address);
  }

  #isDns(address: IpAddress): boolean {
    const { dns4, dns6 } = this.#parts.addressing;
    return address.equals(dns4) || address.equals(dns6);
  }

  #connect(to: Endpoint, events: TcpEvents): HostTcp {
    const { host, dns } = this.#parts;
    if (!this.#isDns(to.address)) return host.connectTcp({ address: this.#outside(to.address), port: to.port }, events);
    const stream = new DnsStream(dns, events);
    if (to.port === DNS_PORT) events.connected();
    else events.closed('refused');
    return stream;
  }

  /** Where the host finds what a guest calls so: the gateway is the host itself. */
  #outside(address: IpAddress): IpAddress {
    const { gateway4, gateway6 } = this.#parts.addressing;
    if (address.equals(gateway4)) return LOOPBACK4;
    return address.equals(gateway6) ? LOOPBACK6 : address;
  }

  #inside(address: IpAddress): IpAddress {
    const { gateway4, gateway6 } = this.#parts.addressing;
    if (address.equals(LOOPBACK4)) return gateway4;
    return address.equals(LOOPBACK6) ? gateway6 : address;
  }

  #refuse(packet: IpPacket, reason: UnreachableReason): void {
    if (packet.protocol === PROTOCOL.ICMP || packet.protocol === PROTOCOL.ICMPV6) {
      if (isIcmpError(packet)) return;
    }
    this.#tellUnreachable(packet.destination, packet.source, reason, quotable(packet));
  }

  #tellUnreachable(from: IpAddress, to: IpAddress, reason: UnreachableReason, quoted: Uint8Array): void {
    const { gateway4, gateway6 } = this.#parts.addressing;
    const { family } = from;
    // It is the router that knows, and not who cannot be reached; unless that is us.
    const source = this.#isOurs(from) ? from : family === 4 ? gateway4 : gateway6;
    this.#sendIcmp(source, to, unreachableMessage(family, reason, quoted));
  }
}
