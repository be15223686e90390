/**
 * Addresses: of cards (EUI-48), of IPv4 (RFC 791) and IPv6 (RFC 4291). Immutable, comparable by `key`, made from text or from the octets of
 * a packet.
 */

import { sameOctets } from './octets.ts';

export const MAC_BYTES = 6;
export const IPV4_BYTES = 4;
export const IPV6_BYTES = 16;

export class MacAddress {
  static readonly broadcast = new MacAddress(new Uint8Array(MAC_BYTES).fill(0xff));

  readonly bytes: Uint8Array;
  /** The address as one number: it has 48 bits. */
  readonly key: number;

  private constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.key = macKey(bytes, 0);
  }

  /** The 6 octets at `at`. */
  static at(bytes: Uint8Array, at: number): MacAddress {
    return new MacAddress(bytes.slice(at, at + MAC_BYTES));
  }

  /** `52:54:00:12:34:56`; undefined for anything else. */
  static parse(text: string): MacAddress | undefined {
    if (!/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i.test(text)) return undefined;
    return new MacAddress(Uint8Array.from(text.split(':'), (octet) => Number.parseInt(octet, 16)));
  }

  /** Whether it is the address of one card, and not of a group or of nobody. */
  get isUnicast(): boolean {
    return ((this.bytes[0] ?? 0) & 1) === 0 && this.key !== 0;
  }

  toString(): string {
    return Array.from(this.bytes, (octet) => octet.toString(16).padStart(2, '0')).join(':');
  }
}

/** The key of the address at `at`, without making the address. */
export function macKey(bytes: Uint8Array, at: number): number {
  let key = 0;
  for (let index = at; index < at + MAC_BYTES; index++) key = key * 256 + (bytes[index] ?? 0);
  return key;
}

export class IpAddress {
  readonly family: 4 | 6;
  readonly bytes: Uint8Array;
  #key: string | undefined;

  private constructor(bytes: Uint8Array) {
    this.family = bytes.length === IPV4_BYTES ? 4 : 6;
    this.bytes = bytes;
  }

  /** The address at `at` of a packet. Packets of a connection have the same two: the object is one that was made lately, where it can be. */
  static at(bytes: Uint8Array, at: number, family: 4 | 6): IpAddress {
    const size = family === 4 ? IPV4_BYTES : IPV6_BYTES;
    const slot = slotOf(bytes, at + size - IPV4_BYTES, family);
    const recent = recentAddresses[slot];
    if (recent?.bytes.length === size && isAt(recent.bytes, bytes, at)) return recent;
    const address = new IpAddress(bytes.slice(at, at + size));
    recentAddresses[slot] = address;
    return address;
  }

  static of(...octets: readonly number[]): IpAddress {
    return new IpAddress(Uint8Array.from(octets));
  }

  /** `10.0.2.15`, `fd00::2`, `::ffff:10.0.2.15`; undefined for anything else. */
  static parse(text: string): IpAddress | undefined {
    const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text);
    return bytes && new IpAddress(Uint8Array.from(bytes));
  }

  /** The same for the same address, and different for every other one. */
  get key(): string {
    this.#key ??= String.fromCharCode(...this.bytes);
    return this.#key;
  }

  equals(other: IpAddress): boolean {
    return this === other || sameOctets(this.bytes, other.bytes);
  }

  /** Whether the first `bits` are the same. */
  sharesPrefix(other: IpAddress, bits: number): boolean {
    if (other.family !== this.family) return false;
    for (let bit = 0; bit < bits; bit += 8) {
      const mask = 0xff & (0xff << Math.max(0, 8 - (bits - bit)));
      if ((((this.bytes[bit >> 3] ?? 0) ^ (other.bytes[bit >> 3] ?? 0)) & mask) !== 0) return false;
    }
    return true;
  }

  get isUnspecified(): boolean {
    return this.bytes.every((octet) => octet === 0);
  }

  /** Multicast, broadcast and IPv4's reserved space: nothing that one computer has. */
  get isGroup(): boolean {
    return this.family === 4 ? (this.bytes[0] ?? 0) >= 224 : this.bytes[0] === 0xff;
  }

  get isLoopback(): boolean {
    if (this.family === 4) return this.bytes[0] === 127;
    return this.bytes[15] === 1 && this.bytes.subarray(0, 15).every((octet) => octet === 0);
  }

  /** fe80::/10 and 169.254.0.0/16: has a meaning on this network only. */
  get isLinkLocal(): boolean {
    const [first, second = 0] = this.bytes;
    return this.family === 4 ? first === 169 && second === 254 : first === 0xfe && (second & 0xc0) === 0x80;
  }

  /** An IPv4 address in the clothes of an IPv6 one (RFC 4291, 2.5.5.2). */
  get isMapped(): boolean {
    return (
      this.family === 6 &&
      this.bytes[10] === 0xff &&
      this.bytes[11] === 0xff &&
      this.bytes.subarray(0, 10).every((octet) => octet === 0)
    );
  }

  toString(): string {
    return this.family === 4 ? this.bytes.join('.') : ipv6Text(this.bytes);
  }
}

/** Addresses that packets had lately, by a hash of their last octets; a newcomer takes the place of whoever is there. */
const RECENT_ADDRESSES = 256;
const recentAddresses: (IpAddress | undefined)[] = Array.from({ length: RECENT_ADDRESSES });

function slotOf(bytes: Uint8Array, at: number, family: number): number {
  const octet = (index: number): number => bytes[at + index] ?? 0;
  return (octet(3) + 31 * octet(2) + 17 * octet(1) + 7 * octet(0) + family) & (RECENT_ADDRESSES - 1);
}

function isAt(address: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < address.length; index++) if (address[index] !== bytes[at + index]) return false;
  return true;
}

/** Address and port. */
export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== IPV4_BYTES || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.map(Number);
}

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map(ipv6Groups);
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === IPV6_BYTES ? head : undefined;
  if (tail === undefined || head.length + tail.length > IPV6_BYTES - 2) return undefined;
  return [...head, ...Array.from({ length: IPV6_BYTES - head.length - tail.length }, () => 0), ...tail];
}

/** The octets of groups between colons; the last may be written as an IPv4 address. */
function ipv6Groups(text: string): number[] | undefined {
  const octets: number[] = [];
  if (text === '') return octets;
  const groups = text.split(':');
  for (const [index, group] of groups.entries()) {
    if (index === groups.length - 1 && group.includes('.')) {
      const last = parseIpv4(group);
      if (last === undefined) return undefined;
      octets.push(...last);
    } else if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16);
      octets.push(value >>> 8, value & 0xff);
    } else return undefined;
  }
  return octets;
}

/** As RFC 5952 has it: the longest run of zero groups becomes `::`. */
function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0));
  let best = { start: 0, length: 1 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (start + length < groups.length && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (best.length === 1) return text(groups);
  return `${text(groups.slice(0, best.start))}::${text(groups.slice(best.start + best.length))}`;
}
