/**
 * The name server of a network: knows the machines on it by name, and asks the host's name servers for everything else.
 *
 *     query --[name of a machine?]--> answer of our own
 *                  \-> HostNetwork.queryDns --> the host's answer, or SERVFAIL
 */

import type { IpAddress } from './addresses.ts';
import { DNS_HEADER_BYTES, RECORD, RESPONSE_CODE, dnsAnswer, parseQuestion } from './dns-message.ts';
import type { HostFailure, HostNetwork, HostTcp, TcpEvents } from './host.ts';
import { putU16, u16 } from './octets.ts';

export const DNS_PORT = 53;
/** Queries that the host is asked at once; others fail. */
export const MAXIMUM_QUERIES = 256;
/** Longer messages do not exist over TCP (RFC 1035, 4.2.2). */
const LENGTH_BYTES = 2;
/** What a guest may send over TCP before it is answered. */
const MAXIMUM_PENDING_BYTES = 128 * 1024;

export class DnsServer {
  readonly #host: Pick<HostNetwork, 'queryDns'>;
  readonly #addressesOf: (name: string) => readonly IpAddress[] | undefined;
  #underWay = 0;

  /** `addressesOf` gives the addresses of a machine by its name in lower case; undefined when there is none. */
  constructor(host: Pick<HostNetwork, 'queryDns'>, addressesOf: (name: string) => readonly IpAddress[] | undefined) {
    this.#host = host;
    this.#addressesOf = addressesOf;
  }

  /** Calls back with the answer, at once or later; never for what is no query. */
  ask(query: Uint8Array, overTcp: boolean, answer: (message: Uint8Array) => void): void {
    const question = parseQuestion(query);
    if (question === undefined) {
      if (query.length >= DNS_HEADER_BYTES && (u16(query, 2) & 0x8000) === 0)
        answer(dnsAnswer(query, DNS_HEADER_BYTES, RESPONSE_CODE.FORMAT_ERROR, []));
      return;
    }
    const known = this.#addressesOf(question.name);
    if (known !== undefined) {
      const wanted = known.filter(
        ({ family }) => question.type === RECORD.ANY || question.type === (family === 4 ? RECORD.A : RECORD.AAAA),
      );
      answer(dnsAnswer(query, question.end, RESPONSE_CODE.OK, wanted));
      return;
    }
    const kept = query.slice();
    const failed = (): void => answer(dnsAnswer(kept, question.end, RESPONSE_CODE.SERVER_FAILURE, []));
    if (this.#underWay >= MAXIMUM_QUERIES) {
      failed();
      return;
    }
    this.#underWay++;
    void this.#forward(kept, overTcp, answer, failed);
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

/** Names over TCP (RFC 7766): stands where a connection of the host would, and answers by itself. */
export class DnsStream implements HostTcp {
  readonly queuedBytes = 0;
  readonly #server: DnsServer;
  readonly #events: TcpEvents;
  #pending = new Uint8Array(0);
  #unanswered = 0;
  #hasEnded = false;
  #isOver = false;

  constructor(server: DnsServer, events: TcpEvents) {
    this.#server = server;
    this.#events = events;
  }

  write(bytes: Uint8Array): void {
    if (this.#isOver) return;
    const all = new Uint8Array(this.#pending.length + bytes.length);
    all.set(this.#pending);
    all.set(bytes, this.#pending.length);
    let at = 0;
    while (at + LENGTH_BYTES <= all.length) {
      const end = at + LENGTH_BYTES + u16(all, at);
      if (end > all.length) break;
      this.#ask(all.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    this.#pending = all.slice(at);
    if (this.#pending.length > MAXIMUM_PENDING_BYTES) this.#close('failed');
  }

  end(): void {
    this.#hasEnded = true;
    this.#endWhenDone();
  }

  reset(): void {
    this.#isOver = true;
  }

  pause(): void {}

  resume(): void {}

  #ask(query: Uint8Array): void {
    this.#unanswered++;
    let isAnswered = false;
    this.#server.ask(query, true, (message) => {
      if (this.#isOver || isAnswered) return;
      isAnswered = true;
      this.#unanswered--;
      const framed = new Uint8Array(LENGTH_BYTES + message.length);
      putU16(framed, 0, message.length);
      framed.set(message, LENGTH_BYTES);
      this.#events.data(framed);
      this.#endWhenDone();
    });
  }

  #endWhenDone(): void {
    if (!this.#hasEnded || this.#unanswered > 0 || this.#isOver) return;
    this.#isOver = true;
    this.#events.ended();
    this.#events.closed(undefined);
  }

  #close(failure: HostFailure): void {
    this.#isOver = true;
    this.#events.closed(failure);
  }
}
