/**
 * Which queue pair a frame belongs to where the driver uses several (virtio 1.3, 5.1.6.5.6, automatic receive steering): packets of a flow
 * come in where the driver last sent packets of the same flow, so that one processor does all the work for it.
 *
 * A flow is known by a small number that is the same in both directions; flows that share one only share a queue.
 */

import { ETHERNET_HEADER_BYTES } from '../../base/frames.ts';
import type { Saved, SavedReader } from '../../base/saved.ts';

/** Numbers of flows; a power of two. */
const FLOWS = 256;
const ETHERTYPE = { IPV4: 0x0800, IPV6: 0x86dd } as const;
const TCP = 6;
const UDP = 17;

export class FlowTable {
  readonly #pairs = new Uint8Array(FLOWS);
  readonly #mostPairs: number;

  constructor(mostPairs: number) {
    this.#mostPairs = mostPairs;
  }

  reset(): void {
    this.#pairs.fill(0);
  }

  /** The driver sent a frame through this queue pair. */
  sent(frame: Uint8Array, pair: number): void {
    this.#pairs[flowOf(frame)] = pair;
  }

  /** The queue pair for a frame that comes in, of `pairs` in use. */
  pairOf(frame: Uint8Array, pairs: number): number {
    return pairs === 1 ? 0 : (this.#pairs[flowOf(frame)] ?? 0) % pairs;
  }

  save(): Saved {
    return this.#pairs.slice();
  }

  restorer(reader: SavedReader): () => void {
    const pairs = reader.bytes(FLOWS);
    if (pairs.some((pair) => pair >= this.#mostPairs)) reader.refuse('names a queue pair that does not exist');
    return () => this.#pairs.set(pairs);
  }
}

/** Both addresses and both ports, each pair in no order. */
function flowOf(frame: Uint8Array): number {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  let hash = 0;
  let transport = ETHERNET_HEADER_BYTES;
  let protocol = 0;
  if (type === ETHERTYPE.IPV4) {
    for (let at = 26; at < 34; at++) hash ^= frame[at] ?? 0;
    protocol = frame[23] ?? 0;
    transport += 4 * ((frame[14] ?? 0) & 0xf);
  } else if (type === ETHERTYPE.IPV6) {
    for (let at = 22; at < 54; at++) hash ^= frame[at] ?? 0;
    protocol = frame[20] ?? 0;
    transport += 40;
  }
  if (protocol === TCP || protocol === UDP) {
    const ports = [0, 2].map((at) => ((frame[transport + at] ?? 0) << 8) | (frame[transport + at + 1] ?? 0));
    hash ^= 31 * ((ports[0] ?? 0) + (ports[1] ?? 0));
  }
  return hash & (FLOWS - 1);
}
