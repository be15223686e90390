/**
 * Each code that an operation of the daemon has says the same to programs, as `--json`, and to people; and what does not work leaves nothing behind. Those that
 * nobody can provoke here are named with why.
 */

import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import {
  COMMON_ERRORS,
  type ErrorCode,
  type NameOf,
  type Operation,
  type OperationName,
  OPERATIONS,
} from '@ringfence/api';
import type { ApiError } from '@ringfence/api/errors';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ringfenceHere } from '../testing/in-process.ts';
import { type Case, CASES, NOT_PROVOKED } from './cases.ts';
import { Stage } from './stage.ts';

const SET_TIMEOUT_MS = 240_000;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.set();
}, SET_TIMEOUT_MS);
afterAll(() => stage[Symbol.asyncDispose]());

interface Failure {
  readonly code: string;
  readonly message: string;
}

/** As a program that has the client hears it. */
async function byApi(operation: OperationName, input: object): Promise<Failure> {
  const { answer }: Operation = OPERATIONS[operation];
  if (answer === 'terminal') return byWebSocket((input as { readonly vm: string }).vm);
  const { client } = stage.daemon;
  try {
    if (answer === 'long') await client.run<NameOf<'long'>>(operation as NameOf<'long'>, input);
    else if (answer === 'events') await toEnd(client.events(input));
    else await client.ask<NameOf<'value'>>(operation as NameOf<'value'>, input);
  } catch (error) {
    const { code, message } = error as ApiError;
    return { code, message };
  }
  throw new Error(`${operation} works`);
}

async function toEnd(events: AsyncIterable<unknown>): Promise<void> {
  for await (const event of events) if (event === undefined) return;
}

function byWebSocket(vm: string): Promise<Failure> {
  const path = join(stage.daemon.folder, 'run/ringfence/host/api.sock');
  const socket = new WebSocket(`ws+unix://${path}:/v1/vms/${vm}/console`);
  return new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.on('unexpected-response', (_request, response) => {
      let text = '';
      response.on('data', (bytes: Buffer) => (text += bytes.toString()));
      response.on('end', () => resolve(JSON.parse(text) as Failure));
    });
  });
}

/** Figures are others in each moment; who reaches machines of `run`, too, has other hints and speaks of the verb. */
function plain(message: string, { hasFigures, hasOtherHints, operation }: Case): string {
  const sentence = hasOtherHints === true ? message.replace(/;.*/s, '') : message;
  const same = operation === 'vm.console' ? sentence.replace(/ (is stopped|does not run).*/, '') : sentence;
  return hasFigures === true ? same.replaceAll(/[\d.]+/g, '0') : same;
}

describe.each([...new Set(CASES.map(({ operation }) => operation))])('%s', (operation) => {
  test.each(
    CASES.filter((each) => each.operation === operation).map((each) => [each.code, each.because, each] as const),
  )('says %s where %s, alike to all who ask, and leaves nothing behind', async (code, _because, one) => {
    const { before, meanwhile } = one;
    const input: object = typeof one.input === 'function' ? (one.input as (of: Stage) => object)(stage) : one.input;
    const words = typeof one.words === 'function' ? one.words(stage) : one.words;
    const undo = await before?.(stage);
    try {
      const there = await stage.everything();
      const said = async <T>(asked: Promise<T>): Promise<T> => (await Promise.all([asked, meanwhile?.(stage)]))[0];
      const failure = await said(byApi(operation, input));
      expect(failure.code).toBe(code);
      expect([...OPERATIONS[operation].errors, ...COMMON_ERRORS]).toContain(code);
      if (one.says !== undefined) expect(failure.message).toMatch(one.says);
      if (words !== undefined) {
        const { env } = stage.daemon;
        const people = await said(ringfenceHere(env, ...words));
        const json = await said(ringfenceHere(env, ...words, ...(operation === 'vm.console' ? [] : ['--json'])));
        const [, sentence = '', itsCode] = /^ringfence: (.*) \(([a-z-]+)\)\n$/s.exec(people.stderr) ?? [];
        const wanted = { code, message: plain(failure.message, one) };
        expect([people.code, people.stdout.toString()]).toEqual([1, '']);
        expect({ code: itsCode, message: plain(sentence, one) }).toEqual(wanted);
        // It has no `--json`: its output is the guest's.
        if (operation !== 'vm.console') {
          const { error } = JSON.parse(json.stdout.toString()) as { readonly error: Failure };
          expect([json.code, json.stderr]).toEqual([1, '']);
          expect({ ...error, message: plain(error.message, one) }).toEqual(wanted);
        }
      }
      expect(await stage.everything()).toEqual(there);
    } finally {
      await undo?.();
    }
  });
});

