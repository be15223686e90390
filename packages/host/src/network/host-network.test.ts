/** The host's sockets as a network uses them, against real ones on loopback. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type HostFailure, type HostTcp, IpAddress, type TcpEvents } from '@ringfence/core';
import { afterEach, describe, expect, test } from 'vitest';
import { nodeHostNetwork } from './host-network.ts';
import { queryNameServers } from './name-servers.ts';
import { hostTcp } from './tcp-socket.ts';
import { sendDatagram } from './udp-socket.ts';

const LOOPBACK = IpAddress.parse('127.0.0.1') as IpAddress;
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function serve(onConnection: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  closing.push(() => void server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What happens, as words, and who waits for one of them. */
class Recorder implements TcpEvents {
  readonly words: string[] = [];
  received = '';
  longest = 0;
  readBytes = 1024;
  #waiting: (() => void)[] = [];

  connected(): void {
    this.#say('connected');
  }
  data(bytes: Uint8Array): void {
    this.received += Buffer.from(bytes).toString();
    this.longest = Math.max(this.longest, bytes.length);
    this.#say('data');
  }
  nextRead(): number {
    return this.readBytes;
  }
  ended(): void {
    this.#say('ended');
  }
  written(): void {
    this.#say('written');
  }
  closed(failure: HostFailure | undefined): void {
    this.#say(`closed ${failure ?? 'in order'}`);
  }
  async until(word: string): Promise<void> {
    while (!this.words.includes(word)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
  #say(word: string): void {
    if (this.words.at(-1) !== word) this.words.push(word);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function connectTo(port: number): { events: Recorder; tcp: HostTcp } {
  const events = new Recorder();
  return { events, tcp: nodeHostNetwork([]).connectTcp({ address: LOOPBACK, port }, events) };
}

describe('a TCP connection of the host', () => {
  test('carries bytes both ways and ends one way at a time', async () => {
    const port = await serve((socket) => {
      socket.on('data', (bytes: Buffer) => socket.write(bytes.toString().toUpperCase()));
      socket.on('end', () => socket.end(' and goodbye'));
    });
    const { events, tcp } = connectTo(port);
    await events.until('connected');
    const bytes = Buffer.from('hello');
    tcp.write(bytes);
    // What was written is the caller's again.
    bytes.fill(0);
    await events.until('data');
    tcp.end();
    await events.until('closed in order');
    expect(events.received).toBe('HELLO and goodbye');
    expect(events.words.filter((word) => word !== 'data' && word !== 'written')).toEqual([
      'connected',
      'ended',
      'closed in order',
    ]);
  });

  test('counts what the system has not taken yet, and says when it has', async () => {
    let peer: Socket | undefined;
    const port = await serve((socket) => {
      peer = socket;
      socket.pause();
    });
    const { events, tcp } = connectTo(port);
    await events.until('connected');
    const total = 16 << 20;
    for (let sent = 0; sent < total; sent += 65_536) tcp.write(Buffer.alloc(65_536, 'x'));
    expect(tcp.queuedBytes).toBeGreaterThan(0);
    let received = 0;
    peer?.on('data', (bytes: Buffer) => (received += bytes.length));
    peer?.resume();
    while (tcp.queuedBytes > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    while (received < total) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(received).toBe(total);
    tcp.reset();
    await events.until('closed in order');
  });

  test('reads no more at once than it is told before each read', async () => {
    const sent = Buffer.from(Array.from({ length: 40_000 }, (_, index) => 97 + (index % 26)));
    const port = await serve((socket) => socket.end(sent));
    const { events, tcp } = connectTo(port);
    const before = events.readBytes;
    await events.until('data');
    expect(events.longest).toBeLessThanOrEqual(before);
    events.readBytes = 4096;
    await events.until('ended');
    expect([events.longest, events.received]).toEqual([4096, sent.toString()]);
    tcp.end();
    await events.until('closed in order');
  });

  test('keeps little memory for many small writes', async () => {
    const port = await serve((socket) => void socket.pause());
    const { events, tcp } = connectTo(port);
    await events.until('connected');
    while (tcp.queuedBytes === 0) tcp.write(new Uint8Array(65_536));
    const [queued, before] = [tcp.queuedBytes, process.memoryUsage().arrayBuffers];
    for (let count = 0; count < 2000; count++) tcp.write(Uint8Array.of(count));
    expect(tcp.queuedBytes - queued).toBe(2000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
    tcp.reset();
    await events.until('closed in order');
  });

  test('says why it could not be made', async () => {
    const port = await serve(() => undefined);
    closing.pop()?.();
    const { events } = connectTo(port);
    await events.until('closed refused');
    expect(events.words).toEqual(['closed refused']);
  });

  test('that is reset before it stands is over at once', async () => {
    const events = new Recorder();
    const socket = connect({ host: 'nowhere.invalid', port: 9, lookup: () => undefined });
    hostTcp(socket, events).reset();
    await events.until('closed in order');
    expect(socket.destroyed).toBe(true);
  });

  test('says that it was reset', async () => {
    const port = await serve((socket) => setTimeout(() => socket.resetAndDestroy(), 20));
    const { events } = connectTo(port);
    await events.until('closed reset');
    expect(events.words).toEqual(['connected', 'closed reset']);
  });
});

test('datagrams go out and answers come in, with their sender', async () => {
  const peer = createSocket('udp4');
  closing.push(() => void peer.close());
  peer.on('message', (data, { port }) => peer.send(`${data.toString()}!`, port, '127.0.0.1'));
  peer.bind(0, '127.0.0.1');
  await once(peer, 'listening');
  const { port } = peer.address();
  const answer = await new Promise<string>((resolve) => {
    const socket = nodeHostNetwork([]).openUdp(4, {
      message: (from, data) =>
        resolve(`${from.address.toString()} ${from.port === port} ${Buffer.from(data).toString()}`),
      failed: () => resolve('failed'),
    });
    closing.push(() => socket.close());
    socket.send({ address: LOOPBACK, port }, Buffer.from('hello'));
  });
  expect(answer).toBe('127.0.0.1 true hello!');
});

test('a datagram that cannot be sent is lost, and nobody hears of it', async () => {
  let failures = 0;
  const socket = nodeHostNetwork([]).openUdp(4, { message: () => undefined, failed: () => failures++ });
  closing.push(() => socket.close());
  socket.send({ address: LOOPBACK, port: 0 }, Buffer.from('to nobody'));
  const plain = createSocket('udp4');
  sendDatagram(plain, Buffer.from('to nobody'), 0, '127.0.0.1');
  await new Promise<void>((resolve) => {
    plain.close(resolve);
  });
  sendDatagram(plain, Buffer.from('from nobody'), 9, '127.0.0.1');
  expect(failures).toBe(0);
});

describe('name servers', () => {
  test('that cannot even be sent to are passed over', async () => {
    // Without leave, nothing is sent to everybody.
    const server = { address: '255.255.255.255', port: 53 };
    expect(await queryNameServers([server], Buffer.from([1, 2, 1, 0, 0, 1]), false)).toBeUndefined();
  });

  test('are asked one after the other, over UDP and TCP', async () => {
    const query = Buffer.from([1, 2, 1, 0, 0, 1]);
    const socket = createSocket('udp4');
    closing.push(() => void socket.close());
    socket.on('message', (data, { port }) => socket.send(Buffer.concat([data, Buffer.from('u')]), port, '127.0.0.1'));
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const tcpPort = await serve((peer) => {
      peer.once('data', (data: Buffer) => {
        const message = Buffer.concat([data.subarray(2), Buffer.from('t')]);
        peer.write(Buffer.from([0]));
        peer.end(Buffer.concat([Buffer.from([message.length]), message]));
      });
    });
    // Nobody listens at the first one, and the system says so at once.
    const dead = await serve(() => undefined);
    closing.pop()?.();
    const server = (port: number) => ({ address: '127.0.0.1', port });
    const udp = await queryNameServers([server(dead), server(socket.address().port)], query, false);
    const tcp = await queryNameServers([server(dead), server(tcpPort)], query, true);
    expect(
      [udp, tcp].map((answer) =>
        Buffer.from(answer ?? [])
          .subarray(6)
          .toString(),
      ),
    ).toEqual(['u', 't']);
    expect(await queryNameServers([], query, false)).toBeUndefined();
  });
});
