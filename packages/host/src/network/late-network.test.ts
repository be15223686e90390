/** A card whose network is said later. */

import type { Frame, FrameEndpoint, FramePort } from '@ringfence/core';
import { expect, test } from 'vitest';
import { LateNetwork } from './late-network.ts';
import type { MachineNetwork } from './machine-network.ts';

const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);

const plainFrame = (bytes: Uint8Array): Frame => ({
  bytes,
  checksumStart: -1,
  checksumOffset: 0,
  segmentation: 'none',
  segmentBytes: 0,
});

function networkOf(port: FramePort): MachineNetwork {
  return {
    cards: [{ mac: MAC, port }],
    settings: undefined,
    closePorts: () => undefined,
    openPorts: () => Promise.resolve(),
    close: () => Promise.resolve('closed'),
  };
}

test('what its machine sends before is lost, and afterwards the network has it under the address that is its own there', async () => {
  const sent: number[] = [];
  let plugged: FrameEndpoint | undefined;
  const port: FramePort = {
    attach: (endpoint) => void (plugged = endpoint),
    transmit: ({ bytes }) => sent.push(bytes.length) > 0,
    transmitted: () => undefined,
    roomAgain: () => undefined,
  };
  const late = new LateNetwork(true);
  const [card] = late.network.cards;
  const machine = { takesChecksums: false } as unknown as FrameEndpoint;
  card?.port.attach(machine);
  expect(card?.port.transmit(plainFrame(new Uint8Array(60)))).toBe(true);
  const network = late.join(networkOf(port));
  expect(network.cards[0]).toBe(card);
  expect([card?.mac, plugged]).toEqual([MAC, machine]);
  card?.port.transmit(plainFrame(new Uint8Array(61)));
  expect(sent).toEqual([61]);
  expect(await network.close()).toBe('closed');
});

test('a machine without a card is on no network', () => {
  const late = new LateNetwork(false);
  const none: MachineNetwork = { ...late.network, cards: [] };
  expect(late.join(none)).toBe(none);
});
