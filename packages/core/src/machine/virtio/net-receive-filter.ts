/**
 * Which frames a network card takes by their destination address, as the driver sets it through the control queue (virtio 1.3, 5.1.6.5.1
 * and 5.1.6.5.2). After a reset it takes all of them; a driver that can tell us better does so.
 */

import type { Saved, SavedReader } from '../../base/saved.ts';

export const MAC_BYTES = 6;
/** Addresses that one table may hold; with more the card takes every address of that kind, as the specification allows. */
export const MAXIMUM_FILTER_ADDRESSES = 64;

/** The first bit on the wire of a group address. */
const GROUP = 1;

export class ReceiveFilter {
  promiscuous = true;
  allMulticast = false;
  /** Addresses of 6 octets one after the other; undefined when there were too many to keep. */
  #unicast: Uint8Array | undefined = new Uint8Array(0);
  #multicast: Uint8Array | undefined = new Uint8Array(0);

  reset(): void {
    this.promiscuous = true;
    this.allMulticast = false;
    this.#unicast = new Uint8Array(0);
    this.#multicast = new Uint8Array(0);
  }

  /** Takes what VIRTIO_NET_CTRL_MAC_TABLE_SET carries: two tables, each a le32 count and addresses. False when it is cut short. */
  setTables(data: Uint8Array): boolean {
    const unicast = table(data);
    const multicast = unicast && table(unicast.rest);
    if (unicast === undefined || multicast === undefined) return false;
    this.#unicast = unicast.kept;
    this.#multicast = multicast.kept;
    return true;
  }

  /** Whether a frame for the address at the beginning of `frame` is for a card with the address `own`. */
  takes(frame: Uint8Array, own: Uint8Array): boolean {
    if (this.promiscuous) return true;
    if (((frame[0] ?? 0) & GROUP) === 0) return isAt(frame, own, 0) || has(this.#unicast, frame);
    return isBroadcast(frame) || this.allMulticast || has(this.#multicast, frame);
  }

  save(): Saved {
    return {
      promiscuous: this.promiscuous,
      allMulticast: this.allMulticast,
      unicast: this.#unicast?.slice() ?? null,
      multicast: this.#multicast?.slice() ?? null,
    };
  }

  /** Checks what `save` gave and returns what takes it over. */
  restorer(reader: SavedReader): () => void {
    const promiscuous = reader.field('promiscuous').boolean();
    const allMulticast = reader.field('allMulticast').boolean();
    const [unicast, multicast] = ['unicast', 'multicast'].map((name) => {
      const field = reader.field(name);
      if (field.raw() === null) return undefined;
      const bytes = field.bytes();
      if (bytes.length % MAC_BYTES !== 0 || bytes.length > MAC_BYTES * MAXIMUM_FILTER_ADDRESSES)
        field.refuse('is no table of addresses');
      return bytes.slice();
    });
    return () => {
      this.promiscuous = promiscuous;
      this.allMulticast = allMulticast;
      this.#unicast = unicast;
      this.#multicast = multicast;
    };
  }
}

/** One table at the beginning of `data` and what follows it, or undefined when it is longer than `data`. */
function table(data: Uint8Array): { readonly kept: Uint8Array | undefined; readonly rest: Uint8Array } | undefined {
  if (data.length < 4) return undefined;
  const count = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  const end = 4 + count * MAC_BYTES;
  if (end > data.length) return undefined;
  return { kept: count > MAXIMUM_FILTER_ADDRESSES ? undefined : data.slice(4, end), rest: data.subarray(end) };
}

/** A table that was too long to keep has every address. */
function has(addresses: Uint8Array | undefined, frame: Uint8Array): boolean {
  if (addresses === undefined) return true;
  for (let at = 0; at < addresses.length; at += MAC_BYTES) if (isAt(frame, addresses, at)) return true;
  return false;
}

function isAt(frame: Uint8Array, addresses: Uint8Array, at: number): boolean {
  for (let index = 0; index < MAC_BYTES; index++) if (frame[index] !== addresses[at + index]) return false;
  return true;
}

function isBroadcast(frame: Uint8Array): boolean {
  for (let index = 0; index < MAC_BYTES; index++) if (frame[index] !== 0xff) return false;
  return true;
}
