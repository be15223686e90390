/** DHCP messages (RFC 2131, 2; options: RFC 2132): from a datagram to something that can only be right, and back. */

import { IpAddress, MAC_BYTES, MacAddress } from './addresses.ts';
import { putU32, u16, u32 } from './octets.ts';

export const DHCP = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const;
export const DHCP_OPTION = {
  SUBNET_MASK: 1,
  ROUTER: 3,
  NAME_SERVER: 6,
  HOST_NAME: 12,
  BROADCAST: 28,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  MESSAGE_TYPE: 53,
  SERVER_IDENTIFIER: 54,
} as const;

const PAD = 0;
const END = 255;
const BOOTREQUEST = 1;
const BOOTREPLY = 2;
const ETHERNET = 1;
const MAGIC_COOKIE = 0x6382_5363;
const FIXED_BYTES = 236;
const OPTIONS_AT = 240;
/** Some clients take no shorter ones (RFC 1542, 2.1). */
const SHORTEST_BYTES = 300;

export interface DhcpRequest {
  readonly type: number;
  readonly transaction: number;
  readonly wantsBroadcast: boolean;
  readonly clientAddress: IpAddress;
  readonly card: MacAddress;
  readonly requested: IpAddress | undefined;
  readonly server: IpAddress | undefined;
  readonly hostName: string | undefined;
}

export function parseDhcp(data: Uint8Array): DhcpRequest | undefined {
  const isRight =
    data.length >= OPTIONS_AT &&
    data[0] === BOOTREQUEST &&
    data[1] === ETHERNET &&
    data[2] === MAC_BYTES &&
    u32(data, FIXED_BYTES) === MAGIC_COOKIE;
  if (!isRight) return undefined;
  const options = readOptions(data);
  const address = (option: number): IpAddress | undefined => {
    const value = options.get(option);
    return value?.length === 4 ? IpAddress.at(value, 0, 4) : undefined;
  };
  const name = options.get(DHCP_OPTION.HOST_NAME);
  const card = MacAddress.at(data, 28);
  if (!card.isUnicast) return undefined;
  return {
    type: options.get(DHCP_OPTION.MESSAGE_TYPE)?.[0] ?? 0,
    transaction: u32(data, 4),
    wantsBroadcast: (u16(data, 10) & 0x8000) !== 0,
    clientAddress: IpAddress.at(data, 12, 4),
    card,
    requested: address(DHCP_OPTION.REQUESTED_ADDRESS),
    server: address(DHCP_OPTION.SERVER_IDENTIFIER),
    hostName: name && String.fromCharCode(...name),
  };
}

/** By their code; the first of each counts, and what is cut short is left out. */
function readOptions(data: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = OPTIONS_AT; at < data.length;) {
    const code = data[at] ?? END;
    if (code === END) break;
    if (code === PAD) {
      at++;
      continue;
    }
    const length = data[at + 1] ?? 0;
    if (at + 2 + length > data.length) break;
    if (!options.has(code)) options.set(code, data.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

export interface DhcpReply {
  readonly type: number;
  /** What the client may call itself; unspecified with a NAK. */
  readonly address: IpAddress;
  readonly server: IpAddress;
  readonly options: readonly (readonly [code: number, value: Uint8Array])[];
}

export function dhcpReply(request: DhcpRequest, { type, address, server, options }: DhcpReply): Uint8Array {
  const all: (readonly [number, Uint8Array])[] = [
    [DHCP_OPTION.MESSAGE_TYPE, Uint8Array.of(type)],
    [DHCP_OPTION.SERVER_IDENTIFIER, server.bytes],
    ...options,
  ];
  const bytes = all.reduce((sum, [, value]) => sum + 2 + value.length, OPTIONS_AT + 1);
  const message = new Uint8Array(Math.max(bytes, SHORTEST_BYTES));
  message.set([BOOTREPLY, ETHERNET, MAC_BYTES, 0]);
  putU32(message, 4, request.transaction);
  if (request.wantsBroadcast) message[10] = 0x80;
  if (type === DHCP.ACK) message.set(request.clientAddress.bytes, 12);
  message.set(address.bytes, 16);
  message.set(server.bytes, 20);
  message.set(request.card.bytes, 28);
  putU32(message, FIXED_BYTES, MAGIC_COOKIE);
  let at = OPTIONS_AT;
  for (const [code, value] of all) {
    message.set([code, value.length], at);
    message.set(value, at + 2);
    at += 2 + value.length;
  }
  message[at] = END;
  return message;
}