/** What operations cannot do without. */
const NEEDED = { vm: 'web', snapshot: 'whole', operation: 'none', folder: '/', target: 'host', name: 'new' };
const asked = Object.entries<Operation>(OPERATIONS).filter(([, { answer }]) => answer !== 'terminal');

test.each(asked.map(([name]) => name as OperationName))(
  '%s says bad-argument of a field that nobody knows',
  async (name) => {
    const { path }: Operation = OPERATIONS[name];
    // In `vm.start` it is something else, and need not be there.
    const isNeeded = (field: string): boolean =>
      field in OPERATIONS[name].input.shape &&
      (field !== 'snapshot' || path.includes('{snapshot}') || name === 'snapshot.restore');
    const needed = Object.fromEntries(Object.entries(NEEDED).filter(([field]) => isNeeded(field)));
    const failure = await byApi(name, { ...needed, nonsense: 1 });
    expect(failure).toMatchObject({ code: 'bad-argument', message: expect.stringContaining('nonsense') as string });
  },
);

test('nobody is answered while others can open the socket, and that is said alike to all who ask', async () => {
  const folder = join(stage.daemon.folder, 'run/ringfence/host');
  chmodSync(folder, 0o755);
  try {
    const failure = await byApi('vm.list', {});
    expect(failure.code).toBe('forbidden');
    for (const [name, { answer }] of asked)
      if (answer !== 'events')
        expect((await byApi(name as OperationName, { vm: 'web', operation: 'x' })).code).toBe('forbidden');
    const [people, json] = [await stage.daemon.ringfence('ls'), await stage.daemon.ringfence('ls', '--json')];
    expect([people.code, people.stderr]).toEqual([1, `ringfence: ${failure.message} (forbidden)\n`]);
    expect([json.code, JSON.parse(json.stdout.toString())]).toEqual([1, { error: failure }]);
  } finally {
    chmodSync(folder, 0o700);
  }
});

test('events are told to so many at once, and another one is refused with too-many', async () => {
  const { client } = stage.daemon;
  const stop = new AbortController();
  const following = Array.from({ length: 64 }, async () => {
    await toEnd(client.events({ follow: true }, stop.signal));
  });
  for (const each of following) each.catch(() => undefined);
  await expect
    .poll(async () => (await byApi('event.list', { follow: false }).catch(() => ({ code: '' }))).code)
    .toBe('too-many');
  const failure = await byApi('event.list', {});
  const [people, json] = [await stage.daemon.ringfence('events'), await stage.daemon.ringfence('events', '--json')];
  expect([people.code, people.stderr]).toEqual([1, `ringfence: ${failure.message} (too-many)\n`]);
  expect([json.code, JSON.parse(json.stdout.toString())]).toEqual([1, { error: failure }]);
  stop.abort();
  await Promise.all(following.map((each) => each.catch(() => undefined)));
});

/** By a test of its own, which every operation has. */
const FOR_ALL: readonly ErrorCode[] = ['bad-argument', 'forbidden'];
/** By a test of its own. */
const ALONE: ReadonlySet<string> = new Set(['event.list too-many']);

test('each code of each operation is provoked, or it is said why not; and nothing is said of one that is', () => {
  const provoked = new Set([...ALONE, ...CASES.map(({ operation, code }) => `${operation} ${code}`)]);
  const excused = (operation: OperationName, code: ErrorCode): boolean =>
    NOT_PROVOKED.some(({ codes, operations }) => codes.includes(code) && (operations?.includes(operation) ?? true));
  const all = Object.entries<Operation>(OPERATIONS).flatMap(([name, { errors }]) =>
    errors.map((code) => ({ operation: name as OperationName, code })),
  );
  const missing = all.filter(
    ({ operation, code }) =>
      !provoked.has(`${operation} ${code}`) && !excused(operation, code) && !COMMON_ERRORS.includes(code),
  );
  expect(missing.map(({ operation, code }) => `${operation} ${code}`)).toEqual([]);
  expect(COMMON_ERRORS.filter((code) => !FOR_ALL.includes(code))).toEqual(['bug']);
  const needless = NOT_PROVOKED.flatMap(({ codes, operations = [] }) =>
    operations.flatMap((operation) => codes.map((code) => ({ operation, code }))),
  ).filter(
    ({ operation, code }) =>
      provoked.has(`${operation} ${code}`) && operation !== 'snapshot.restore' && operation !== 'vm.reset',
  );
  expect(needless).toEqual([]);
});
