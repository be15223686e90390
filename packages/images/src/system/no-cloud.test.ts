import { describe, expect, test } from 'vitest';
import { utf8Text } from '../archive/octets.ts';
import { debianArchive } from './guest-archive.ts';
import { readNetworkConfig } from './network-config.ts';
import { readNoCloud } from './no-cloud.ts';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me';
const files = (text: string): string[] => [...readNetworkConfig(text).values()];

describe('meta-data', () => {
  test('says which instance a machine is, what it is called and whose keys let in', () => {
    const data = readNoCloud({ metaData: `instance-id: i-7\nlocal-hostname: web\npublic-keys: ["${KEY}"]\n` });
    expect([data.instanceId, data.hostname, data.final]).toEqual(['i-7', 'web', undefined]);
    // The default user has them, as with cloud-init.
    expect(data.early).toContain('useradd');
    expect(data.early).toContain(KEY);
  });

  test('is JSON, too, with keys by numbers or names', () => {
    for (const keys of [{ 0: { 'openssh-key': KEY } }, { mine: KEY }, { mine: [KEY] }])
      expect(readNoCloud({ metaData: JSON.stringify({ 'public-keys': keys }) }).early).toContain(KEY);
  });

  test('counts less than user data, and goes with a script', () => {
    const metaData = `local-hostname: web\npublic-keys: ${KEY}`;
    expect(readNoCloud({ metaData, userData: '#cloud-config\nhostname: db' }).hostname).toBe('db');
    const data = readNoCloud({ metaData, userData: '#!/bin/sh\necho' });
    expect([data.hostname, data.early?.includes(KEY), data.final?.includes('script')]).toEqual(['web', true, true]);
    const users = '#cloud-config\nusers: [{ name: ann }]';
    expect(readNoCloud({ metaData, userData: users }).early).toMatch(/useradd .*'?ann/);
  });

  test('names what it does nothing with', () => {
    expect(readNoCloud({ metaData: 'ami-id: x' }).notes).toEqual([
      'meta-data: "ami-id" is not supported and does nothing',
    ]);
  });

  test.each([
    ['- a', 'The meta-data cannot be used: it is no mapping.'],
    ['a: [', /^The meta-data is no YAML: /],
    ['instance-id: ../x', 'The meta-data cannot be used: "../x" is no name for an instance.'],
    ['local-hostname: a b', 'The meta-data cannot be used: "a b" is no host name.'],
    ['public-keys: [7]', 'The meta-data cannot be used: "public-keys" has an entry that is no key.'],
    [
      'public-keys: &a [*a]',
      /^The meta-data cannot be used: it has lists or mappings in each other more than 64 deep, or one that contains itself/,
    ],
    [
      `public-keys: ${'['.repeat(65)}${']'.repeat(65)}`,
      /^The meta-data cannot be used: it has lists or mappings in each other/,
    ],
    ['public-keys: [rsa]', 'The user data cannot be used: "rsa" is no SSH key.'],
  ])('%s is refused with a sentence', (metaData, sentence) => {
    expect(() => readNoCloud({ metaData })).toThrow(sentence);
  });
});

describe('network-config', () => {
  const one = (rest: string): string => `version: 2\nethernets: { eth0: { ${rest} } }`;

  test('becomes what systemd-networkd reads', () => {
    const text = `
network:
  version: 2
  ethernets:
    eth0:
      addresses: [10.0.2.50/24, "fd00::50/64"]
      gateway4: 10.0.2.2
      mtu: 1400
      accept-ra: false
      nameservers: { addresses: [10.0.2.3], search: [example.org, lan] }
      routes:
        - { to: 10.9.0.0/16, via: 10.0.2.9, metric: 50, on-link: true }
        - { to: default, via: "fd00::2" }
    second:
      match: { macaddress: "52:54:00:12:34:57" }
      dhcp4: true
      dhcp6: true
      optional: true
`;
    expect(files(text)).toEqual([
      `[Match]
Name=eth0
[Link]
MTUBytes=1400
[Network]
DHCP=no
IPv6AcceptRA=no
Address=10.0.2.50/24
Address=fd00::50/64
Gateway=10.0.2.2
DNS=10.0.2.3
Domains=example.org lan
[Route]
Destination=10.9.0.0/16
Gateway=10.0.2.9
Metric=50
GatewayOnLink=yes
[Route]
Destination=::/0
Gateway=fd00::2
`,
      `[Match]
MACAddress=52:54:00:12:34:57
[Network]
DHCP=yes
[DHCPv4]
ClientIdentifier=mac
`,
    ]);
  });

  test('may come without the word "network", as the data source has it', () => {
    expect(
      files('version: 2\nethernets: { all: { match: { name: "e*" }, set-name: eth0, dhcp4: true } }')[0],
    ).toContain('Name=e*\n[Network]\nDHCP=ipv4\n');
  });

  test('says what netplan understands: words of YAML 1.1, all domains, IPv6 with IPv4 at its end', () => {
    const text = one(
      'dhcp4: yes, dhcp6: Off, accept-ra: "no", gateway6: "::ffff:10.0.2.2", nameservers: { search: ["~."] }',
    );
    expect(files(text)[0]).toBe(`[Match]
Name=eth0
[Network]
DHCP=ipv4
IPv6AcceptRA=no
Gateway=::ffff:10.0.2.2
Domains=~.
[DHCPv4]
ClientIdentifier=mac
`);
  });

  test('takes the place of what the host says of the card', () => {
    const network = { address: '10.0.2.15', netmask: '255.255.255.0', gateway: '10.0.2.2', nameServer: '10.0.2.3' };
    const archive = (networkConfig?: string): string =>
      utf8Text(debianArchive({ hostname: 'a', network, instanceId: 'own', data: readNoCloud({ networkConfig }) }));
    expect(archive()).toContain('ringfence/network\0');
    const told = archive('version: 2\nethernets: { eth0: { dhcp4: true } }');
    expect(told).toContain('ringfence/root/run/systemd/network/10-network-config-0.network\0');
    expect(told).not.toContain('ringfence/network\0');
  });

  test.each([
    ['version: 1\nconfig: []', 'its version is 1; version 2 is supported'],
    ['ethernets: {}', 'its version is missing; version 2 is supported'],
    ['version: 2\nethernets: eth0', '"ethernets" is no mapping'],
    ['version: 2\nbonds: {}', 'it has a "bonds", which is not supported'],
    ['version: 2\nrenderer: NetworkManager', 'the renderer "NetworkManager" is not there; networkd is'],
    [one('dhcp4: maybe'), '"dhcp4" of "eth0" is neither true nor false'],
    [one('addresses: [10.0.2.50]'), '"10.0.2.50" of "eth0" is no address like "10.0.2.50/24"'],
    [one('addresses: ["10.0.2.500/24"]'), '"10.0.2.500/24" of "eth0" is no address like'],
    [one('addresses: ["fd00::1::2/64"]'), '"fd00::1::2/64" of "eth0" is no address like'],
    [one('gateway4: "fd00::2"'), 'the gateway4 "fd00::2" of "eth0" is no such address'],
    [one('nameservers: { addresses: [dns] }'), 'the name server "dns" of "eth0" is no IP address'],
    [one('nameservers: { search: ["a\\nDNS=1"] }'), 'is no domain to search'],
    [one('mtu: 9'), 'the MTU "9" of "eth0" is not from 68 to 65535'],
    [one('mtu: "0x578"'), 'the MTU "0x578" of "eth0" is not from 68 to 65535'],
    [one('gateway6: "::ffff:10.0.2.256"'), 'is no such address'],
    [one('gateway6: "1:2:3:4:5:6:7:10.0.2.2"'), 'is no such address'],
    [one('set-name: lan'), '"eth0" is to be called "lan", and cards keep the names that they have (eth0)'],
    [one('match: {}'), '"match" of "eth0" has neither "name" nor "macaddress"'],
    [one('match: { name: "a\\nb" }'), 'matches no card'],
    [one('wakeonlan: true'), '"eth0" has a "wakeonlan", which is not supported'],
    [one('routes: [{ via: 10.0.2.2 }]'), 'a route of "eth0" has no "to"'],
  ])('%s is refused with a sentence', (text, problem) => {
    expect(() => readNetworkConfig(text)).toThrow(`The network-config cannot be used: `);
    expect(() => readNetworkConfig(text)).toThrow(problem);
  });
});
