/**
 * The network card of a machine that is made before it is known whose it is: where its cable leads, its address and its ports are said later. Nothing comes
 * through it before, and what is sent is lost.
 */

import type { FrameEndpoint, FramePort, MachineNetworkCard } from '@ringfence/core';
import type { MachineNetwork } from './machine-network.ts';

const MAC_BYTES = 6;

export class LateNetwork {
  /** As long as it is on none. */
  readonly network: MachineNetwork;
  readonly #card: MachineNetworkCard | undefined;
  #endpoint: FrameEndpoint | undefined;
  #port: FramePort | undefined;

  /** Of a machine that has a card, or none. */
  constructor(hasCard: boolean) {
    const port: FramePort = {
      attach: (endpoint) => void (this.#endpoint = endpoint),
      transmit: (frame) => this.#port?.transmit(frame) ?? true,
      transmitted: () => this.#port?.transmitted(),
      roomAgain: () => this.#port?.roomAgain(),
    };
    this.#card = hasCard ? { mac: new Uint8Array(MAC_BYTES), port, counts: { bytes: 0 } } : undefined;
    this.network = {
      cards: this.#card === undefined ? [] : [this.#card],
      settings: undefined,
      closePorts: () => undefined,
      openPorts: () => Promise.resolve(),
      close: () => Promise.resolve(undefined),
    };
  }

  /** Puts the machine on a network, where it is from now on; once. */
  join(network: MachineNetwork): MachineNetwork {
    const [place] = network.cards;
    if (place === undefined || this.#card === undefined) return network;
    this.#card.mac.set(place.mac);
    if (this.#endpoint !== undefined) place.port.attach(this.#endpoint);
    this.#port = place.port;
    return { ...network, cards: [this.#card] };
  }
}
