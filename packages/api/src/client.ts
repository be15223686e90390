/** Asks the daemon: a method for each operation, typed by the table. How a request travels is a port. */

import { ApiError, isErrorCode } from './errors.ts';
import { type Given, type NameOf, type OperationName, OPERATIONS, type Output } from './operations.ts';
import { type Operation, pathFields } from './operation.ts';
import { failure, LIMITS, type LongOperation, longOperation } from './schemas.ts';
import * as z from 'zod/mini';

export interface ApiRequest {
  readonly method: Operation['method'];
  /** With its query. */
  readonly path: string;
  /** JSON. */
  readonly body: string | undefined;
}

/** How requests travel. Rejects with an ApiError when nobody is there. */
export interface Transport {
  send(request: ApiRequest, signal?: AbortSignal): Promise<{ readonly status: number; readonly body: string }>;
  /** A body that comes in pieces of text. */
  stream(request: ApiRequest, signal?: AbortSignal): AsyncIterable<string>;
}

/** How long a long operation is waited for at a time. */
const WAIT_MS = Math.min(30_000, LIMITS.waitMs);

export class ApiClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Asks, and gives what is answered; of a long operation, that it has begun. */
  async ask<Name extends NameOf<'value' | 'long' | 'text'>>(
    name: Name,
    input: Given<Name>,
    signal?: AbortSignal,
  ): Promise<Output<Name>> {
    const { status, body } = await this.#transport.send(requestOf(name, input), signal);
    const answer = OPERATIONS[name].answer === 'text' && status < 300 ? body : jsonOf(body);
    if (status >= 300) throw errorOf(answer);
    const checked = z.safeParse(OPERATIONS[name].output, answer);
    if (!checked.success) throw new ApiError('protocol', `the daemon answers ${name} with what makes no sense`);
    return checked.data as Output<Name>;
  }

  /** Begins a long operation and waits for its end; rejects with its failure. */
  async run<Name extends NameOf<'long'>>(
    name: Name,
    input: Given<Name>,
    { onProgress, signal }: { readonly onProgress?: (now: LongOperation) => void; readonly signal?: AbortSignal } = {},
  ): Promise<LongOperation> {
    let now = z.parse(longOperation, await this.ask(name, input, signal));
    for (;;) {
      onProgress?.(now);
      if (now.state === 'failed')
        throw new ApiError(now.error?.code ?? 'bug', now.error?.message ?? `the operation ${name} failed`);
      if (now.state === 'done') return now;
      const { id, revision } = now;
      now = await this.ask('operation.inspect', { operation: id, revision, waitMs: WAIT_MS }, signal);
    }
  }

  /** What happens, as it happens. */
  async *events(input: Given<'event.list'>, signal?: AbortSignal): AsyncGenerator<Output<'event.list'>> {
    let text = '';
    for await (const piece of this.#transport.stream(requestOf('event.list', input), signal)) {
      text += piece;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const data = dataOf(text.slice(0, end));
        text = text.slice(end + 2);
        if (data !== undefined) yield z.parse(OPERATIONS['event.list'].output, jsonOf(data));
      }
    }
  }
}

/** The data of one event, as the daemon writes them (HTML Standard, section 9.2.6); undefined for a comment. */
function dataOf(block: string): string | undefined {
  const lines = block.split('\n').filter((line) => line.startsWith('data:'));
  return lines.length === 0 ? undefined : lines.map((line) => line.slice('data:'.length).trimStart()).join('\n');
}

/** The request that an operation is. */
export function requestOf<Name extends OperationName>(name: Name, input: Given<Name>): ApiRequest {
  const { method, path } = OPERATIONS[name];
  const inPath = pathFields(path);
  const fields = Object.entries(input).filter(([, value]) => value !== undefined);
  const filled = path.replaceAll(/\{(\w+)\}/g, (_all, field: string) =>
    encodeURIComponent(String((input as Record<string, unknown>)[field])),
  );
  const rest = fields.filter(([field]) => !inPath.includes(field));
  if (method === 'POST') return { method, path: filled, body: JSON.stringify(Object.fromEntries(rest)) };
  const query = rest.map(([field, value]) => `${encodeURIComponent(field)}=${encodeURIComponent(String(value))}`);
  return { method, path: query.length > 0 ? `${filled}?${query.join('&')}` : filled, body: undefined };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new ApiError('protocol', 'the daemon answers with what is no JSON', error);
  }
}

/** The failure in an answer. */
export function errorOf(answer: unknown): ApiError {
  const checked = z.safeParse(failure, answer);
  if (checked.success && isErrorCode(checked.data.code)) return new ApiError(checked.data.code, checked.data.message);
  return new ApiError('protocol', 'the daemon refuses, and not in words that are known; it may be another version');
}
