/** Listens on the host's ports that lead into a machine, all or none. */

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server } from 'node:net';
import type { NetworkPlace } from '@ringfence/core';
import { HostError, systemReason } from '../failure.ts';
import type { PublishedPort } from './publish.ts';
import { hostTcp } from './tcp-socket.ts';
import { sendDatagram } from './udp-socket.ts';

export interface OpenPorts {
  close(): void;
}

export async function publish(ports: readonly PublishedPort[], place: NetworkPlace): Promise<OpenPorts> {
  const closers: (() => void)[] = [];
  const close = (): void => {
    for (const closer of closers.splice(0)) closer();
  };
  try {
    for (const port of ports)
      closers.push(await (port.protocol === 'tcp' ? publishTcp(port, place) : publishUdp(port, place)));
  } catch (error) {
    close();
    throw error;
  }
  return { close };
}

async function publishTcp({ address, hostPort, guestPort }: PublishedPort, place: NetworkPlace): Promise<() => void> {
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
    socket.on('error', () => undefined);
    if (!place.acceptTcp(guestPort, (events) => hostTcp(socket, events))) socket.resetAndDestroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(refusal(error, 'TCP', address.toString(), hostPort)));
    server.listen(hostPort, address.toString(), resolve);
  });
  server.on('error', () => undefined);
  return () => void server.close();
}

async function publishUdp({ address, hostPort, guestPort }: PublishedPort, place: NetworkPlace): Promise<() => void> {
  const socket: UdpSocket = createSocket(address.family === 4 ? 'udp4' : 'udp6');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (error) => reject(refusal(error, 'UDP', address.toString(), hostPort)));
    socket.bind(hostPort, address.toString(), resolve);
  });
  socket.on('error', () => undefined);
  socket.on('message', (data, from) => {
    place.acceptUdp(guestPort, `${from.address} ${from.port} ${hostPort}`, data, (answer) =>
      sendDatagram(socket, answer, from.port, from.address),
    );
  });
  return () => void socket.close();
}

function refusal(error: unknown, protocol: string, address: string, port: number): HostError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const reason =
    code === 'EADDRINUSE'
      ? 'it is taken already; choose another one'
      : code === 'EADDRNOTAVAIL'
        ? 'this computer does not have that address'
        : code === 'EACCES'
          ? 'only an administrator may listen there; choose a port from 1024 on'
          : systemReason(error);
  return new HostError('unavailable', `${protocol} port ${port} of ${address} cannot be published: ${reason}`, error);
}
