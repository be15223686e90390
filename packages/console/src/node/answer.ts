/** Answers one request for a resource: RFC 9110 for methods, validators and ranges, RFC 9111 for caching. */

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { byteRange } from './byte-range.ts';
import type { Resource } from './resource.ts';

/**
 * In every answer. The first three isolate the page from other origins, for which the browser gives it shared memory (HTML, "cross-origin
 * isolation"); the policy lets it load nothing from elsewhere. xterm.js makes style elements, WebAssembly is compiled from bytes.
 */
const SAFETY: OutgoingHttpHeaders = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy':
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
};
const YEAR_SECONDS = 31_536_000;

/** `resource` is undefined when there is none under that name. Resolves when all is sent, or the client went away. */
export async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  resource: Resource | undefined,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return refuse(response, 405, 'Only GET and HEAD.', { Allow: 'GET, HEAD' });
  if (resource === undefined) return refuse(response, 404, 'There is nothing here.');
  const { sizeBytes, etag, contentType, isImmutable } = resource;
  const headers: OutgoingHttpHeaders = {
    ...SAFETY,
    ETag: etag,
    'Cache-Control': isImmutable ? `public, max-age=${YEAR_SECONDS}, immutable` : 'no-cache',
  };
  if (isKnown(request.headers['if-none-match'], etag)) {
    response.writeHead(304, headers).end();
    return;
  }
  // A part of another version than the client has would be of no use to it.
  const condition = request.headers['if-range'];
  const field =
    request.method === 'GET' && (condition === undefined || condition === etag) ? request.headers.range : undefined;
  const range = byteRange(field, sizeBytes);
  if (range === 'unsatisfiable')
    return refuse(response, 416, 'There is no such part.', { 'Content-Range': `bytes */${sizeBytes}` });
  const { first, last } = range ?? { first: 0, last: sizeBytes - 1 };
  response.writeHead(range === undefined ? 200 : 206, {
    ...headers,
    'Accept-Ranges': 'bytes',
    'Content-Type': contentType,
    'Content-Length': last - first + 1,
    ...(range === undefined ? {} : { 'Content-Range': `bytes ${first}-${last}/${sizeBytes}` }),
  });
  if (request.method === 'HEAD' || sizeBytes === 0) {
    response.end();
    return;
  }
  try {
    await pipeline(resource.content({ first, last }), response);
  } catch {
    // The client went away, or the file cannot be read: in both cases what was announced does not come, and the client sees that.
    response.destroy();
  }
}

/** If-None-Match (RFC 9110, 13.1.2): a list of validators, compared weakly. */
function isKnown(field: string | undefined, etag: string): boolean {
  return field !== undefined && field.split(',').some((each) => ['*', etag].includes(each.trim().replace(/^W\//, '')));
}

function refuse(response: ServerResponse, status: number, sentence: string, headers: OutgoingHttpHeaders = {}): void {
  response
    .writeHead(status, { ...SAFETY, 'Content-Type': 'text/plain; charset=utf-8', ...headers })
    .end(`${sentence}\n`);
}
