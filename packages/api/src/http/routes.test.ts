/** Routes and client against each other, without a socket. */

import { describe, expect, test } from 'vitest';
import * as z from 'zod/mini';
import { ApiClient, type ApiRequest, requestOf, type Transport } from '../client.ts';
import { ApiError, ERROR_CODES, ERRORS } from '../errors.ts';
import type { Operation } from '../operation.ts';
import { OPERATIONS } from '../operations.ts';
import type { HostEvent, LongOperation } from '../schemas.ts';
import { type Handlers, makeRoutes, type RouteOptions } from './routes.ts';

const OPERATION: LongOperation = {
  id: 'o1',
  kind: 'vm.start',
  vm: { id: 'i', name: 'web' },
  state: 'running',
  step: 'booting',
  revision: 1,
  startedAt: '2026-01-01T00:00:00Z',
};
const EVENTS: HostEvent[] = [1, 2].map((seq) => ({
  seq,
  at: '2026-01-01T00:00:00Z',
  kind: 'vm.started',
  vm: { id: 'i', name: 'web' },
  detail: {},
}));

function daemon(handlers: Partial<Handlers>, options: Partial<RouteOptions> = {}) {
  const app = makeRoutes({
    handlers: handlers as Handlers,
    failureOf: (error) => ({ code: 'bug', message: String(error) }),
    ...options,
  });
  const request = async ({ method, path, body }: ApiRequest, signal?: AbortSignal): Promise<Response> =>
    app.request(path, { method, ...(body === undefined ? {} : { body }), ...(signal ? { signal } : {}) });
  const transport: Transport = {
    send: async (asked, signal) => {
      const response = await request(asked, signal);
      return { status: response.status, body: await response.text() };
    },
    async *stream(asked, signal) {
      const { body } = await request(asked, signal);
      const decoder = new TextDecoder();
      for await (const bytes of body!) yield decoder.decode(bytes as Uint8Array, { stream: true });
    },
  };
  return { app, client: new ApiClient(transport) };
}

describe('what is asked', () => {
  test('arrives as it was meant, out of path, query and body', async () => {
    const asked: unknown[] = [];
    const note = (input: unknown): LongOperation => (asked.push(input), OPERATION);
    const { client } = daemon({ 'vm.stop': note, 'vm.remove': note });
    await client.ask('vm.stop', { vm: 'a/b', timeoutMs: 5 });
    await client.ask('vm.remove', { vm: 'web', keepFiles: true });
    expect(asked).toEqual([
      { vm: 'a/b', timeoutMs: 5 },
      { vm: 'web', keepFiles: true },
    ]);
  });

  test('is waited for until it is over, and its failure is told', async () => {
    const told: string[] = [];
    const states: LongOperation[] = [
      { ...OPERATION, revision: 2, step: 'waiting' },
      { ...OPERATION, revision: 3, state: 'failed', error: { code: 'timeout', message: 'it took too long' } },
    ];
    const { client } = daemon({
      'vm.start': () => OPERATION,
      'operation.inspect': ({ operation, revision }) => {
        told.push(`${operation} ${revision}`);
        return states.shift() ?? OPERATION;
      },
    });
    const steps: string[] = [];
    const started = client.run('vm.start', { vm: 'web' }, { onProgress: ({ step }) => steps.push(step) });
    await expect(started).rejects.toMatchObject({ code: 'timeout', message: 'it took too long' });
    expect([told, steps]).toEqual([
      ['o1 1', 'o1 2'],
      ['booting', 'waiting', 'booting'],
    ]);
  });

  test('events come one by one, and the stream ends with them', async () => {
    const { client } = daemon({
      'event.list': async function* ({ after, follow }) {
        expect([after, follow]).toEqual([7, false]);
        yield* EVENTS;
      },
    });
    const seen: HostEvent[] = [];
    for await (const event of client.events({ after: 7, follow: false })) seen.push(event);
    expect(seen).toEqual(EVENTS);
  });
});

