/**
 * Puts datagrams together that came in pieces (RFC 791, 3.2; RFC 8200, 4.5). Pieces that overlap make the datagram worthless (RFC 5722),
 * for IPv4 too.
 */

import { type IpPacket, PROTOCOL } from './ip.ts';
import { IPV4_BYTES, IPV6_BYTES } from './addresses.ts';
import { pseudoHeaderSum } from './checksum.ts';
import type { NetworkTimers } from './host.ts';

/** Datagrams that are incomplete at once; the oldest makes room. */
export const MAXIMUM_INCOMPLETE = 16;
/** Pieces of one datagram. */
export const MAXIMUM_PIECES = 64;
/** An IP payload is no longer than this. */
const MAXIMUM_PAYLOAD_BYTES = 65_535;
/** How long a datagram may be incomplete. */
export const REASSEMBLY_TIMEOUT_MS = 30_000;

interface Incomplete {
  readonly sinceMs: number;
  readonly pieces: { readonly offset: number; readonly data: Uint8Array }[];
  bytes: number;
  /** Length of the whole payload, once the last piece is there. */
  total: number | undefined;
}

export class Reassembly {
  readonly #timers: NetworkTimers;
  readonly #incomplete = new Map<string, Incomplete>();

  constructor(timers: NetworkTimers) {
    this.#timers = timers;
  }

  /** Datagrams that wait for more pieces. */
  get size(): number {
    return this.#incomplete.size;
  }

  /** The whole packet when this piece was the last one missing. */
  add(packet: IpPacket): IpPacket | undefined {
    const { fragment, payload } = packet;
    if (fragment === undefined) return packet;
    const key = `${fragment.id} ${packet.protocol} ${packet.source.key}${packet.destination.key}`;
    const end = fragment.offset + payload.length;
    const entry = this.#entry(key);
    const isWrong =
      end > MAXIMUM_PAYLOAD_BYTES ||
      payload.length === 0 ||
      (fragment.more && payload.length % 8 !== 0) ||
      (!fragment.more && entry.total !== undefined && entry.total !== end) ||
      entry.pieces.length === MAXIMUM_PIECES ||
      entry.pieces.some(({ offset, data }) => fragment.offset < offset + data.length && offset < end);
    if (isWrong) {
      this.#incomplete.delete(key);
      return undefined;
    }
    entry.pieces.push({ offset: fragment.offset, data: payload.slice() });
    entry.bytes += payload.length;
    if (!fragment.more) entry.total = end;
    if (entry.total === undefined || entry.bytes < entry.total) return undefined;
    this.#incomplete.delete(key);
    // More bytes than the whole has, without an overlap: some lie behind its end.
    return entry.bytes > entry.total ? undefined : whole(packet, entry, entry.total);
  }

  #entry(key: string): Incomplete {
    const nowMs = this.#timers.nowMs();
    const known = this.#incomplete.get(key);
    if (known !== undefined && nowMs - known.sinceMs < REASSEMBLY_TIMEOUT_MS) return known;
    this.#incomplete.delete(key);
    if (this.#incomplete.size >= MAXIMUM_INCOMPLETE) {
      const [oldest] = this.#incomplete.keys();
      if (oldest !== undefined) this.#incomplete.delete(oldest);
    }
    const fresh: Incomplete = { sinceMs: nowMs, pieces: [], bytes: 0, total: undefined };
    this.#incomplete.set(key, fresh);
    return fresh;
  }
}

function whole(packet: IpPacket, { pieces }: Incomplete, total: number): IpPacket {
  const payload = new Uint8Array(total);
  for (const { offset, data } of pieces) payload.set(data, offset);
  const addresses = new Uint8Array([...packet.source.bytes, ...packet.destination.bytes]);
  const addressBytes = packet.family === 4 ? IPV4_BYTES : IPV6_BYTES;
  // ICMP has no pseudo header in IPv4, and the sum is not looked at then.
  const pseudoSum =
    packet.protocol === PROTOCOL.ICMP ? 0 : pseudoHeaderSum(addresses, 0, addressBytes, packet.protocol, total);
  return { ...packet, payload, fragment: undefined, pseudoSum };
}
