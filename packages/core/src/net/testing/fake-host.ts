/** A host whose sockets are the test's: what a network does with them is recorded, and what they do is the test's to say. */

import type { Endpoint, IpAddress } from '../addresses.ts';
import type { EchoOutcome, HostNetwork, HostTcp, HostUdp, TcpEvents, UdpEvents } from '../host.ts';

export class FakeTcp implements HostTcp {
  readonly events: TcpEvents;
  readonly to: Endpoint | undefined;
  queuedBytes = 0;
  /** Whether what is written waits until `drain`. */
  isSlow = false;
  readonly received: number[] = [];
  hasEnded = false;
  isReset = false;
  isPaused = false;

  constructor(events: TcpEvents, to?: Endpoint) {
    this.events = events;
    this.to = to;
  }

  write(bytes: Uint8Array): void {
    for (const byte of bytes) this.received.push(byte);
    if (this.isSlow) this.queuedBytes += bytes.length;
  }

  drain(): void {
    this.queuedBytes = 0;
    this.events.written();
  }

  end(): void {
    this.hasEnded = true;
  }

  reset(): void {
    this.isReset = true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }
}

export class FakeUdp implements HostUdp {
  readonly events: UdpEvents;
  readonly sent: { readonly to: string; readonly data: string }[] = [];
  isClosed = false;

  constructor(events: UdpEvents) {
    this.events = events;
  }

  /** As strict as Node, so that what it would not take is seen. */
  send({ address, port }: Endpoint, data: Uint8Array): void {
    if (port === 0) throw new Error('nothing can be sent to port 0');
    if (this.isClosed) throw new Error('the socket is closed');
    this.sent.push({ to: `${address.toString()} ${port}`, data: Buffer.from(data).toString('latin1') });
  }

  close(): void {
    if (this.isClosed) throw new Error('the socket is closed already');
    this.isClosed = true;
  }
}

export class FakeHost implements HostNetwork {
  readonly tcp: FakeTcp[] = [];
  readonly udp: FakeUdp[] = [];
  readonly queries: Uint8Array[] = [];
  /** A host without means for echoes, until a test says otherwise. */
  echo?: (to: IpAddress, dataBytes: number) => Promise<EchoOutcome>;
  /** What name servers answer. */
  answer: (message: Uint8Array) => Promise<Uint8Array | undefined> = () => Promise.resolve(undefined);

  connectTcp(to: Endpoint, events: TcpEvents): FakeTcp {
    const tcp = new FakeTcp(events, to);
    this.tcp.push(tcp);
    return tcp;
  }

  openUdp(_family: 4 | 6, events: UdpEvents): FakeUdp {
    const udp = new FakeUdp(events);
    this.udp.push(udp);
    return udp;
  }

  queryDns(message: Uint8Array): Promise<Uint8Array | undefined> {
    this.queries.push(message);
    return this.answer(message);
  }
}
