/** DNS messages (RFC 1035, 4), as far as a name server needs them that knows a few names and asks others for the rest. */

import type { IpAddress } from './addresses.ts';
import { putU16, putU32, u16 } from './octets.ts';

export const DNS_HEADER_BYTES = 12;
export const RECORD = { A: 1, AAAA: 28, ANY: 255 } as const;
export const RESPONSE_CODE = { OK: 0, FORMAT_ERROR: 1, SERVER_FAILURE: 2 } as const;

const QUERY_BITS = 0xf800;
const RECURSION_DESIRED = 0x0100;
/** Response, recursion available. */
const RESPONSE_FLAGS = 0x8080;
const AUTHORITATIVE = 0x0400;
const INTERNET = 1;
const MAXIMUM_NAME_BYTES = 255;
/** A name as a pointer to the question's. */
const POINTER_TO_QUESTION = 0xc000 | DNS_HEADER_BYTES;
const RECORD_BYTES = 12;
/** Seconds that an answer of ours may be kept: machines come and go. */
const TIME_TO_LIVE_S = 10;

export interface DnsQuestion {
  /** In lower case, labels between dots, without the last one. */
  readonly name: string;
  readonly type: number;
  /** Where the question ends. */
  readonly end: number;
}

/** The one question of a query; undefined when the message is no such. */
export function parseQuestion(message: Uint8Array): DnsQuestion | undefined {
  const isQuery = message.length >= DNS_HEADER_BYTES && (u16(message, 2) & QUERY_BITS) === 0 && u16(message, 4) === 1;
  if (!isQuery) return undefined;
  const labels: string[] = [];
  let at = DNS_HEADER_BYTES;
  for (;;) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) break;
    // A question comes first, so there is nothing that it could point to.
    if (length > 63 || at + length - DNS_HEADER_BYTES > MAXIMUM_NAME_BYTES) return undefined;
    labels.push(String.fromCharCode(...message.subarray(at + 1, at + 1 + length)).toLowerCase());
    at += 1 + length;
  }
  if (at + 5 > message.length || u16(message, at + 3) !== INTERNET) return undefined;
  return { name: labels.join('.'), type: u16(message, at + 1), end: at + 5 };
}

/** An answer of our own to a query: these addresses, or a failure. */
export function dnsAnswer(query: Uint8Array, end: number, code: number, addresses: readonly IpAddress[]): Uint8Array {
  const records = addresses.reduce((sum, { bytes }) => sum + RECORD_BYTES + bytes.length, 0);
  const answer = new Uint8Array(end + records);
  answer.set(query.subarray(0, end));
  const authority = code === RESPONSE_CODE.OK ? AUTHORITATIVE : 0;
  putU16(answer, 2, RESPONSE_FLAGS | authority | (u16(query, 2) & RECURSION_DESIRED) | code);
  putU16(answer, 4, end > DNS_HEADER_BYTES ? 1 : 0);
  putU16(answer, 6, addresses.length);
  putU32(answer, 8, 0);
  let at = end;
  for (const { family, bytes } of addresses) {
    putU16(answer, at, POINTER_TO_QUESTION);
    putU16(answer, at + 2, family === 4 ? RECORD.A : RECORD.AAAA);
    putU16(answer, at + 4, INTERNET);
    putU32(answer, at + 6, TIME_TO_LIVE_S);
    putU16(answer, at + 10, bytes.length);
    answer.set(bytes, at + RECORD_BYTES);
    at += RECORD_BYTES + bytes.length;
  }
  return answer;
}

/** A message that is too long for UDP, cut down to its question, with the mark that makes the client ask again over TCP. */
export function truncated(message: Uint8Array): Uint8Array {
  const end = (parseQuestionOfAnswer(message) ?? { end: DNS_HEADER_BYTES }).end;
  const cut = message.slice(0, end);
  putU16(cut, 2, u16(message, 2) | 0x0200);
  putU16(cut, 4, end > DNS_HEADER_BYTES ? 1 : 0);
  putU16(cut, 6, 0);
  putU32(cut, 8, 0);
  return cut;
}

function parseQuestionOfAnswer(message: Uint8Array): DnsQuestion | undefined {
  const question = message.slice();
  putU16(question, 2, 0);
  return parseQuestion(question);
}

/** Whether a name can be that of a machine (RFC 1123, 2.1). */
export function isHostName(name: string): boolean {
  return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i.test(name);
}
