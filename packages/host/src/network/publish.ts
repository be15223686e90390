/** Ports of the host that lead into a machine, as people write them: [ADDRESS:]HOST:GUEST[/udp]. */

import { IpAddress } from '@ringfence/core';

export interface PublishedPort {
  /** Where the host listens. */
  readonly address: IpAddress;
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: 'tcp' | 'udp';
}

/** Without an address only this computer can reach the port. */
const DEFAULT_ADDRESS = '127.0.0.1';
const HIGHEST_PORT = 65_535;

/** What `text` says, or why it says nothing, as the end of a sentence. */
export function parsePublish(text: string): PublishedPort | string {
  const [, bracketed, plain, host, guest, protocol = 'tcp'] =
    /^(?:\[([^\]]+)\]:|([^[\]:]+):)?(\d+):(\d+)(?:\/(.*))?$/.exec(text) ?? [];
  if (host === undefined || guest === undefined)
    return 'is no pair of ports; write it like 8080:80, 0.0.0.0:8080:80 or 5353:53/udp';
  const address = IpAddress.parse(bracketed ?? plain ?? DEFAULT_ADDRESS);
  if (address === undefined) return `does not begin with an address: "${bracketed ?? plain}"`;
  if (protocol !== 'tcp' && protocol !== 'udp') return `names the protocol "${protocol}"; there are tcp and udp`;
  const hostPort = Number(host);
  const guestPort = Number(guest);
  if (![hostPort, guestPort].every((port) => port >= 1 && port <= HIGHEST_PORT))
    return `names a port that does not exist; ports go from 1 to ${HIGHEST_PORT}`;
  return { address, hostPort, guestPort, protocol };
}
