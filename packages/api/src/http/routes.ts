/**
 * The routes of the contract, for anything that speaks the web's Request and Response. What comes is an allegation until its schema has
 * passed. Consoles are not here: a WebSocket is the server's own matter.
 */

import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import * as z from 'zod/mini';
import { ApiError, ERRORS } from '../errors.ts';
import { complaint } from '../complaint.ts';
import { type Input, type NameOf, type OperationName, OPERATIONS, type Output } from '../operations.ts';
import { type Operation, pathFields } from '../operation.ts';
import { type Failure, LIMITS, type LongOperation } from '../schemas.ts';

/** What answers, one function for each operation. */
export type Handlers = {
  readonly [Name in NameOf<'value' | 'text'>]: (input: Input<Name>) => Output<Name> | Promise<Output<Name>>;
} & {
  readonly [Name in NameOf<'long'>]: (input: Input<Name>) => LongOperation | Promise<LongOperation>;
} & {
  /** Each piece is one event's number and its JSON; `signal` says that nobody listens any more. */
  readonly [Name in NameOf<'events'>]: (
    input: Input<Name> & { readonly lastEventId: string | undefined },
    signal: AbortSignal,
  ) => AsyncIterable<Output<Name>>;
};

export interface RouteOptions {
  readonly handlers: Handlers;
  /** What a failure that is none of the contract's becomes. */
  readonly failureOf: (error: unknown) => Failure;
  /** Called with every request that was answered. */
  readonly answered?: (operation: OperationName, status: number, milliseconds: number) => void;
  /** Whether requests may be answered at all; gives the refusal. */
  readonly guard?: () => ApiError | undefined;
  /** How often a stream without events says that it is there, in milliseconds. */
  readonly keepAliveMs?: number;
}

const KEEP_ALIVE_MS = 15_000;

export function makeRoutes(options: RouteOptions): Hono {
  const app = new Hono();
  const tooLarge = (): Response =>
    refused({ code: 'bad-argument', message: `the request's body is larger than ${LIMITS.bodyBytes} bytes` });
  app.use(bodyLimit({ maxSize: LIMITS.bodyBytes, onError: tooLarge }));
  for (const [key, operation] of Object.entries<Operation>(OPERATIONS)) {
    const name = key as OperationName;
    if (operation.answer === 'terminal') continue;
    app.on(operation.method, operation.path.replaceAll(/\{(\w+)\}/g, ':$1'), async ({ req }) => {
      const started = performance.now();
      const response = await answer(name, operation, options, {
        fields: { ...req.query(), ...req.param() },
        body: operation.method === 'POST' ? await req.text() : undefined,
        lastEventId: req.header('last-event-id'),
        signal: req.raw.signal,
      }).catch((error: unknown) =>
        refused(error instanceof ApiError ? { code: error.code, message: error.message } : options.failureOf(error)),
      );
      options.answered?.(name, response.status, performance.now() - started);
      return response;
    });
  }
  app.notFound(({ req }) => {
    const known = Object.values<Operation>(OPERATIONS).some(({ path }) => matches(path, req.path));
    const what = known
      ? `${req.method} is nothing that can be done with ${req.path}`
      : `there is nothing at ${req.path}`;
    return refused({ code: 'not-found', message: `${what}; /v1/openapi.json tells what there is` });
  });
  app.onError((error) => refused(options.failureOf(error)));
  return app;
}

interface Asked {
  /** Of the path and the query. */
  readonly fields: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly lastEventId: string | undefined;
  readonly signal: AbortSignal;
}

async function answer(
  name: OperationName,
  operation: Operation,
  { handlers, guard, keepAliveMs = KEEP_ALIVE_MS }: RouteOptions,
  asked: Asked,
): Promise<Response> {
  const refusal = guard?.();
  if (refusal !== undefined) throw refusal;
  const checked = z.safeParse(operation.input, inputOf(operation, asked));
  if (!checked.success) throw new ApiError('bad-argument', complaint(checked.error));
  const handler = handlers[name as keyof Handlers] as (input: unknown, signal: AbortSignal) => unknown;
  if (operation.answer === 'events') {
    const input = { ...checked.data, lastEventId: asked.lastEventId };
    return eventStream(handler(input, asked.signal) as AsyncIterable<{ readonly seq: number }>, keepAliveMs);
  }
  const result = await handler(checked.data, asked.signal);
  if (operation.answer === 'text')
    return new Response(result as string, { headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' } });
  return Response.json(result, { status: operation.answer === 'long' ? 202 : 200 });
}

function inputOf({ path, method }: Operation, { fields, body }: Asked): unknown {
  if (method !== 'POST') {
    // As a number it would be 0.
    const empty = Object.keys(fields).find((field) => fields[field]?.trim() === '');
    if (empty !== undefined) throw new ApiError('bad-argument', `the field "${empty}" is empty`);
    return fields;
  }
  const inPath = Object.fromEntries(pathFields(path).map((field) => [field, fields[field]]));
  if (body === undefined || body.trim() === '') return inPath;
  let json: unknown;
  try {
    json = JSON.parse(body) as unknown;
  } catch (error) {
    throw new ApiError('bad-argument', "the request's body is no JSON", error);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new ApiError('bad-argument', "the request's body is no JSON object");
  const twice = Object.keys(inPath).find((field) => Object.hasOwn(json, field));
  if (twice !== undefined) throw new ApiError('bad-argument', `the field "${twice}" is in the path already`);
  return { ...json, ...inPath };
}

/** Server-sent events, with a comment now and then so that a connection that is gone is noticed. */
function eventStream(events: AsyncIterable<{ readonly seq: number }>, keepAliveMs: number): Response {
  const encoder = new TextEncoder();
  const iterator = events[Symbol.asyncIterator]();
  let keepAlive: ReturnType<typeof setInterval> | undefined;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(encoder.encode(':\n\n'));
      keepAlive = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(':\n\n'));
      }, keepAliveMs);
    },
    async pull(controller) {
      const next = await iterator.next();
      if (next.done === true) {
        clearInterval(keepAlive);
        controller.close();
      } else controller.enqueue(encoder.encode(`id: ${next.value.seq}\ndata: ${JSON.stringify(next.value)}\n\n`));
    },
    async cancel() {
      clearInterval(keepAlive);
      await iterator.return?.();
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' } });
}

function refused(failure: Failure): Response {
  return Response.json(failure, { status: ERRORS[failure.code].status });
}

function matches(pattern: string, path: string): boolean {
  const [wanted, found] = [pattern.split('/'), path.split('/')];
  return wanted.length === found.length && wanted.every((part, index) => part.startsWith('{') || part === found[index]);
}
