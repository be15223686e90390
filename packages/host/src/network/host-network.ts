/** The host's sockets, names and timers, for a network of core. */

import { createSocket } from 'node:dgram';
import process from 'node:process';
import { type HostNetwork, IpAddress, type NetworkTimers } from '@ringfence/core';
import { after } from '../machine/ports.ts';
import { echoProgram } from './echo-program.ts';
import { type NameServer, queryNameServers, systemNameServers } from './name-servers.ts';
import { connectTcp } from './tcp-socket.ts';
import { sendDatagram } from './udp-socket.ts';

/** `nameServers` stand for the system's own when they are given. */
export function nodeHostNetwork(nameServers?: readonly NameServer[]): HostNetwork {
  // A process that may start no programs has no `ping`.
  const echo = process.permission && !process.permission.has('child') ? undefined : echoProgram();
  return {
    ...(echo && { echo }),
    connectTcp({ address, port }, events) {
      return connectTcp({ host: address.toString(), port, family: address.family, allowHalfOpen: true }, events);
    },
    openUdp(family, events) {
      const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
      let isOver = false;
      const close = (): void => {
        if (isOver) return;
        isOver = true;
        socket.close();
      };
      socket.on('message', (data, { address, port }) => {
        const from = IpAddress.parse(address.replace(/%.*$/, ''));
        if (from !== undefined && !isOver) events.message({ address: from, port }, data);
      });
      socket.on('error', () => {
        close();
        events.failed();
      });
      return {
        send(to, data) {
          if (!isOver) sendDatagram(socket, data, to.port, to.address.toString());
        },
        close,
      };
    },
    queryDns: (message, overTcp) => queryNameServers(nameServers ?? systemNameServers(), message, overTcp),
  };
}

export const nodeNetworkTimers: NetworkTimers = {
  nowMs: () => performance.now(),
  after,
};
