/** Asks the host's name servers, one after the other (RFC 1035, 4.2). Messages go through as they are, whatever they ask for. */

import { createSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { connect, isIPv6 } from 'node:net';

export interface NameServer {
  readonly address: string;
  readonly port: number;
}

/** How long one server has to answer; then the next one is asked. */
const ANSWER_TIMEOUT_MS = 3000;
/** Servers that are asked at the most. */
const MAXIMUM_SERVERS = 3;
const DNS_PORT = 53;
const LENGTH_BYTES = 2;

/** Those that the host's system is set to. */
export function systemNameServers(): NameServer[] {
  return getServers().flatMap((text) => {
    const [, bracketed, port] = /^\[(.+)\]:(\d+)$/.exec(text) ?? /^([\d.]+):(\d+)$/.exec(text) ?? [];
    return [{ address: bracketed ?? text, port: Number(port ?? DNS_PORT) }];
  });
}

/** The first answer there is; undefined when there is none. */
export async function queryNameServers(
  servers: readonly NameServer[],
  message: Uint8Array,
  overTcp: boolean,
): Promise<Uint8Array | undefined> {
  for (const server of servers.slice(0, MAXIMUM_SERVERS)) {
    const answer = await (overTcp ? queryTcp(server, message) : queryUdp(server, message));
    if (answer !== undefined) return answer;
  }
  return undefined;
}

function queryUdp({ address, port }: NameServer, message: Uint8Array): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    // A socket of its own for every query: a port that nobody can guess.
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    let isOver = false;
    const finish = (answer: Uint8Array | undefined): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => undefined);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(undefined), ANSWER_TIMEOUT_MS);
    socket.on('error', () => finish(undefined));
    socket.on('message', (answer) => {
      if (answer[0] === message[0] && answer[1] === message[1]) finish(answer);
    });
    // A connected socket hears nobody else, and hears of a server that is not there.
    // The callback is called when that fails, too.
    const connected = (error?: Error): void => {
      if (error) finish(undefined);
      else if (!isOver) socket.send(message);
    };
    socket.connect(port, address, connected);
  });
}

function queryTcp({ address, port }: NameServer, message: Uint8Array): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    let received: Buffer = Buffer.alloc(0);
    const finish = (answer: Uint8Array | undefined): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => finish(undefined));
    socket.on('error', () => finish(undefined));
    socket.on('close', () => finish(undefined));
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      if (received.length < LENGTH_BYTES) return;
      const end = LENGTH_BYTES + received.readUInt16BE(0);
      if (received.length >= end) finish(received.subarray(LENGTH_BYTES, end));
    });
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt16BE(message.length);
    socket.write(Buffer.concat([length, message]));
  });
}
