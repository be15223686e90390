import { createSocket, type Socket } from 'node:dgram';
import { expect, test } from 'vitest';
import { MAXIMUM_UDP_BACKLOG_BYTES, sendDatagram } from './udp-socket.ts';

test('what a socket does not get rid of waits up to the limit, and the rest is lost', () => {
  let [queuedBytes, sent] = [0, 0];
  // A socket whose computer sends nothing.
  const socket: Pick<Socket, 'getSendQueueSize' | 'send'> = {
    getSendQueueSize: () => queuedBytes,
    send: (data: Uint8Array) => {
      queuedBytes += data.length;
      sent++;
    },
  };
  const datagram = new Uint8Array(64 * 1024);
  for (let count = 0; count < 100; count++) sendDatagram(socket as Socket, datagram, 9, '127.0.0.1');
  expect(queuedBytes).toBeLessThanOrEqual(MAXIMUM_UDP_BACKLOG_BYTES + datagram.length);
  const before = sent;
  queuedBytes = 0;
  sendDatagram(socket as Socket, datagram, 9, '127.0.0.1');
  expect(sent).toBe(before + 1);
});

test('what cannot be sent is lost, and nothing is thrown', async () => {
  const socket = createSocket('udp4');
  sendDatagram(socket, Uint8Array.of(1), 0, '127.0.0.1');
  await new Promise<void>((resolve) => void socket.close(resolve));
  sendDatagram(socket, Uint8Array.of(1), 9, '127.0.0.1');
});
