/**
 * cloud-init's network-config of version 2 (its documentation, "Networking config Version 2"; netplan's YAML) as files of systemd-networkd
 * (systemd.network(5)): cards, with their addresses, routes and name servers. What is made of several cards (bonds, bridges, VLANs) is not
 * supported, nor is version 1.
 */

import { bad as badSource, Fields, parseYaml } from './user-data-fields.ts';

const SOURCE = 'network-config';
const bad = (problem: string): Error => badSource(problem, SOURCE);

/** Cards that a machine can have. */
const MAX_CARDS = 32;
const MAX_ENTRIES = 256;
const CARD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;
/** A card's name, or a pattern for such (glob(7)). */
const NAME_PATTERN = /^[\w.*?[\]!-]{1,32}$/;
const MAC = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/i;
/** `~` before one only sends questions about it here, `~.` all questions (systemd.network(5)). */
const DOMAIN = /^(?:~\.|~?\.?(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?)$/;
const MTU = /^\d{2,5}$/;
const SMALLEST_MTU = 68;
const LARGEST_MTU = 65_535;
/** The only name that the first card has. */
const FIRST_CARD = 'eth0';

/** Files below /run/systemd/network, by their names; throws an ImageError that says what is wrong and where. */
export function readNetworkConfig(text: string): ReadonlyMap<string, string> {
  const outer = Fields.of(parseYaml(text, SOURCE) ?? {}, 'it', SOURCE);
  const wrapped = outer.get('network');
  if (wrapped !== undefined) outer.refuseUnread();
  const config = wrapped === undefined ? outer : Fields.of(wrapped, '"network"', SOURCE);
  const version = config.text('version');
  if (version !== '2') throw bad(`its version is ${version ?? 'missing'}; version 2 is supported`);
  const renderer = config.text('renderer');
  if (renderer !== undefined && renderer !== 'networkd')
    throw bad(`the renderer "${renderer}" is not there; networkd is`);
  const ethernets = Fields.of(config.get('ethernets') ?? {}, '"ethernets"', SOURCE);
  config.refuseUnread();
  const cards = ethernets.unread();
  if (cards.length > MAX_CARDS) throw bad(`it has more than ${MAX_CARDS} cards`);
  return new Map(
    cards.map((id, index) => {
      if (!CARD.test(id)) throw bad(`"${id}" is no name for a card`);
      return [`10-network-config-${index}.network`, card(id, Fields.of(ethernets.get(id) ?? {}, `"${id}"`, SOURCE))];
    }),
  );
}

function card(id: string, fields: Fields): string {
  const match = matchOf(id, fields);
  const four = fields.flag('dhcp4') === true;
  const six = fields.flag('dhcp6') === true;
  const acceptRa = fields.flag('accept-ra');
  const mtu = fields.text('mtu');
  if (mtu !== undefined && !(MTU.test(mtu) && Number(mtu) >= SMALLEST_MTU && Number(mtu) <= LARGEST_MTU))
    throw bad(`the MTU "${mtu}" of "${id}" is not from ${SMALLEST_MTU} to ${LARGEST_MTU}`);
  // What waits for the network waits for one that is there, whatever this says.
  fields.flag('optional');
  const gateways = [gateway(id, fields, 'gateway4', isIPv4), gateway(id, fields, 'gateway6', isIPv6)];
  const { servers, domains } = nameServers(id, fields.get('nameservers'));
  const lines = [
    '[Match]',
    ...match,
    ...(mtu === undefined ? [] : ['[Link]', `MTUBytes=${mtu}`]),
    '[Network]',
    `DHCP=${four ? (six ? 'yes' : 'ipv4') : six ? 'ipv6' : 'no'}`,
    ...(acceptRa === undefined ? [] : [`IPv6AcceptRA=${acceptRa ? 'yes' : 'no'}`]),
    ...limited(id, fields.texts('addresses')).map((address) => `Address=${prefix(id, address)}`),
    ...gateways.flat(),
    ...servers.map((server) => `DNS=${server}`),
    ...(domains.length === 0 ? [] : [`Domains=${domains.join(' ')}`]),
    ...(four ? ['[DHCPv4]', 'ClientIdentifier=mac'] : []),
    ...limited(id, fields.list('routes')).flatMap((value) => route(id, value)),
  ];
  fields.refuseUnread();
  return `${lines.join('\n')}\n`;
}

/** Which card it is: the one of that name, unless it says otherwise. */
function matchOf(id: string, fields: Fields): string[] {
  const value = fields.get('match');
  const wantedName = fields.text('set-name');
  if (wantedName !== undefined && wantedName !== FIRST_CARD)
    throw bad(`"${id}" is to be called "${wantedName}", and cards keep the names that they have (${FIRST_CARD})`);
  if (value === undefined) return [`Name=${id}`];
  const match = Fields.of(value, `"match" of "${id}"`, SOURCE);
  const name = match.text('name');
  const mac = match.text('macaddress');
  match.refuseUnread();
  if (name !== undefined && !NAME_PATTERN.test(name)) throw bad(`"${name}" of "${id}" matches no card's name`);
  if (mac !== undefined && !MAC.test(mac)) throw bad(`"${mac}" of "${id}" is no address of a card`);
  if (name === undefined && mac === undefined) throw bad(`"match" of "${id}" has neither "name" nor "macaddress"`);
  return [...(name === undefined ? [] : [`Name=${name}`]), ...(mac === undefined ? [] : [`MACAddress=${mac}`])];
}

function gateway(id: string, fields: Fields, name: string, is: (text: string) => boolean): string[] {
  const address = fields.text(name);
  if (address === undefined) return [];
  if (!is(address)) throw bad(`the ${name} "${address}" of "${id}" is no such address`);
  return [`Gateway=${address}`];
}

function nameServers(id: string, value: unknown): { servers: readonly string[]; domains: readonly string[] } {
  if (value === undefined) return { servers: [], domains: [] };
  const fields = Fields.of(value, `"nameservers" of "${id}"`, SOURCE);
  const servers = limited(id, fields.texts('addresses'));
  const domains = limited(id, fields.texts('search'));
  fields.refuseUnread();
  const server = servers.find((each) => !isIPv4(each) && !isIPv6(each));
  if (server !== undefined) throw bad(`the name server "${server}" of "${id}" is no IP address`);
  const domain = domains.find((each) => !DOMAIN.test(each));
  if (domain !== undefined) throw bad(`"${domain}" of "${id}" is no domain to search`);
  return { servers, domains };
}

function route(id: string, value: unknown): string[] {
  const fields = Fields.of(value, `a route of "${id}"`, SOURCE);
  const to = fields.needed('to');
  const via = fields.text('via');
  const metric = fields.text('metric');
  const onLink = fields.flag('on-link');
  fields.refuseUnread();
  if (via !== undefined && !isIPv4(via) && !isIPv6(via))
    throw bad(`the route's "via" "${via}" of "${id}" is no IP address`);
  if (metric !== undefined && !/^\d{1,9}$/.test(metric))
    throw bad(`the route's metric "${metric}" of "${id}" is no number`);
  return [
    '[Route]',
    ...(to === 'default'
      ? [`Destination=${via !== undefined && isIPv6(via) ? '::/0' : '0.0.0.0/0'}`]
      : [`Destination=${prefix(id, to)}`]),
    ...(via === undefined ? [] : [`Gateway=${via}`]),
    ...(metric === undefined ? [] : [`Metric=${metric}`]),
    ...(onLink === undefined ? [] : [`GatewayOnLink=${onLink ? 'yes' : 'no'}`]),
  ];
}

/** An address with the length of its network's prefix. */
function prefix(id: string, text: string): string {
  const [, address = '', length = ''] = /^([^/]*)\/(\d{1,3})$/.exec(text) ?? [];
  const longest = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1;
  if (length === '' || Number(length) > longest) throw bad(`"${text}" of "${id}" is no address like "10.0.2.50/24"`);
  return text;
}

function isIPv4(text: string): boolean {
  return /^(?:\d{1,3}\.){3}\d{1,3}$/.test(text) && text.split('.').every((part) => Number(part) <= 255);
}

/** RFC 4291, 2.2: eight groups, of which a run of zeroes may be left out once, and the last two may be an IPv4 address. */
function isIPv6(text: string): boolean {
  const [, front, four] = /^(.*:)([\d.]+\.[\d.]+)$/.exec(text) ?? [];
  if (four !== undefined && !isIPv4(four)) return false;
  const halves = (front === undefined ? text : `${front}0:0`).split('::');
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  const isWhole = halves.length === 1 ? groups.length === 8 : halves.length === 2 && groups.length < 8;
  return isWhole && groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group));
}

function limited<Value>(id: string, values: readonly Value[]): readonly Value[] {
  if (values.length > MAX_ENTRIES) throw bad(`"${id}" has a list of more than ${MAX_ENTRIES} entries`);
  return values;
}
