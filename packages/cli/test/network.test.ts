/** Debian's kernel as the other end of our network: its DHCP client, its TCP, its IPv6, busybox's programs, and servers on this computer. */

import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { NetworkPlace, PacketFilter } from '@ringfence/core';
import { newNetwork, parsePublish, publish, type PublishedPort } from '@ringfence/host';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { within } from '@ringfence/core/testing/node-host';
import { Guest } from './testing/guest.ts';
import { answer, start } from './testing/ringfence.ts';
import {
  freePort,
  httpGet,
  httpServer,
  nameServer,
  type RunningServer,
  sumServer,
  tftpServer,
  udpAnswer,
} from './testing/servers.ts';

const CONTENT = randomBytes(4 << 20);
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

const COMPILER = 'riscv64-linux-gnu-gcc';
const UDP_ECHO = fileURLToPath(new URL('testing/udp-echo.c', import.meta.url));
const isThere = (program: string): boolean => existsSync(`/usr/bin/${program}`) || process.env['CI'] !== undefined;
const hasCompiler = isThere(COMPILER);
const hasTshark = isThere('tshark');

const servers: RunningServer[] = [];
let http: RunningServer;
let http6: RunningServer;
let sum: RunningServer;
let udp: RunningServer;
let udp6: RunningServer;
let resolver: RunningServer;
let closedPort = 0;
let folder = '';
beforeAll(async () => {
  [http, http6, sum, udp, udp6, resolver] = await Promise.all([
    httpServer(CONTENT),
    httpServer(CONTENT, '::1'),
    sumServer(),
    tftpServer(CONTENT.subarray(0, 50_000)),
    tftpServer(CONTENT.subarray(0, 50_000), '::1'),
    nameServer('known.test'),
  ]);
  servers.push(http, http6, sum, udp, udp6, resolver);
  closedPort = await freePort();
  folder = mkdtempSync(join(tmpdir(), 'ringfence-network-'));
});
afterAll(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

interface Plugged {
  readonly place: NetworkPlace;
  close(): void;
}

function plugged(filter?: PacketFilter): Plugged {
  const network = newNetwork([{ address: '127.0.0.1', port: resolver.port }], filter);
  const place = network.plug('tiny');
  if (place === undefined) throw new Error('a new network has no address');
  return { place, close: () => network.close() };
}

async function runGuest(script: string, suite: 'stable' | 'testing' = 'stable', withDhcp = false): Promise<string[]> {
  const { place, close } = plugged();
  const guest = await Guest.create({
    suite,
    argv: ['sh', '-c', script],
    networkCards: [{ mac: place.mac.bytes, port: place.port }],
    ...(withDhcp ? {} : { network: place.settings }),
  });
  guest.feed('', true);
  expect(await guest.end()).toEqual({ kind: 'poweroff' });
  close();
  return guest.stdout.text.trimEnd().split('\n');
}

describe('a guest', () => {
  test('gets address, route and name server by DHCP, and the network answers', async () => {
    const lines = await runGuest(
      String.raw`
      ip -4 addr show eth0 | awk '/inet/ { print $2 }'
      ip route | head -n 1
      cat /etc/resolv.conf
      ping -c 1 -W 10 10.0.2.2 | grep -o '1 packets received'
      ping -c 1 -W 10 -s 4000 10.0.2.2 | grep -o '1 packets received'
      wget -q -O - http://10.0.2.2:${http.port}/ | md5sum`,
      'testing',
      true,
    );
    expect(lines).toEqual([
      '10.0.2.15/24',
      'default via 10.0.2.2 dev eth0 ',
      'nameserver 10.0.2.3',
      '1 packets received',
      '1 packets received',
      `${md5(CONTENT)}  -`,
    ]);
  });

  test('reaches servers of this computer over TCP and UDP, and asks for names', async () => {
    const lines = await runGuest(String.raw`
      wget -q -O /tmp/content http://10.0.2.2:${http.port}/
      md5sum </tmp/content
      nc 10.0.2.2 ${sum.port} </tmp/content
      for one in 1 2 3 4 5 6; do wget -q -O - http://10.0.2.2:${http.port}/ | md5sum & done; wait
      tftp -g -l /tmp/part -r any 10.0.2.2 ${udp.port} && md5sum </tmp/part
      wget -q -O - http://10.0.2.2:${closedPort}/ 2>&1 | grep -o refused
      nslookup known.test | awk '/^Address: 1/ { print $2 }'
      nslookup tiny | awk '/^Address: 1/ { print $2 }'
      nslookup unknown.test >/dev/null 2>&1 || echo not there
      awk '/^Tcp: [0-9]/ { print "sent again", $13, "damaged", $14 }' /proc/net/snmp`);
    expect(lines).toEqual([
      `${md5(CONTENT)}  -`,
      `${CONTENT.length} ${md5(CONTENT)}`,
      ...Array.from({ length: 6 }, () => `${md5(CONTENT)}  -`),
      `${md5(CONTENT.subarray(0, 50_000))}  -`,
      'refused',
      '192.0.2.77',
      '10.0.2.15',
      'not there',
      'sent again 0 damaged 0',
    ]);
  });

  test('makes itself an IPv6 address and uses it, over TCP and UDP', async () => {
    const lines = await runGuest(String.raw`
      until ip -6 addr show dev eth0 scope global | grep -v tentative | grep -q inet6; do sleep 0.2; done
      ip -6 addr show dev eth0 scope global | awk '/inet6/ { print $2 }'
      ping -6 -c 1 -W 10 fd00::2 | grep -o '1 packets received'
      wget -q -O /tmp/content "http://[fd00::2]:${http6.port}/"
      md5sum </tmp/content
      tftp -g -l /tmp/part -r any fd00::2 ${udp6.port} && md5sum </tmp/part
      nslookup tiny fd00::3 | awk '/^Address: fd00::5/ { print $2 }'`);
    expect(lines).toEqual([
      'fd00::5054:ff:fe12:3456/64',
      '1 packets received',
      `${md5(CONTENT)}  -`,
      `${md5(CONTENT.subarray(0, 50_000))}  -`,
      'fd00::5054:ff:fe12:3456',
    ]);
  });
});

test("a guest's ping goes out with this computer's ping, and is told what that finds", async () => {
  // In place of the real one, which needs privileges and a network that tests do not have.
  const script = String.raw`#!/bin/sh
  for address; do :; done
  case $address in
    192.0.2.7 | 2001:db8::7) exit 0 ;;
    192.0.2.8) exit 1 ;;
    *) echo "ping: connect: Network is unreachable" >&2; exit 2 ;;
  esac
`;
  writeFileSync(join(folder, 'ping'), script, { mode: 0o755 });
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
  try {
    const lines = await runGuest(String.raw`
      until ip -6 addr show dev eth0 scope global | grep -v tentative | grep -q inet6; do sleep 0.2; done
      ping -c 2 -i 0.1 -W 10 192.0.2.7 | grep -o '2 packets received'
      ping -6 -c 1 -W 10 2001:db8::7 | grep -o '1 packets received'
      ping -c 1 -W 1 192.0.2.8 | grep -o '0 packets received'
      ping -c 1 -W 5 -v 192.0.2.9 2>&1 | grep -o 'nreachable' | head -n 1
      awk '/^Icmp: [0-9]/ { print "unreachable", $5 }' /proc/net/snmp`);
    expect(lines).toEqual(['2 packets received', '1 packets received', '0 packets received', 'unreachable 1']);
  } finally {
    vi.unstubAllEnvs();
  }
});

describe('published ports', () => {
  test.skipIf(!hasCompiler)('lead to servers in the guest, over TCP and UDP', async () => {
    const { place, close } = plugged();
    const [tcpPort, udpPort] = [await freePort(), await freePort()];
    const ports = [`${tcpPort}:80`, `127.0.0.1:${udpPort}:7/udp`].map((text) => parsePublish(text) as PublishedPort);
    const open = await publish(ports, place);
    const guest = await Guest.create({
      suite: 'stable',
      argv: ['sh', '-c', `cat >/tmp/echo; chmod +x /tmp/echo; httpd -p 80 -h /tmp; /tmp/echo 7`],
      networkCards: [{ mac: place.mac.bytes, port: place.port }],
      network: place.settings,
    });
    const program = join(folder, 'udp-echo');
    execFileSync(COMPILER, ['-Os', '-static', '-s', '-o', program, UDP_ECHO]);
    const bytes = readFileSync(program);
    guest.runner.start();
    await guest.feedAll(bytes);
    await guest.stdout.waitFor(/serving\n/);
    const got = await Promise.all(Array.from({ length: 4 }, () => httpGet(tcpPort, '/echo')));
    for (const content of got) expect(content.equals(bytes)).toBe(true);
    expect(await within(udpAnswer(udpPort, 'echo'), 60_000, 'an answer over UDP')).toBe('echo');
    await guest.runner.stop();
    open.close();
    close();
  });

  test('a client sees a reset where nobody listens in the guest', async () => {
    const port = await freePort();
    const child = start('run', '--publish', `${port}:81`, '--', 'sh', '-c', 'echo up; cat');
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const code = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', (error) => resolve('code' in error ? error.code : error));
      socket.on('close', () => resolve('closed'));
    });
    expect(code).toBe('ECONNRESET');
    child.stdin.end();
    await new Promise((resolve) => child.once('close', resolve));
  });

  test('that are taken are named, and so are options that make no sense', async () => {
    const say = async (...words: string[]): Promise<string> => (await answer(['run', ...words, '--', 'true']))[2];
    expect(await say('--publish', `${http.port}:80`)).toBe(
      `ringfence: TCP port ${http.port} of 127.0.0.1 cannot be published: it is taken already; choose another one\n`,
    );
    expect(await say('--publish', `${udp.port}:80/udp`)).toBe(
      `ringfence: UDP port ${udp.port} of 127.0.0.1 cannot be published: it is taken already; choose another one\n`,
    );
    expect(await say('--publish', 'eighty')).toContain('--publish "eighty" is no pair of ports');
    expect(await say('--net', 'none', '--publish', '8080:80')).toContain('--publish needs a network');
    expect(await say('--net', '../x')).toContain('is no name of a network');
    expect(await say('--capture', '/nowhere/file')).toContain('the capture cannot be written to "/nowhere/file"');
  });
});