describe('what is refused', () => {
  const bad: [string, ApiRequest, number, string][] = [
    ['no JSON', { method: 'POST', path: '/v1/vms', body: '{' }, 400, 'bad-argument'],
    ['JSON of another shape', { method: 'POST', path: '/v1/vms', body: '[]' }, 400, 'bad-argument'],
    ['an unknown field', { method: 'POST', path: '/v1/vms', body: '{"colour":1}' }, 400, 'bad-argument'],
    [
      'an unknown field of a disk',
      { method: 'POST', path: '/v1/vms', body: '{"disks":[{"size":"1M","readonly":true}]}' },
      400,
      'bad-argument',
    ],
    [
      'a patience without end',
      { method: 'POST', path: '/v1/vms/a/stop', body: '{"timeoutMs":2147483647}' },
      400,
      'bad-argument',
    ],
    ...['-1', '', '%20', 'one', '1.5', '1e400'].map((after): (typeof bad)[number] => [
      `a number that is none: "${after}"`,
      { method: 'GET', path: `/v1/events?after=${after}`, body: undefined },
      400,
      'bad-argument',
    ]),
    ['a field that cannot be so', { method: 'POST', path: '/v1/vms', body: '{"cpus":"two"}' }, 400, 'bad-argument'],
    ['a name that is none', { method: 'POST', path: '/v1/vms', body: '{"name":"-"}' }, 400, 'bad-argument'],
    ['an unknown query', { method: 'GET', path: '/v1/vms?x=1', body: undefined }, 400, 'bad-argument'],
    ['a field twice', { method: 'POST', path: '/v1/vms/a/start', body: '{"vm":"b"}' }, 400, 'bad-argument'],
    ['an unknown path', { method: 'GET', path: '/v1/nothing', body: undefined }, 404, 'not-found'],
    ['an unknown method', { method: 'DELETE', path: '/v1/vms', body: undefined }, 404, 'not-found'],
    ['a body beyond all measure', { method: 'POST', path: '/v1/vms', body: ' '.repeat(2 ** 21) }, 400, 'bad-argument'],
  ];
  test.each(bad)('%s', async (_what, request, status, code) => {
    const { app } = daemon({ 'vm.create': () => OPERATION, 'vm.list': () => [], 'vm.start': () => OPERATION });
    const { method, path, body } = request;
    const response = await app.request(path, { method, ...(body === undefined ? {} : { body }) });
    expect([response.status, await response.json()]).toEqual([
      status,
      { code, message: expect.stringMatching(/^[^\n]+[^.]$/) as string },
    ]);
  });

  test.each(ERROR_CODES)('a failure %s keeps its code and its words', async (code) => {
    const { app, client } = daemon({
      'vm.list': () => {
        throw new ApiError(code, 'because');
      },
    });
    expect((await app.request('/v1/vms')).status).toBe(ERRORS[code].status);
    await expect(client.ask('vm.list', {})).rejects.toMatchObject({ code, message: 'because' });
  });

  test('everything, while the guard says so', async () => {
    const { client } = daemon({ 'vm.list': () => [] }, { guard: () => new ApiError('forbidden', 'no') });
    await expect(client.ask('vm.list', {})).rejects.toMatchObject({ code: 'forbidden' });
  });
});

test('every operation has a request that its route understands', async () => {
  const reached: string[] = [];
  const names = Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[];
  const handlers = Object.fromEntries(names.map((name) => [name, () => (reached.push(name), [])]));
  const { app } = daemon(handlers);
  const input = { vm: 'web', name: 'new', folder: '/f', operation: 'o', snapshot: 's', target: 'host:7411' };
  for (const name of names) {
    const operation: Operation = OPERATIONS[name];
    if (operation.answer === 'terminal') continue;
    // A field of one name may be another thing elsewhere, and is optional then.
    const fields = Object.entries(operation.input.shape).flatMap(([field, schema]) =>
      Object.hasOwn(input, field) && z.safeParse(schema, input[field as keyof typeof input]).success ? [field] : [],
    );
    const given = Object.fromEntries(fields.map((field) => [field, input[field as keyof typeof input]]));
    const { method, path, body } = requestOf(name, given as never);
    await app.request(path, { method, ...(body === undefined ? {} : { body }) });
  }
  expect(reached).toEqual(names.filter((name) => name !== 'vm.console'));
});
