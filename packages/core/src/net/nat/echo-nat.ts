/**
 * Echoes (ping) of guests to the world (RFC 5508): a program without privileges cannot send ICMP itself, so the host is asked whether somebody
 * answers, and the guest is given the answer that its own request asks for.
 *
 *     guest --echo request--> EchoNat --HostNetwork.echo--> the host, as it can
 *           <--echo reply, unreachable, or nothing--
 */

import type { IpAddress } from '../addresses.ts';
import type { EchoOutcome, HostNetwork } from '../host.ts';
import { ICMP_HEADER_BYTES, echoReply, quotable } from '../icmp.ts';
import type { UnreachableReason } from '../icmp.ts';
import type { IpPacket } from '../ip.ts';

/** Echoes that wait for their answers at once; more are lost, as on a wire that is full. */
export const MAXIMUM_ECHOES = 16;

export interface EchoNatParts {
  readonly host: Pick<HostNetwork, 'echo'>;
  readonly outside: (address: IpAddress) => IpAddress;
  /** `reply` is a message without its checksum. */
  readonly reply: (request: IpPacket, reply: Uint8Array) => void;
  readonly unreachable: (
    request: Pick<IpPacket, 'source' | 'destination'>,
    reason: UnreachableReason,
    quoted: Uint8Array,
  ) => void;
}

export class EchoNat {
  readonly #parts: EchoNatParts;
  #underWay = 0;
  #isClosed = false;

  constructor(parts: EchoNatParts) {
    this.#parts = parts;
  }

  /** Echoes that wait for their answers. */
  get size(): number {
    return this.#underWay;
  }

  /** A request of a guest for somebody outside; its checksum was right. */
  request(packet: IpPacket): void {
    const reply = echoReply(packet);
    if (reply === undefined) return;
    const { host, outside } = this.#parts;
    if (host.echo === undefined) this.#parts.unreachable(packet, 'prohibited', quotable(packet));
    else if (this.#underWay < MAXIMUM_ECHOES && !this.#isClosed)
      // The packet is a view of a frame that is gone when the answer comes.
      void this.#ask(
        { ...packet, payload: reply, bytes: quotable(packet) },
        host.echo(outside(packet.destination), reply.length - ICMP_HEADER_BYTES),
      );
  }

  close(): void {
    this.#isClosed = true;
  }

  async #ask(packet: IpPacket, answer: Promise<EchoOutcome>): Promise<void> {
    this.#underWay++;
    const outcome = await answer;
    this.#underWay--;
    if (this.#isClosed || outcome === 'silent') return;
    if (outcome === 'answered') this.#parts.reply(packet, packet.payload);
    else this.#parts.unreachable(packet, outcome === 'unreachable' ? 'host' : 'prohibited', packet.bytes);
  }
}