test('without a network a guest has its own loopback and nothing else', async () => {
  expect(await answer(['run', '--net', 'none', '--', 'ls', '/sys/class/net'])).toEqual([0, 'lo\n', '']);
});

test('two machines on one network reach each other by name; the packet filter stands between them', async () => {
  let isOpen = true;
  const filter: PacketFilter = { admits: (_, from, to) => isOpen || from.name === 'gateway' || to.name === 'gateway' };
  const network = newNetwork([], filter);
  const other = newNetwork([]);
  const machine = async (name: string, script: string, on = network): Promise<Guest> => {
    const place = on.plug(name);
    if (place === undefined) throw new Error('the network is full');
    const guest = await Guest.create({
      suite: 'stable',
      argv: ['sh', '-c', script],
      networkCards: [{ mac: place.mac.bytes, port: place.port }],
      network: place.settings,
    });
    guest.runner.start();
    return guest;
  };
  const db = await machine('db', 'cat >/tmp/content; httpd -p 80 -h /tmp; echo serving; sleep 1000');
  db.feed('x'.repeat(60_000), true);
  await db.stdout.waitFor(/serving\n/);
  const script = 'while read -r name; do wget -q -T 5 -O - http://$name/content | wc -c; done';
  const [web, stranger] = await Promise.all([machine('web', script), machine('stranger', script, other)]);
  web.feed('db\n', false);
  stranger.feed('db\n', false);
  await web.stdout.waitFor(/^60000\n/);
  await stranger.stdout.waitFor(/^0\n/);
  isOpen = false;
  web.feed('db\n', false);
  await web.stdout.waitFor(/^0\n/);
  await Promise.all([db, web, stranger].map((guest) => guest.runner.stop()));
  network.close();
  other.close();
});

