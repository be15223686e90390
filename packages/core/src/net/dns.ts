/**
 * The name server of a network: knows the machines on it by name, and asks the host's name servers for everything else.
 *
 *     query --[name of a machine?]--> answer of our own
 *                  \-> HostNetwork.queryDns --> the host's answer, or SERVFAIL
 */

import type { IpAddress } from './addresses.ts';
import { DNS_HEADER_BYTES, RECORD, RESPONSE_CODE, dnsAnswer, parseQuestion } from './dns-message.ts';
import type { HostNetwork, HostTcp, TcpEvents } from './host.ts';
import { SendQueue } from './nat/send-queue.ts';
import { putU16, u16 } from './octets.ts';

export const DNS_PORT = 53;
/** Queries that the host is asked at once; others fail. */
export const MAXIMUM_QUERIES = 256;
/** Longer messages do not exist over TCP (RFC 1035, 4.2.2). */
const LENGTH_BYTES = 2;
/** Queries of one TCP connection that are being answered at once; the rest waits (RFC 7766, 6.2.1.1). */
export const MAXIMUM_PIPELINED_QUERIES = 4;

export class DnsServer {
  readonly #host: Pick<HostNetwork, 'queryDns'>;
  readonly #addressesOf: (name: string) => readonly IpAddress[] | undefined;
  #underWay = 0;

  /** `addressesOf` gives the addresses of a machine by its name in lower case; undefined when there is none. */
  constructor(host: Pick<HostNetwork, 'queryDns'>, addressesOf: (name: string) => readonly IpAddress[] | undefined) {
    this.#host = host;
    this.#addressesOf = addressesOf;
  }

  /** Calls back with the answer, at once or later. False for what is no query: there is none. */
  ask(query: Uint8Array, overTcp: boolean, answer: (message: Uint8Array) => void): boolean {
    const question = parseQuestion(query);
    if (question === undefined) {
      if (query.length < DNS_HEADER_BYTES || (u16(query, 2) & 0x8000) !== 0) return false;
      answer(dnsAnswer(query, DNS_HEADER_BYTES, RESPONSE_CODE.FORMAT_ERROR, []));
      return true;
    }
    const known = this.#addressesOf(question.name);
    if (known !== undefined) {
      const wanted = known.filter(
        ({ family }) => question.type === RECORD.ANY || question.type === (family === 4 ? RECORD.A : RECORD.AAAA),
      );
      answer(dnsAnswer(query, question.end, RESPONSE_CODE.OK, wanted));
      return true;
    }
    const kept = query.slice();
    const failed = (): void => answer(dnsAnswer(kept, question.end, RESPONSE_CODE.SERVER_FAILURE, []));
    if (this.#underWay >= MAXIMUM_QUERIES) {
      failed();
      return true;
    }
    this.#underWay++;
    void this.#forward(kept, overTcp, answer, failed);
    return true;
  }

  async #forward(
    query: Uint8Array,
    overTcp: boolean,
    answer: (message: Uint8Array) => void,
    failed: () => void,
  ): Promise<void> {
    const message = await this.#host.queryDns(query, overTcp);
    this.#underWay--;
    // An answer to something else is none.
    if (message === undefined || message.length < DNS_HEADER_BYTES || u16(message, 0) !== u16(query, 0)) failed();
    else answer(message);
  }
}

/**
 * Names over TCP (RFC 7766): stands where a connection of the host would, and answers by itself. Queries wait here, and count, while answers do
 * not get through to the guest: its window closes like that of any connection.
 */
export class DnsStream implements HostTcp {
  readonly #server: DnsServer;
  readonly #events: TcpEvents;
  readonly #pending = new SendQueue();
  #unanswered = 0;
  #isPaused = false;
  #hasEnded = false;
  #isOver = false;

  constructor(server: DnsServer, events: TcpEvents) {
    this.#server = server;
    this.#events = events;
  }

  get queuedBytes(): number {
    return this.#pending.length;
  }

  write(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#pending.push(bytes);
    this.#serve();
  }

  end(): void {
    this.#hasEnded = true;
    this.#serve();
  }

  reset(): void {
    this.#isOver = true;
    this.#pending.clear();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#serve();
    this.#events.written();
  }

  /** Answers what has come whole, as far as it may. */
  #serve(): void {
    while (!this.#isPaused && !this.#isOver && this.#unanswered < MAXIMUM_PIPELINED_QUERIES) {
      const query = this.#takeQuery();
      if (query !== undefined) this.#ask(query);
      else return this.#endWhenDone();
    }
    return undefined;
  }

  #takeQuery(): Uint8Array | undefined {
    const pending = this.#pending;
    if (pending.length < LENGTH_BYTES) return undefined;
    const length = new Uint8Array(LENGTH_BYTES);
    pending.copyTo(length, 0, 0, LENGTH_BYTES);
    const query = new Uint8Array(u16(length, 0));
    if (pending.length < LENGTH_BYTES + query.length) return undefined;
    pending.copyTo(query, 0, LENGTH_BYTES, query.length);
    pending.drop(LENGTH_BYTES + query.length);
    return query;
  }

  #ask(query: Uint8Array): void {
    let isAnswered = false;
    let isLater = false;
    this.#unanswered++;
    const isQuery = this.#server.ask(query, true, (message) => {
      if (this.#isOver || isAnswered) return;
      isAnswered = true;
      this.#unanswered--;
      const framed = new Uint8Array(LENGTH_BYTES + message.length);
      putU16(framed, 0, message.length);
      framed.set(message, LENGTH_BYTES);
      this.#events.data(framed);
      if (!isLater) return;
      this.#serve();
      this.#events.written();
    });
    if (!isQuery) this.#unanswered--;
    isLater = true;
  }

  #endWhenDone(): void {
    if (!this.#hasEnded || this.#unanswered > 0) return;
    this.#isOver = true;
    this.#events.ended();
    this.#events.closed(undefined);
  }
}
