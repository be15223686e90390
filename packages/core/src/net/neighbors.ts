/** Which card has which address (RFC 826, RFC 4861, 5.1): what ARP and neighbour discovery fill in and every packet confirms. */

import type { IpAddress, MacAddress } from './addresses.ts';

/** Addresses that are remembered; the one that was heard of longest ago makes room. */
export const MAXIMUM_NEIGHBORS = 512;

export class Neighbors {
  readonly #cards = new Map<string, MacAddress>();

  get(address: IpAddress): MacAddress | undefined {
    return this.#cards.get(address.key);
  }

  set(address: IpAddress, card: MacAddress): void {
    const { key } = address;
    if (this.#cards.get(key)?.key === card.key) return;
    this.#cards.delete(key);
    if (this.#cards.size >= MAXIMUM_NEIGHBORS) {
      const [oldest] = this.#cards.keys();
      if (oldest !== undefined) this.#cards.delete(oldest);
    }
    this.#cards.set(key, card);
  }

  get size(): number {
    return this.#cards.size;
  }
}
