/**
 * Commands of the network device's control queue (virtio 1.3, 5.1.6.5), from the bytes of a chain to something the device can do.
 *
 *     readable: u8 class, u8 command, data      writable: u8 ack
 */

import type { Chain } from './chain.ts';

export const CONTROL_ACK = { OK: 0, ERR: 1 } as const;

const CLASS = { RX: 0, MAC: 1, ANNOUNCE: 3, MQ: 4, GUEST_OFFLOADS: 5 } as const;
const RX = { PROMISC: 0, ALLMULTI: 1 } as const;
const MAC = { TABLE_SET: 0, ADDR_SET: 1 } as const;
const ANNOUNCE_ACK = 0;
const MQ_VQ_PAIRS_SET = 0;
const GUEST_OFFLOADS_SET = 0;

const MAC_BYTES = 6;
/** Longer commands are refused unread: a table of addresses of a real driver fits many times. */
export const MAXIMUM_CONTROL_BYTES = 16 * 1024;

export type ControlCommand =
  | { readonly kind: 'promiscuous' | 'all-multicast'; readonly on: boolean }
  | { readonly kind: 'address-tables'; readonly data: Uint8Array }
  | { readonly kind: 'address'; readonly mac: Uint8Array }
  | { readonly kind: 'announced' }
  | { readonly kind: 'queue-pairs'; readonly pairs: number }
  /** Bits of features below 32. */
  | { readonly kind: 'guest-offloads'; readonly features: number }
  | { readonly kind: 'refused'; readonly reason: string };

export function parseControlCommand({ readable }: Chain): ControlCommand {
  if (readable.bytes < 2) return { kind: 'refused', reason: 'is too short' };
  if (readable.bytes > MAXIMUM_CONTROL_BYTES) return { kind: 'refused', reason: `is ${readable.bytes} bytes long` };
  const bytes = new Uint8Array(readable.bytes);
  readable.copyTo(bytes);
  const [group = 0, command = 0] = bytes;
  const data = bytes.subarray(2);
  const parsed = parse(group, command, data);
  return parsed ?? { kind: 'refused', reason: `has class ${group}, command ${command} and ${data.length} bytes` };
}

function parse(group: number, command: number, data: Uint8Array): ControlCommand | undefined {
  switch (group) {
    case CLASS.RX:
      if (data.length < 1 || command > RX.ALLMULTI) return undefined;
      return { kind: command === RX.PROMISC ? 'promiscuous' : 'all-multicast', on: data[0] !== 0 };
    case CLASS.MAC:
      if (command === MAC.TABLE_SET) return { kind: 'address-tables', data };
      return command === MAC.ADDR_SET && data.length === MAC_BYTES ? { kind: 'address', mac: data } : undefined;
    case CLASS.ANNOUNCE:
      return command === ANNOUNCE_ACK ? { kind: 'announced' } : undefined;
    case CLASS.MQ:
      if (command !== MQ_VQ_PAIRS_SET || data.length < 2) return undefined;
      return { kind: 'queue-pairs', pairs: (data[0] ?? 0) | ((data[1] ?? 0) << 8) };
    case CLASS.GUEST_OFFLOADS:
      if (command !== GUEST_OFFLOADS_SET || data.length < 8) return undefined;
      return { kind: 'guest-offloads', features: new DataView(data.buffer, data.byteOffset).getUint32(0, true) };
    default:
      return undefined;
  }
}