test.skipIf(!hasTshark)(
  `a capture is read by tshark, and nothing in it is damaged${hasTshark ? '' : ": needs Debian's tshark"}`,
  async () => {
    const file = join(folder, 'capture.pcapng');
    const script = `wget -q -O /tmp/c http://10.0.2.2:${http.port}/; nc 10.0.2.2 ${sum.port} </tmp/c; ping -c 1 10.0.2.2 >/dev/null; tftp -g -l /tmp/part -r any 10.0.2.2 ${udp.port}; udhcpc -n -q; sleep 2; ping -6 -c 1 fd00::2 >/dev/null; nslookup "$(hostname)" >/dev/null`;
    const [code, stdout] = await answer(['run', '--capture', file, '--', 'sh', '-c', script]);
    expect([code, stdout]).toEqual([0, `${CONTENT.length} ${md5(CONTENT)}\n`]);
    const tshark = (...words: string[]): string =>
      execFileSync(
        'tshark',
        [
          '-r',
          file,
          '-o',
          'ip.check_checksum:TRUE',
          '-o',
          'tcp.check_checksum:TRUE',
          '-o',
          'udp.check_checksum:TRUE',
          ...words,
        ],
        { stdio: ['ignore', 'pipe', 'ignore'] },
      ).toString();
    const wrong = [
      '_ws.malformed',
      'ip.checksum.status == 0',
      'tcp.checksum.status == 0',
      'udp.checksum.status == 0',
      'icmp.checksum.status == 0',
      'icmpv6.checksum.status == 0',
      'tcp.analysis.retransmission',
      'tcp.analysis.lost_segment',
    ];
    expect(tshark('-Y', wrong.join(' || '))).toBe('');
    const fields = ['frame.protocols', 'icmpv6.type', 'frame.packet_flags_direction'].flatMap((name) => ['-e', name]);
    const packets = tshark('-T', 'fields', ...fields)
      .split('\n')
      .map((line) => line.split('\t'));
    const protocols = new Set(packets.flatMap(([names = '']) => names.split(':')));
    for (const protocol of ['arp', 'icmp', 'tcp', 'http', 'udp', 'tftp', 'dhcp', 'dns', 'icmpv6'])
      expect([...protocols], protocol).toContain(protocol);
    // Router and neighbour advertisements; and both directions are marked.
    expect(packets.map(([, type]) => type)).toEqual(expect.arrayContaining(['134', '136']));
    expect(new Set(packets.flatMap(([, , direction = '']) => (direction === '' ? [] : [Number(direction)])))).toEqual(
      new Set([1, 2]),
    );
    expect(execFileSync('capinfos', ['-t', file]).toString()).toContain('pcapng');
  },
);
