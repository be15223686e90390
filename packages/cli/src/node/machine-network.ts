/** The network of one machine, as the options of `run` name it: its card, its published ports, its capture. */

import { randomFillSync } from 'node:crypto';
import { type MachineNetworkCard, type NetworkPlace, type PacketFilter, VirtualNetwork } from '@ringfence/core';
import type { GuestCommand } from '@ringfence/images/guest';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { parsePublish, type PublishedPort } from '../publish.ts';
import { type CaptureFile, openCapture } from './capture-file.ts';
import { nodeHostNetwork, nodeNetworkTimers } from './host-network.ts';
import type { NameServer } from './name-servers.ts';
import { type OpenPorts, publish } from './published-ports.ts';

export interface NetworkOptions {
  /** `none`, `user`, or the name of a network. */
  readonly net: string;
  readonly publish: readonly string[];
  readonly capture?: string | undefined;
}

export interface MachineNetwork {
  readonly cards: readonly MachineNetworkCard[];
  /** What the guest need not ask for; undefined without a network. */
  readonly settings: NonNullable<GuestCommand['network']> | undefined;
  /** Ends it, and says what the user should know. */
  close(): Promise<string | undefined>;
}

const NAME = /^[a-z0-9](?:[a-z0-9_.-]{0,62})$/i;
/** A machine on the network is called as it calls itself. */
const MACHINE_NAME = 'tiny';

const NO_NETWORK: MachineNetwork = { cards: [], settings: undefined, close: () => Promise.resolve(undefined) };

/** A new network, with this process's sockets behind its gateway. */
export function newNetwork(nameServers?: readonly NameServer[], filter?: PacketFilter): VirtualNetwork {
  return new VirtualNetwork({
    ...(filter ? { filter } : {}),
    host: nodeHostNetwork(nameServers),
    timers: nodeNetworkTimers,
    entropy: { fill: (into) => void randomFillSync(into) },
  });
}

/** The networks of this process that have a name, while somebody is on them. */
const named = new Map<string, VirtualNetwork>();

/** What the options say, checked; or why they say nothing. */
export function parseNetworkOptions({ net, publish: texts, capture }: NetworkOptions): readonly PublishedPort[] {
  if (!NAME.test(net))
    throw new CliError(`--net "${net}" is no name of a network; use letters, digits, dots and dashes`, EXIT.NO_MACHINE);
  const [option] = [...(texts.length > 0 ? ['--publish'] : []), ...(capture === undefined ? [] : ['--capture'])];
  if (net === 'none' && option !== undefined)
    throw new CliError(`${option} needs a network, and --net none says that there is none`, EXIT.NO_MACHINE);
  return texts.map((text) => {
    const port = parsePublish(text);
    if (typeof port === 'string') throw new CliError(`--publish "${text}" ${port}`, EXIT.NO_MACHINE);
    return port;
  });
}

export async function openNetwork(options: NetworkOptions): Promise<MachineNetwork> {
  const ports = parseNetworkOptions(options);
  if (options.net === 'none') return NO_NETWORK;
  const network = options.net === 'user' ? newNetwork() : (named.get(options.net) ?? newNetwork());
  const place = network.plug(MACHINE_NAME);
  if (place === undefined)
    throw new CliError(`the network "${options.net}" has no address left for another machine`, EXIT.NO_MACHINE);
  if (options.net !== 'user') named.set(options.net, network);
  const leave = (): void => {
    place.unplug();
    if (network.size > 0) return;
    network.close();
    if (named.get(options.net) === network) named.delete(options.net);
  };
  try {
    return await onNetwork(place, ports, options.capture, leave);
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
): Promise<MachineNetwork> {
  const open: OpenPorts = await publish(ports, place);
  let capture: CaptureFile | undefined;
  try {
    if (capturePath !== undefined) capture = await openCapture(capturePath, place.port);
  } catch (error) {
    open.close();
    throw error;
  }
  return {
    cards: [{ mac: place.mac.bytes, port: capture?.port ?? place.port }],
    settings: place.settings,
    close() {
      open.close();
      leave();
      return capture?.close() ?? Promise.resolve(undefined);
    },
  };
}
