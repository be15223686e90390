/**
 * Frames that no honest host sends, to the agent built with sanitizers and confined to a folder: it must not crash, hang, leak or do
 * anything that a sanitizer minds. RINGFENCE_FUZZ_RUNS says how many sequences; `npm run agent:fuzz` is for long.
 */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import fc from 'fast-check';
import { within } from '@ringfence/core/testing/node-host';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildNativeAgent, NativeAgent } from './testing/native-agent.ts';

const hasCompiler = existsSync('/usr/bin/gcc') || process.env['CI'] !== undefined;
const RUNS = Number(process.env['RINGFENCE_FUZZ_RUNS'] ?? 100);
const LONGEST_END_MS = 30_000;
const NOT_CONFINED = 77;

/** Types of frames as packages/images/agent/protocol.h has them. */
const OPENING = { EXEC: 3, PACK: 4, UNPACK: 5, FREEZE: 6 };
const ASKING = { PING: 2, SET_TIME: 7, SHUTDOWN: 8, IDENTITY: 9, CARD: 10 };
const ON_CHANNEL = { DATA: 16, END: 17, WINDOW: 18, SIGNAL: 19, RESIZE: 20, CLOSE: 21 };

function frame(type: number, stream: number, channel: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16LE(payload.length, 0);
  header.writeUInt8(type, 2);
  header.writeUInt8(stream, 3);
  header.writeUInt32LE(channel, 4);
  return Buffer.concat([header, payload]);
}

const HELLO = frame(1, 0, 0, Buffer.concat([Buffer.from('RFagent\n'), Buffer.from([1, 0, 1, 0, 0, 0, 1, 0])]));
const texts = (...values: readonly string[]): Buffer =>
  Buffer.from(values.map((value) => `${value}\0`).join(''), 'latin1');
const u32 = (...values: readonly number[]): Buffer => Buffer.from(new Uint32Array(values).buffer);

const path = fc.constantFrom(
  '/',
  '/files',
  '/files/a',
  '/files/none',
  '/proc/self',
  '/new/deep/er',
  '/files/link',
  '/dev/null',
  'x',
  '',
);
const user = fc.constantFrom('', '', '', '0', 'root', '7:8', 'nobody', ':', 'x'.repeat(300), 'root:root');

const exec = fc
  .record({
    flags: fc.integer({ min: 0, max: 4 }),
    size: fc.integer({ min: 0, max: 70_000 }),
    user,
    workdir: fc.constantFrom('', '/', '/none', '/files'),
    program: fc.constantFrom('/bin/prey', 'prey', '/none', '/files', ''),
    word: fc.constantFrom('copy', 'flood', 'leave', 'stay', 'die', ''),
    counts: fc.constantFrom([2, 1], [2, 1], [2, 1], [2, 1], [0, 0], [3, 0], [70_000, 1]),
  })
  .map(({ flags, size, user: who, workdir, program, word, counts }) =>
    Buffer.concat([
      Buffer.from(new Uint16Array([flags, size, size, 0]).buffer),
      u32(...counts),
      texts(who, workdir, program, word, 'PATH=/bin'),
    ]),
  );
const pathRequest = fc
  .tuple(fc.integer({ min: 0, max: 9 }), user, path)
  .map(([flags, who, where]) => Buffer.concat([u32(flags), texts(who, where)]));

/** A record of a copy, most of the time a sound one. */
const record = fc
  .record({
    kind: fc.integer({ min: 0, max: 18 }),
    depth: fc.integer({ min: 0, max: 3 }),
    name: fc.constantFrom('', 'a', 'b', 'link', '..', 'a/b', 'n'.repeat(255)),
    target: fc.constantFrom('', '', 'a', 'a/b', '../x', '/'),
    rest: fc.uint8Array({ minLength: 40, maxLength: 40 }),
    isMild: fc.boolean(),
  })
  .map(({ kind, depth, name, target, rest, isMild }) => {
    if (kind === 17) return Buffer.from([17, 0, 0, 0]);
    if (kind === 16)
      return Buffer.concat([u32(16, rest.length), Buffer.from(rest.subarray(0, 2)), Buffer.alloc(6), rest]);
    const header = Buffer.from([kind, 0, name.length, 0, depth, 0, target.length, 0]);
    return Buffer.concat([header, isMild ? Buffer.alloc(40) : rest, Buffer.from(name + target)]);
  });
const copy = fc.array(record, { maxLength: 12 }).map((records) => Buffer.concat(records));

/** A frame but for its channel: a new one, or one of those that were opened. */
interface Step {
  readonly type: number;
  readonly stream: number;
  readonly isNew: boolean;
  readonly body: Uint8Array;
}

const step = (
  weight: number,
  isNew: boolean,
  types: readonly number[],
  stream: number,
  body: fc.Arbitrary<Uint8Array>,
) => ({
  weight,
  arbitrary: fc
    .tuple(fc.constantFrom(...types), body)
    .map(([type, bytes]): Step => ({ type, stream, isNew, body: bytes })),
});

