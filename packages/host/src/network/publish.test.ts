import { expect, test } from 'vitest';
import { parsePublish } from './publish.ts';

const said = (text: string): string => {
  const port = parsePublish(text);
  if (typeof port === 'string') return port;
  return `${port.protocol} ${port.address.toString()} ${port.hostPort} ${port.guestPort}`;
};

test.each([
  ['8080:80', 'tcp 127.0.0.1 8080 80'],
  ['0.0.0.0:8080:80', 'tcp 0.0.0.0 8080 80'],
  ['5353:53/udp', 'udp 127.0.0.1 5353 53'],
  ['[::1]:8080:80/tcp', 'tcp ::1 8080 80'],
  ['192.0.2.1:65535:1/udp', 'udp 192.0.2.1 65535 1'],
])('%s is %s', (text, meaning) => expect(said(text)).toBe(meaning));

test.each([
  ['', 'is no pair of ports'],
  ['80', 'is no pair of ports'],
  ['a:b', 'is no pair of ports'],
  ['::1:8080:80', 'is no pair of ports'],
  ['localhost:8080:80', 'does not begin with an address: "localhost"'],
  ['300.0.0.1:8080:80', 'does not begin with an address'],
  ['0:80', 'names a port that does not exist'],
  ['8080:65536', 'names a port that does not exist'],
  ['8080:80/sctp', 'names the protocol "sctp"'],
  ['8080:80/', 'names the protocol ""'],
])('"%s" %s', (text, reason) => expect(said(text)).toContain(reason));
