/** What names machines may give themselves; the rest of DHCP is tested through the gateway. */

import { expect, test } from 'vitest';
import { guestMac } from './addressing.ts';
import { DHCP, DHCP_OPTION } from './dhcp-message.ts';
import { endpoint, ip, NetworkRig } from './testing/network-rig.ts';

/** A machine with this card says what it is called. */
function discover(rig: NetworkRig, index: number, hostName: string): void {
  const message = new Uint8Array(320);
  message.set([1, 1, 6, 0]);
  message.set(guestMac(index).bytes, 28);
  const name = Buffer.from(hostName, 'latin1');
  const type = [DHCP_OPTION.MESSAGE_TYPE, 1, DHCP.DISCOVER];
  message.set([0x63, 0x82, 0x53, 0x63, ...type, DHCP_OPTION.HOST_NAME, name.length, ...name, 255], 236);
  const [from, to] = [ip('0.0.0.0'), ip('255.255.255.255')];
  rig.card.sendUdp(endpoint(from, 68), endpoint(to, 67), message);
}

const addressOf = (rig: NetworkRig, name: string): string | undefined => rig.network.addressesOf(name)?.[0]?.toString();

test('a machine is known by the name that it gives itself', () => {
  const rig = new NetworkRig();
  discover(rig, 0, 'Shop');
  expect(addressOf(rig, 'shop')).toBe('10.0.2.15');
});

test.each(['deb.debian.org', 'a b', '-', '', 'x'.repeat(64), 'é'])('"%s" is no name that it can have', (name) => {
  const rig = new NetworkRig();
  discover(rig, 0, name);
  expect(addressOf(rig, name)).toBeUndefined();
});

test('a name that another machine has, given or claimed, is not taken over', () => {
  const rig = new NetworkRig();
  rig.plug('db', 1);
  discover(rig, 1, 'shop');
  discover(rig, 0, 'SHOP');
  discover(rig, 0, 'db');
  expect([addressOf(rig, 'shop'), addressOf(rig, 'db')]).toEqual(['10.0.2.16', '10.0.2.16']);
});
