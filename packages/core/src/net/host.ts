/**
 * The world outside, as the gateway is allowed to see it: sockets, names and time. Who assembles a network hands them in (on Node, the
 * command line does). None of these methods throws; what goes wrong is told through the events.
 */

import type { Endpoint, IpAddress } from './addresses.ts';

/** Why a connection could not be made, or ended. */
export type HostFailure = 'refused' | 'unreachable' | 'timed-out' | 'reset' | 'failed';

/** What a connection of the host tells. Nothing comes after `closed`. */
export interface TcpEvents {
  /** The connection stands; comes once, before data. */
  connected(): void;
  /** Bytes came; readable during the call. */
  data(bytes: Uint8Array): void;
  /** Asked before data is read, when what came before was told: how many bytes to read at once at most. They count until they have come. */
  nextRead(): number;
  /** No more data will come. */
  ended(): void;
  /** `queuedBytes` has become less. */
  written(): void;
  /** It is over: in order when `failure` is undefined. */
  closed(failure: HostFailure | undefined): void;
}

export interface HostTcp {
  /** Bytes that were written and that the host's system has not taken yet. */
  readonly queuedBytes: number;
  /** Sends bytes; copies what it keeps. */
  write(bytes: Uint8Array): void;
  /** Nothing more will be written. */
  end(): void;
  /** Ends the connection at once, with a reset where the host can. */
  reset(): void;
  /** Data may stop coming until `resume`; what comes in spite of it counts. */
  pause(): void;
  resume(): void;
}

export interface HostUdp {
  /** Sends a datagram; copies what it keeps. Loses it when too much waits. */
  send(to: Endpoint, data: Uint8Array): void;
  close(): void;
}

export interface UdpEvents {
  /** A datagram came; readable during the call. */
  message(from: Endpoint, data: Uint8Array): void;
  /** The socket cannot be used any more. */
  failed(): void;
}

/** What became of an echo: somebody answered, nobody did, nobody can be reached there, or the host may not ask. */
export type EchoOutcome = 'answered' | 'silent' | 'unreachable' | 'prohibited';

export interface HostNetwork {
  /** Begins a connection. */
  connectTcp(to: Endpoint, events: TcpEvents): HostTcp;
  /** A socket that datagrams go out of and their answers come in. */
  openUdp(family: 4 | 6, events: UdpEvents): HostUdp;
  /** Sends a DNS message (RFC 1035, 4) to the host's name servers and gives the answer; undefined when there is none. */
  queryDns(message: Uint8Array, overTcp: boolean): Promise<Uint8Array | undefined>;
  /** Sends an ICMP echo with so much data and waits for its answer for a few seconds; absent where the host has no means. Never rejects. */
  echo?(to: IpAddress, dataBytes: number): Promise<EchoOutcome>;
}

/** Time and alarms. */
export interface NetworkTimers {
  /** Milliseconds, monotonic. */
  nowMs(): number;
  /** Calls back once, after about `delayMs`; gives a function that cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Randomness for numbers that nobody may guess: initial sequence numbers, ports. */
export interface NetworkEntropy {
  fill(into: Uint8Array): void;
}
