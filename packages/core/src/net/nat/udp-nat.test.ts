/** What a guest and the world may have at once over UDP, and who makes room: whoever was silent longest. */

import { expect, test } from 'vitest';
import { endpoint, GUEST, ip, NetworkRig } from '../testing/network-rig.ts';
import { MAXIMUM_UDP_FLOWS, MAXIMUM_UDP_REMOTES, MAXIMUM_UDP_VISITORS } from './udp-nat.ts';

const OUTSIDE = endpoint(ip('192.0.2.7'), 99);
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

test('a guest that sends from ever more ports has no more sockets than the limit', () => {
  const { card, host } = new NetworkRig().introduce();
  const send = (port: number): void => card.sendUdp(endpoint(GUEST, port), OUTSIDE, 'x');
  for (let port = 1; port <= MAXIMUM_UDP_FLOWS; port++) send(port);
  expect([host.udp.length, host.udp.some(({ isClosed }) => isClosed)]).toEqual([MAXIMUM_UDP_FLOWS, false]);
  // The first is used again, so the second is the one that was silent longest.
  send(1);
  send(MAXIMUM_UDP_FLOWS + 1);
  expect(host.udp.length).toBe(MAXIMUM_UDP_FLOWS + 1);
  expect(host.udp.flatMap(({ isClosed }, index) => (isClosed ? [index + 1] : []))).toEqual([2]);
});

test('a port that sends to ever more remotes hears from the last ones only', () => {
  const { card, host } = new NetworkRig().introduce();
  const remote = (number: number): typeof OUTSIDE => ({ ...OUTSIDE, port: 1000 + number });
  const send = (number: number): void => card.sendUdp(endpoint(GUEST, 5000), remote(number), 'x');
  for (let number = 1; number <= MAXIMUM_UDP_REMOTES; number++) send(number);
  send(1);
  send(MAXIMUM_UDP_REMOTES + 1);
  for (const number of [1, 2, 3, MAXIMUM_UDP_REMOTES + 1])
    host.udp[0]?.events.message(remote(number), Buffer.from(`from ${number}`));
  expect(host.udp.length).toBe(1);
  expect(card.takeDatagrams().map(({ data }) => latin1(data))).toEqual(
    [1, 3, MAXIMUM_UDP_REMOTES + 1].map((number) => `from ${number}`),
  );
});

test('of ever more senders to a published port the last ones only are answered', () => {
  const { card } = new NetworkRig().introduce();
  const answers: string[] = [];
  const visit = (sender: number): void => {
    card.place.acceptUdp(53, `sender ${sender}`, Buffer.from(String(sender)), (data) => answers.push(latin1(data)));
  };
  for (let sender = 1; sender <= MAXIMUM_UDP_VISITORS; sender++) visit(sender);
  const seen = card.takeDatagrams();
  expect(seen.length).toBe(MAXIMUM_UDP_VISITORS);
  const answer = (sender: number): void => {
    const { source, sourcePort } = seen[sender - 1] ?? card.takeDatagrams()[0] ?? { source: GUEST, sourcePort: 0 };
    card.sendUdp(endpoint(GUEST, 53), endpoint(source, sourcePort), `to ${sender}`);
  };
  // The first one speaks again, the second is spoken to; so the third makes room.
  visit(1);
  answer(2);
  card.takeDatagrams();
  visit(MAXIMUM_UDP_VISITORS + 1);
  for (const sender of [1, 2, 3, 4, MAXIMUM_UDP_VISITORS + 1]) answer(sender);
  expect(answers).toEqual(['to 2', 'to 1', 'to 2', 'to 4', `to ${MAXIMUM_UDP_VISITORS + 1}`]);
});
