/** The network of one machine: its card, its published ports, its capture. */

import {
  MacAddress,
  type MachineNetworkCard,
  type NetworkPlace,
  type PacketFilter,
  VirtualNetwork,
} from '@ringfence/core';
import type { GuestCommand } from '@ringfence/images/guest';
import { HostError } from '../failure.ts';
import { fillRandomly } from '../random.ts';
import { type CaptureFile, openCapture } from './capture-file.ts';
import { nodeHostNetwork, nodeNetworkTimers } from './host-network.ts';
import type { NameServer } from './name-servers.ts';
import { parsePublish, type PublishedPort } from './publish.ts';
import { type OpenPorts, publish } from './published-ports.ts';

/** As people write it. */
export interface NetworkWords {
  /** `none`, `user`, or the name of a network that several machines of this process may be on. */
  readonly net: string;
  /** Ports of this computer that lead into the machine: [ADDRESS:]PORT:GUESTPORT[/udp]. */
  readonly publish: readonly string[];
  /** A pcapng file that gets all frames. */
  readonly capture?: string | undefined;
  /** Of the machine's card; one that is free when it is not given. */
  readonly mac?: string | undefined;
}

export interface NetworkSettings {
  readonly net: string;
  readonly ports: readonly PublishedPort[];
  readonly capture: string | undefined;
  readonly mac: MacAddress | undefined;
}

export interface MachineNetwork {
  readonly cards: readonly MachineNetworkCard[];
  /** What the guest need not ask for; undefined without a network. */
  readonly settings: NonNullable<GuestCommand['network']> | undefined;
  /** Lets nobody in any more, until `openPorts`: another process listens there. */
  closePorts(): void;
  openPorts(): Promise<void>;
  /** The guest has given its card the address that it has here. */
  settled?(): void;
  /** Ends it, and says what the user should know. */
  close(): Promise<string | undefined>;
}

const NAME = /^[a-z0-9](?:[a-z0-9_.-]{0,62})$/i;

const NO_NETWORK: MachineNetwork = {
  cards: [],
  settings: undefined,
  closePorts: () => undefined,
  openPorts: () => Promise.resolve(),
  close: () => Promise.resolve(undefined),
};

/** A new network, with this process's sockets behind its gateway. */
export function newNetwork(nameServers?: readonly NameServer[], filter?: PacketFilter): VirtualNetwork {
  return new VirtualNetwork({
    ...(filter ? { filter } : {}),
    host: nodeHostNetwork(nameServers),
    timers: nodeNetworkTimers,
    entropy: { fill: fillRandomly },
  });
}

/** The networks of this process that have a name, while somebody is on them. */
const named = new Map<string, VirtualNetwork>();

/** What the words say; throws a HostError. `called` is what the user knows them as. */
export function parseNetwork(
  { net, publish: texts, capture, mac: macText }: NetworkWords,
  called: Readonly<Record<'net' | 'publish' | 'capture', string>> = {
    net: 'Network',
    publish: 'Port',
    capture: 'Capture',
  },
): NetworkSettings {
  const wrong = (problem: string): HostError => new HostError('bad-argument', problem);
  if (!NAME.test(net))
    throw wrong(`${called.net} "${net}" is no name of a network; use letters, digits, dots and dashes`);
  const [option] = [...(texts.length > 0 ? [called.publish] : []), ...(capture === undefined ? [] : [called.capture])];
  if (net === 'none' && option !== undefined)
    throw wrong(`${option} needs a network, and ${called.net} none says that there is none`);
  const ports = texts.map((text) => {
    const port = parsePublish(text);
    if (typeof port === 'string') throw wrong(`${called.publish} "${text}" ${port}`);
    return port;
  });
  const mac = macText === undefined ? undefined : MacAddress.parse(macText);
  if (macText !== undefined && mac?.isUnicast !== true)
    throw wrong(`"${macText}" is no address of a network card; write it like 52:54:00:12:34:56`);
  return { net, ports, capture, mac };
}

/** Puts a machine, by the name `hostname`, on its network; without its ports where they are to be opened later. */
export async function openNetwork(
  options: NetworkSettings,
  hostname: string,
  portsLater = false,
): Promise<MachineNetwork> {
  if (options.net === 'none') return NO_NETWORK;
  const network = options.net === 'user' ? newNetwork() : (named.get(options.net) ?? newNetwork());
  const place = network.plug(hostname, options.mac);
  if (place === undefined)
    throw new HostError('too-many', `the network "${options.net}" has no address left for another machine`);
  if (options.net !== 'user') named.set(options.net, network);
  const leave = (): void => {
    place.unplug();
    if (network.size > 0) return;
    network.close();
    if (named.get(options.net) === network) named.delete(options.net);
  };
  try {
    return await onNetwork(place, options.ports, options.capture, leave, portsLater);
  } catch (error) {
    leave();
    throw error;
  }
}

async function onNetwork(
  place: NetworkPlace,
  ports: readonly PublishedPort[],
  capturePath: string | undefined,
  leave: () => void,
  portsLater: boolean,
): Promise<MachineNetwork> {
  let open: OpenPorts = await publish(portsLater ? [] : ports, place);
  let capture: CaptureFile | undefined;
  let isClosed = false;
  try {
    if (capturePath !== undefined) capture = await openCapture(capturePath, place.port);
  } catch (error) {
    open.close();
    throw error;
  }
  return {
    cards: [{ mac: place.mac.bytes, port: capture?.port ?? place.port, counts: { bytes: 0 } }],
    settings: place.settings,
    closePorts: () => open.close(),
    settled: () => place.settled(),
    async openPorts() {
      open.close();
      open = await publish(ports, place);
      // Whoever has left meanwhile has none.
      if (isClosed) open.close();
    },
    close() {
      isClosed = true;
      open.close();
      leave();
      return capture?.close() ?? Promise.resolve(undefined);
    },
  };
}
