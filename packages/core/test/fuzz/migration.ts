/**
 * What another daemon that is trusted, and lies, may send instead of a machine: messages whose numbers and checksums are right, of any kind and content, and
 * the state of a real machine with other values in it. The end that a machine comes to refuses it as what it is, or runs it, and is no bug's victim.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import * as fc from 'fast-check';
import {
  MESSAGE,
  type MessageKind,
  MessageWriter,
  MIGRATION_VERSION,
} from '../../src/hypervisor/migration/messages.ts';
import { MigrationError } from '../../src/hypervisor/migration/migration-error.ts';
import { MigrationTarget } from '../../src/hypervisor/migration/target.ts';
import { Machine } from '../../src/machine/machine.ts';
import { blankMachine } from '../../src/machine/testing/blank-machine.ts';
import { SavedStateError } from '../../src/base/saved.ts';
import { type Json, savedToJson } from '../../src/vm/snapshot/saved-json.ts';
import { brokenLinkCodec } from '../migration/broken-link.ts';

const MEMORY_BYTES = 8 * 1024 * 1024;
const MAKE = { memoryBytes: MEMORY_BYTES };
/** Of all its pages: a bitmap of another length is looked at no further. */
const BITMAP_BYTES = Math.ceil((await blankMachine(MAKE)).pages.count / 8);
/** Until a message is answered, if it ever is. */
const TURNS = 6;
/** What a machine that came may take to run for a moment, whatever it is. */
const MOST_MS = 5000;

const KINDS: readonly MessageKind[] = [MESSAGE.PAGES, MESSAGE.CODE, MESSAGE.DISK, MESSAGE.DISK_SYNC];
const VALUES = [
  '0',
  '-1',
  '1',
  '255',
  '4294967295',
  '4294967296',
  '9007199254740993',
  '1e308',
  '0.5',
  'null',
  '"x"',
  '[]',
  '{}',
];

/** Of missing pages, of the right length in most. */
const bitmaps = fc.record({
  kind: fc.constant(MESSAGE.MISSING),
  body: fc.oneof(
    { weight: 4, arbitrary: fc.uint8Array({ minLength: BITMAP_BYTES, maxLength: BITMAP_BYTES }) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2 * BITMAP_BYTES }) },
  ),
});
/** Where instructions begin in a page. */
const code = fc.record({
  kind: fc.constant(MESSAGE.CODE),
  body: fc
    .tuple(fc.nat(MEMORY_BYTES / 4096 + 1), fc.uint8Array({ minLength: 256, maxLength: 256 }))
    .map(([page, slots]) => Uint8Array.of(page & 0xff, page >> 8, 0, 0, ...slots)),
});
/** The first bytes count what is in them, and are small in many. */
const others = fc.record({
  kind: fc.constantFrom<MessageKind>(...KINDS),
  body: fc
    .tuple(
      fc.nat(40),
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom(4096 + 4, 3 * 4096 + 32).map((length) => new Uint8Array(length)),
      ),
    )
    .map(([count, rest]) => Uint8Array.of(count, 0, 0, 0, ...rest)),
});

const sessions = fc.record({
  /** Before its state. */
  messages: fc.array(
    fc.oneof({ weight: 3, arbitrary: bitmaps }, { weight: 3, arbitrary: code }, { weight: 1, arbitrary: others }),
    { maxLength: 5 },
  ),
  /** Of the numbers in its state, which, and what is there instead. */
  changes: fc.array(fc.record({ at: fc.nat(), value: fc.oneof(fc.constantFrom(...VALUES), fc.nat().map(String)) }), {
    maxLength: 4,
  }),
  commit: fc.constantFrom<Json>({ stoodNs: 0 }, { stoodNs: -5 }, { stoodNs: 1e300 }, { stoodNs: 'x' }, {}, null, []),
});

export function hostileSources(): fc.IAsyncProperty<[unknown]> {
  return fc.asyncProperty(sessions, play) as fc.IAsyncProperty<[unknown]>;
}

type Session = typeof sessions extends fc.Arbitrary<infer T> ? T : never;

/** Rejects with what must not be. */
async function play({ messages, changes, commit }: Session): Promise<void> {
  const codec = brokenLinkCodec();
  const writer = new MessageWriter(codec);
  const machine = await blankMachine(MAKE);
  let hear: (message: Uint8Array) => void = () => undefined;
  const target = new MigrationTarget({
    link: {
      send: async (_message, sent) => {
        sent?.();
      },
      listen: (onMessage) => void (hear = onMessage),
      close: () => undefined,
    },
    codec,
    clock: { monotonicNs: () => performance.now() * 1e6, sleep },
    make: () => Promise.resolve(machine),
    run: () => undefined,
    wait: () => ({
      send: () => undefined,
      receive: () => {
        throw new MigrationError('lost', 'the link is cut');
      },
    }),
  });
  const comes = async (message: Uint8Array): Promise<void> => {
    hear(message);
    for (let turn = 0; turn < TURNS; turn++) await new Promise((resolve) => void setImmediate(resolve));
  };
  const { memoryBytes, hartCount: harts } = machine;
  const { stateLayout } = Machine;
  await comes(writer.json(MESSAGE.HELLO, { version: MIGRATION_VERSION, stateLayout, memoryBytes, harts, about: null }));
  for (const { kind, body } of messages) await comes(writer.bytes(kind, body));
  await comes(writer.json(MESSAGE.STATE, { state: changed(await goodState(), changes), beside: null }));
  await comes(writer.json(MESSAGE.COMMIT, commit));
  const outcome = await Promise.race([target.arrived, nothing()]).catch((error: unknown) => error);
  if (outcome instanceof Error) checkRefusal(outcome);
  else if (outcome !== undefined) runs(machine, target);
}

/** It was refused as what it is: neither an assertion of ours nor an accident said so. */
function checkRefusal(error: Error): void {
  if (!(error instanceof MigrationError) || error.reason === 'bug') throw error;
  if (error.code === 'other-machine' && error.cause !== undefined && !(error.cause instanceof SavedStateError))
    throw error.cause;
}

function runs(machine: Machine, target: MigrationTarget): void {
  const beganMs = performance.now();
  try {
    for (let turn = 0; turn < 10; turn++) machine.run(1);
  } catch (error) {
    // It touched a page that never comes.
    if (!(error instanceof MigrationError && error.code === 'lost')) throw error;
  }
  target.pump();
  const ms = performance.now() - beganMs;
  if (ms > MOST_MS) throw new Error(`the machine ran for ${ms.toFixed(0)} ms where 10 were asked for`);
}

function changed(state: string, changes: Session['changes']): Json {
  let text = state;
  for (const { at, value } of changes) {
    const found = [...text.matchAll(/-?\d+/g)];
    const number = found[at % found.length];
    if (number === undefined) continue;
    const after = text.slice(0, number.index) + value + text.slice(number.index + number[0].length);
    // Some of them are within a word.
    if (isJson(after)) text = after;
  }
  return JSON.parse(text) as Json;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

let good: string | undefined;
async function goodState(): Promise<string> {
  good ??= JSON.stringify(savedToJson((await blankMachine(MAKE)).save()));
  return good;
}

function nothing(): Promise<undefined> {
  return new Promise((resolve) => void setImmediate(() => resolve(undefined)));
}