const someStep = fc.oneof(
  step(8, true, [OPENING.EXEC], 0, exec),
  step(8, true, [OPENING.PACK, OPENING.UNPACK], 0, pathRequest),
  step(10, false, [ON_CHANNEL.DATA], 0, copy),
  step(
    5,
    false,
    [ON_CHANNEL.DATA],
    0,
    fc.nat(30_000).map((size) => new Uint8Array(size)),
  ),
  step(
    6,
    false,
    [ON_CHANNEL.WINDOW],
    1,
    fc.nat(300_000).map((more) => u32(more)),
  ),
  step(
    3,
    false,
    [ON_CHANNEL.WINDOW],
    2,
    fc.nat(300_000).map((more) => u32(more)),
  ),
  step(5, false, [ON_CHANNEL.END, ON_CHANNEL.CLOSE], 0, fc.constant(new Uint8Array(0))),
  step(
    6,
    false,
    [ON_CHANNEL.SIGNAL, ON_CHANNEL.RESIZE],
    0,
    fc.nat(70).map((value) => u32(value)),
  ),
  step(
    2,
    true,
    [OPENING.FREEZE],
    0,
    fc.nat(50).map((value) => u32(value)),
  ),
  step(2, true, [ASKING.PING], 0, fc.constant(new Uint8Array(0))),
  step(1, true, [ASKING.SET_TIME, ASKING.SHUTDOWN, ASKING.IDENTITY, ASKING.CARD], 0, fc.uint8Array({ maxLength: 20 })),
  // What breaks the protocol.
  step(1, true, [OPENING.EXEC, OPENING.PACK], 1, exec),
  step(1, false, [OPENING.EXEC, ...Object.values(ON_CHANNEL), 99], 3, fc.uint8Array({ maxLength: 9 })),
);

function bytesOf(steps: readonly Step[]): Buffer {
  let channels = 0;
  return Buffer.concat(
    steps.map(({ type, stream, isNew, body }, index) =>
      frame(type, stream, isNew ? ++channels : channels - (index % Math.min(3, channels + 1)), body),
    ),
  );
}

/** Frames as they are, or with some bytes changed. */
const sequence = fc
  .tuple(
    fc.array(someStep, { minLength: 1, maxLength: 60, size: 'max' }).map(bytesOf),
    fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 })),
  )
  .map(([bytes, changes]) => {
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    return bytes;
  });

/** Sends the bytes, waits until the agent has read them and done something about it, and closes the connection; gives what it said. */
async function talk(agent: NativeAgent, bytes: Uint8Array, pauseMs: number): Promise<Buffer> {
  const heard: Buffer[] = [];
  agent.socket.on('data', (piece: Buffer) => heard.push(piece));
  agent.socket.write(HELLO);
  await Promise.race([once(agent.socket, 'data'), agent.ended]);
  agent.socket.write(bytes);
  await new Promise((resolve) => setTimeout(resolve, pauseMs));
  agent.socket.end();
  return Buffer.concat(heard);
}

/** How many frames there are of each type. */
function count(heard: Buffer, counts: Map<number, number>): void {
  for (let at = 0; at + 8 <= heard.length; at += 8 + heard.readUInt16LE(at)) {
    const type = heard.readUInt8(at + 2);
    counts.set(type, (counts.get(type) ?? 0) + 1);
  }
}

describe.skipIf(!hasCompiler)('an agent that is sent anything', () => {
  let program = '';
  let folder = '';
  beforeAll(() => {
    program = buildNativeAgent(join(import.meta.dirname, 'testing/agent-sandbox.c'));
    folder = mkdtempSync(join(tmpdir(), 'ringfence-fuzz-'));
    for (const name of ['bin', 'etc', 'proc', 'dev']) mkdirSync(join(folder, name));
    execFileSync('gcc', [
      '-static',
      '-O1',
      '-w',
      '-o',
      join(folder, 'bin/prey'),
      join(import.meta.dirname, 'testing/agent-prey.c'),
    ]);
    writeFileSync(join(folder, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nbroken\nnobody:x:65534:65534::/:\n');
    writeFileSync(join(folder, 'etc/group'), 'root:x:0:\nmany:x:5:root,nobody\n');
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
    rmSync(dirname(program), { recursive: true });
  });

  test(
    'goes on, or ends the connection and cleans up',
    async (context) => {
      const counts = new Map<number, number>();
      await fc.assert(
        fc.asyncProperty(sequence, fc.constantFrom(0, 20, 150), async (bytes, pauseMs) => {
          rmSync(join(folder, 'files'), { recursive: true, force: true });
          mkdirSync(join(folder, 'files'));
          writeFileSync(join(folder, 'files/a'), 'content');
          execFileSync('ln', ['-s', 'a', join(folder, 'files/link')]);
          const agent = new NativeAgent(program, { sandbox: folder });
          count(await talk(agent, bytes, pauseMs), counts);
          const code = await within(agent.ended, LONGEST_END_MS, "the agent's end");
          if (code === NOT_CONFINED) context.skip('this machine confines nobody');
          expect([code, agent.complaints]).toEqual([0, '']);
        }),
        { numRuns: RUNS, interruptAfterTimeLimit: RUNS * 200, endOnFailure: true },
      );
      // It has come far enough to do something: DATA, STARTED, EXITED, FAILED.
      for (const type of [16, 32, 33, 34]) expect(counts.get(type) ?? 0, `frames of type ${type}`).toBeGreaterThan(0);
    },
    RUNS * 2000,
  );
});
