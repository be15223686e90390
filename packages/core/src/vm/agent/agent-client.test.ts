import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AgentClient } from './agent-client.ts';
import type { AgentProcess } from './guest-agent.ts';
import { HOST_WINDOW_BYTES, MAXIMUM_OUTBOX_BYTES } from './limits.ts';
import {
  ENTRY_RECORD_BYTES,
  EXIT,
  FRAME,
  MAXIMUM_PAYLOAD_BYTES,
  RECORD,
  REQUEST_GOES_ON,
  STAGE,
  STREAM,
} from './protocol.ts';
import { frame, ScriptedAgent, StandingWorld, words } from './testing/scripted-agent.ts';
import { WireWriter } from './wire.ts';

let guest: ScriptedAgent;
let world: StandingWorld;
let client: AgentClient;
beforeEach(() => {
  guest = new ScriptedAgent();
  world = new StandingWorld();
  client = new AgentClient(guest, world);
});
afterEach(() => client.close());

/** An agent that has greeted. */
async function greeted(as: Parameters<ScriptedAgent['greet']>[0] = {}): Promise<void> {
  guest.greet(as);
  await client.ready();
  guest.take(FRAME.HELLO);
}

/** A program that runs, and its channel. */
async function started(): Promise<[AgentProcess, number]> {
  const running = client.exec({ argv: ['cat'] });
  await turn();
  const { channel } = guest.take(FRAME.EXEC);
  guest.say(FRAME.STARTED, 0, channel, words(77));
  return [await running, channel];
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('the connection', () => {
  test('begins when the guest opens its end: both sides greet', async () => {
    expect(guest.received).toEqual([]);
    const ready = client.ready();
    guest.start();
    const hello = guest.take(FRAME.HELLO);
    expect(new TextDecoder().decode(hello.payload.subarray(0, 8))).toBe('RFagent\n');
    expect(client.isReady).toBe(false);
    guest.greet({ wallNs: 5n });
    expect(await ready).toEqual({
      protocolVersion: 1,
      agent: 'test-agent',
      init: 'other',
      wallNs: 5n,
      maximumChannels: 64,
    });
    expect(client.isReady).toBe(true);
  });

  test('to an agent that is there already begins anew, and nothing of before counts', async () => {
    client.close();
    guest = new ScriptedAgent();
    guest.guestOpen = true;
    client = new AgentClient(guest, world);
    expect(guest.hostOpen).toBe(false);
    guest.sayBytes(utf8('what somebody else was told'));
    guest.end();
    expect(guest.hostOpen).toBe(true);
    guest.greet();
    await client.ready();
  });

  test('that somebody else has closed is opened again, when the agent has noticed or seems to have', async () => {
    for (const notices of [true, false]) {
      client.close();
      guest = new ScriptedAgent();
      guest.guestOpen = true;
      guest.hostOpen = false;
      client = new AgentClient(guest, world);
      expect(guest.hostOpen).toBe(false);
      if (notices) guest.end();
      else world.pass(300);
      expect(guest.hostOpen).toBe(true);
      guest.greet();
      await client.ready();
    }
  });

  test('begins anew with an agent that does not answer', async () => {
    guest.start();
    world.pass(20_000);
    expect(guest.hostOpen).toBe(false);
    guest.end();
    guest.greet();
    await client.ready();
  });

  test('is waited for as long as one wants', async () => {
    const impatient = client.ready({ timeoutMs: 3000 });
    world.pass(2999);
    world.pass(1);
    await expect(impatient).rejects.toMatchObject({
      code: 'no-agent',
      message: "The guest's agent did not answer within 3 s.",
    });
    const running = client.exec({ argv: ['true'] });
    world.pass(30_000);
    await expect(running).rejects.toMatchObject({ code: 'no-agent' });
  });

  test('with an agent of another protocol is refused with a sentence, until there is another agent', async () => {
    const ready = client.ready();
    guest.greet({ version: 9, name: 'agent \u001b[31m9' });
    await expect(ready).rejects.toMatchObject({
      code: 'protocol',
      message:
        "The guest's agent (agent \ufffd[31m9) speaks no version of the protocol that this Ringfence does (1 to 1).",
    });
    await expect(client.ready()).rejects.toMatchObject({ code: 'protocol' });
    guest.end();
    guest.greet();
    await client.ready();
  });

  test('ends with the agent, and everything under way with it; the next agent is greeted', async () => {
    await greeted();
    const [running] = await started();
    const asked = client.ping();
    await turn();
    guest.end();
    await expect(running.exited).rejects.toMatchObject({ code: 'lost', message: "The guest's agent has ended." });
    await expect(asked).rejects.toMatchObject({ code: 'lost' });
    await expect(running.stdout[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'lost' });
    await running.stdin.write(utf8('dropped'));
    expect(client.isReady).toBe(false);
    const next = client.ping();
    guest.received.length = 0;
    guest.greet();
    await turn();
    guest.take(FRAME.HELLO);
    const { channel } = guest.take(FRAME.PING);
    guest.say(FRAME.PING, 0, channel);
    await next;
  });

  test('ends with the client, which leaves no alarm behind', async () => {
    await greeted();
    const [running] = await started();
    client.close();
    await expect(running.exited).rejects.toMatchObject({ code: 'closed' });
    await expect(client.ping()).rejects.toMatchObject({ code: 'closed' });
    expect([guest.hostOpen, world.alarms]).toEqual([false, 0]);
  });

  test.each<[string, (channel: number) => Uint8Array]>([
    ['a second greeting', () => frame(FRAME.HELLO, 0, 0, new Uint8Array(40))],
    ['a type that no agent sends', (channel) => frame(FRAME.EXEC, 0, channel)],
    ['a frame that is too long', () => Uint8Array.of(0xff, 0xff, 1, 0, 0, 0, 0, 0)],
    ['a channel that was never opened', () => frame(FRAME.DATA, 1, 1000)],
    ['channel 0', () => frame(FRAME.PING, 0, 0)],
    ['data for a stream into the guest', (channel) => frame(FRAME.DATA, STREAM.STDIN, channel)],
    [
      'more data than there is room for',
      (channel) => {
        const piece = frame(FRAME.DATA, STREAM.STDOUT, channel, new Uint8Array(MAXIMUM_PAYLOAD_BYTES));
        const all = new Uint8Array(piece.length * (Math.floor(HOST_WINDOW_BYTES / MAXIMUM_PAYLOAD_BYTES) + 1));
        for (let at = 0; at < all.length; at += piece.length) all.set(piece, at);
        return all;
      },
    ],
    ['a window wider than there is', (channel) => frame(FRAME.WINDOW, STREAM.STDIN, channel, words(1))],
    ['that it has started, again', (channel) => frame(FRAME.STARTED, 0, channel, words(1))],
    ['an end that no process has', (channel) => frame(FRAME.EXITED, 0, channel, words(EXIT.CODE, 256))],
    ['an error that is none', (channel) => frame(FRAME.FAILED, 0, channel, words(0))],
    ['an answer to something else', (channel) => frame(FRAME.DONE, 0, channel)],
    ['half an end', (channel) => frame(FRAME.EXITED, 0, channel, words(0))],
  ])('ends with a guest that sends %s, and begins anew', async (_, bytes) => {
    await greeted();
    const [running, channel] = await started();
    guest.sayBytes(bytes(channel));
    await expect(running.exited).rejects.toMatchObject({ code: 'protocol' });
    expect([client.isReady, guest.hostOpen]).toEqual([false, false]);
    guest.sayBytes(frame(FRAME.PING, 0, 1));
    guest.end();
    guest.greet();
    await client.ready();
  });

  test('ends when the guest takes nothing any more, before that costs much memory', async () => {
    await greeted();
    guest.room = 0;
    const argv = ['x'.repeat(100_000), ...Array.from({ length: 9 }, () => 'y'.repeat(100_000))];
    const all = Array.from({ length: MAXIMUM_OUTBOX_BYTES / 1_000_000 + 1 }, () => client.exec({ argv }));
    const results = await Promise.allSettled(all);
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
    expect(client.isReady).toBe(false);
  });
});

describe('a process', () => {
  beforeEach(greeted);

  test('is asked for in as many frames as its words need, which nothing else comes between', async () => {
    void client.exec({ argv: ['a', 'b'.repeat(40_000)] }).catch(() => undefined);
    void client.exec({ argv: ['c'] }).catch(() => undefined);
    await turn();
    const [first, second, third] = [guest.take(FRAME.EXEC), guest.take(FRAME.EXEC), guest.take(FRAME.EXEC)];
    expect([first.stream, second.stream, third.stream]).toEqual([REQUEST_GOES_ON, 0, 0]);
    expect([first.channel, third.channel]).toEqual([second.channel, second.channel + 1]);
    expect(first.payload.length).toBe(MAXIMUM_PAYLOAD_BYTES);
  });

  test('has its streams, and an end that comes before or after theirs', async () => {
    const [running, channel] = await started();
    expect(running.pid).toBe(77);
    guest.say(FRAME.DATA, STREAM.STDOUT, channel, utf8('out'));
    guest.say(FRAME.EXITED, 0, channel, words(EXIT.SIGNAL, 9));
    expect(await running.exited).toEqual({ kind: 'signaled', signal: 9 });
    guest.say(FRAME.DATA, STREAM.STDERR, channel, utf8('err'));
    guest.say(FRAME.END, STREAM.STDOUT, channel);
    guest.say(FRAME.END, STREAM.STDERR, channel);
    expect(await Promise.all([textOf(running.stdout), textOf(running.stderr)])).toEqual(['out', 'err']);
    // What the guest says of it afterwards it said before it knew.
    guest.say(FRAME.END, STREAM.STDIN, channel);
    expect(client.isReady).toBe(true);
  });

  test('that cannot be started says why', async () => {
    const running = client.exec({ argv: ['x'] });
    await turn();
    const { channel } = guest.take(FRAME.EXEC);
    const about = utf8('x\u001b]0;title\u0007\u202e');
    const failed = new WireWriter().u16(13).u8(STAGE.PROGRAM).u8(0).bytes(about).take();
    guest.say(FRAME.FAILED, 0, channel, failed);
    await expect(running).rejects.toMatchObject({
      code: 'refused',
      errno: 'EACCES',
      message: 'The guest could not run "x\ufffd]0;title\ufffd\ufffd": permission is denied (EACCES).',
    });
  });

  test('sends as much as somebody reads', async () => {
    const [running, channel] = await started();
    const piece = new Uint8Array(MAXIMUM_PAYLOAD_BYTES);
    const iterator = running.stdout[Symbol.asyncIterator]();
    for (let count = 0; count < 8; count++) guest.say(FRAME.DATA, STREAM.STDOUT, channel, piece);
    expect(guest.received).toEqual([]);
    for (let count = 0; count < 5; count++) await iterator.next();
    const window = guest.take(FRAME.WINDOW);
    expect([window.stream, window.channel, window.payload]).toEqual([STREAM.STDOUT, channel, words(5 * piece.length)]);
    running.stdout.discard();
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    for (let count = 0; count < 100; count++) guest.say(FRAME.DATA, STREAM.STDOUT, channel, piece);
    expect(client.isReady).toBe(true);
  });

  test('gets as much as it takes, in order, and the end last', async () => {
    const [running, channel] = await started();
    let written = 0;
    for (let count = 0; count < 10; count++)
      void running.stdin.write(new Uint8Array(10_000).fill(count)).then(() => written++);
    running.stdin.end();
    await turn();
    expect(written).toBe(6);
    guest.say(FRAME.WINDOW, STREAM.STDIN, channel, words(50_000));
    await turn();
    expect(written).toBe(10);
    const sent = guest.received.filter(({ type }) => type === FRAME.DATA).flatMap(({ payload }) => [...payload]);
    expect(sent).toEqual(Array.from({ length: 100_000 }, (_, at) => Math.floor(at / 10_000)));
    expect(guest.received.at(-1)).toMatchObject({ type: FRAME.END, stream: STREAM.STDIN, channel });
    guest.say(FRAME.END, STREAM.STDIN, channel);
    expect(running.stdin.isClosed).toBe(true);
  });

  test('gets signals, sizes of its terminal, and that nobody wants it any more', async () => {
    const asked = client.exec({ argv: ['sh'], terminal: { columns: 80, rows: 24 } });
    await turn();
    const { channel } = guest.take(FRAME.EXEC);
    guest.say(FRAME.STARTED, 0, channel, words(1));
    const running = await asked;
    running.signal(15);
    expect(guest.take(FRAME.SIGNAL).payload).toEqual(words(15));
    running.resize(100, 50);
    expect(guest.take(FRAME.RESIZE).payload).toEqual(Uint8Array.of(100, 0, 50, 0));
    expect(() => running.signal(0)).toThrow('There is no signal 0.');
    running.close();
    guest.take(FRAME.CLOSE);
    running.signal(15);
    guest.say(FRAME.EXITED, 0, channel, words(0, 0));
    guest.say(FRAME.DATA, STREAM.STDOUT, channel, utf8('late'));
    expect([guest.received, client.isReady]).toEqual([[], true]);
  });

  test('that never starts is given up', async () => {
    const running = client.exec({ argv: ['x'], timeoutMs: 100 });
    await turn();
    guest.take(FRAME.EXEC);
    world.pass(100);
    await expect(running).rejects.toMatchObject({ code: 'no-agent' });
    guest.take(FRAME.CLOSE);
  });

  test('goes on for as long as its agent answers, and is given up when it says nothing for two minutes in which its machine runs', async () => {
    const [{ exited }] = await started();
    let failure: unknown;
    exited.catch((error: unknown) => (failure = error));
    const beat = async (): Promise<void> => {
      world.pass(10_000);
      await turn();
    };
    for (let beats = 0; beats < 40; beats++) {
      await beat();
      guest.say(FRAME.PING, 0, guest.take(FRAME.PING).channel);
    }
    world.stands = true;
    for (let beats = 0; beats < 40; beats++) await beat();
    expect(guest.received).toEqual([]);
    world.stands = false;
    for (let beats = 0; beats < 12; beats++) await beat();
    expect([failure, client.isReady]).toEqual([undefined, true]);
    await beat();
    expect(failure).toMatchObject({
      code: 'lost',
      message: "The guest's agent has said nothing for 120 s; what it had under way is given up.",
    });
    expect(guest.hostOpen).toBe(false);
    guest.received.length = 0;
    guest.end();
    await greeted();
  });

  test('that does not exist needs no sign of life of its agent', async () => {
    world.pass(10_000);
    await turn();
    expect(guest.received).toEqual([]);
  });

  test('that writes many tiny pieces takes no more memory for it', async () => {
    const [running, channel] = await started();
    for (let count = 0; count < 50_000; count++)
      guest.say(FRAME.DATA, STREAM.STDOUT, channel, Uint8Array.of(count & 0xff));
    guest.say(FRAME.END, STREAM.STDOUT, channel);
    let [pieces, bytes] = [0, 0];
    for await (const piece of running.stdout) {
      expect([...piece]).toEqual(Array.from({ length: piece.length }, (_, at) => (bytes + at) & 0xff));
      bytes += piece.length;
      pieces++;
    }
    expect([bytes, pieces]).toEqual([50_000, 7]);
  });
});

describe('a connection that is gone on with in a copy of the guest', () => {
  /** The copy's guest, and the client that has it. */
  function copy(): [ScriptedAgent, AgentClient] {
    const { connection } = client;
    expect(connection).toBeDefined();
    const copied = new ScriptedAgent();
    copied.guestOpen = true;
    return [copied, new AgentClient(copied, world, connection)];
  }

  test('needs no greeting, tells the time, and its channels have numbers that were not used', async () => {
    await greeted();
    const asked = client.ping();
    await turn();
    const { channel } = guest.take(FRAME.PING);
    guest.say(FRAME.PING, 0, channel);
    await asked;
    const [copied, other] = copy();
    expect(other.isReady).toBe(true);
    expect(await other.ready()).toEqual(await client.ready());
    const identified = other.identify({ hostname: 'other', seed: new Uint8Array(8) });
    await turn();
    const running = other.exec({ argv: ['cat'] });
    await turn();
    expect(copied.received.map(({ type }) => type)).toEqual([FRAME.SET_TIME, FRAME.IDENTITY, FRAME.EXEC]);
    expect(copied.received.every((one) => one.channel > channel)).toBe(true);
    const [, identity, exec] = copied.received.splice(0).map((one) => one.channel);
    copied.say(FRAME.DONE, 0, identity ?? 0);
    // What the guest still says about what it was asked as the other one belongs to nothing.
    copied.say(FRAME.PING, 0, channel);
    copied.say(FRAME.STARTED, 0, exec ?? 0, words(77));
    await identified;
    const program = await running;
    await program.stdin.write(utf8('typed'));
    expect(copied.take(FRAME.DATA).channel).toBe(exec);
    other.close();
    // The original knows nothing of it.
    expect(guest.received).toEqual([]);
  });

  test('that breaks begins anew like any other', async () => {
    await greeted();
    const [copied, other] = copy();
    copied.greet();
    await turn();
    expect(other.isReady).toBe(false);
    expect(copied.hostOpen).toBe(false);
    copied.end();
    copied.greet();
    await other.ready();
    other.close();
  });

  test('is none while something is under way, half a frame has come, or nobody greeted', async () => {
    expect(client.connection).toBeUndefined();
    await greeted();
    expect(client.connection).toBeDefined();
    const half = frame(FRAME.PING, 0, 0).subarray(0, 5);
    guest.sayBytes(half);
    expect(client.connection).toBeUndefined();
    client.close();
    guest = new ScriptedAgent();
    client = new AgentClient(guest, world);
    await greeted();
    const [, channel] = await started();
    expect(client.connection).toBeUndefined();
    for (const stream of [STREAM.STDOUT, STREAM.STDERR]) guest.say(FRAME.END, stream, channel);
    guest.say(FRAME.EXITED, 0, channel, words(EXIT.CODE, 0));
    await turn();
    expect(client.connection).toBeDefined();
    guest.received.length = 0;
    guest.room = 4;
    void client.ping().catch(() => undefined);
    await turn();
    expect(client.connection).toBeUndefined();
    client.close();
    expect(client.connection).toBeUndefined();
  });
});

describe('an agent that is known and has heard nobody', () => {
  beforeEach(() => {
    client.close();
    guest = new ScriptedAgent();
    guest.guestOpen = true;
    client = new AgentClient(guest, world, 'nobody');
  });

  test('gets the time and what is asked of it together with the greeting, in that order', async () => {
    expect(client.isReady).toBe(false);
    const identified = client.identify({ hostname: 'other', seed: new Uint8Array(8) });
    const running = client.exec({ argv: ['cat'] });
    const typed = running.then((program) => program.stdin.write(utf8('typed')));
    expect(guest.received.map(({ type }) => type)).toEqual([FRAME.HELLO, FRAME.SET_TIME, FRAME.IDENTITY, FRAME.EXEC]);
    const [, time, identity, exec] = guest.received.splice(0).map(({ channel }) => channel);
    guest.greet();
    guest.say(FRAME.DONE, 0, time ?? 0, new WireWriter().u64(4n).u32(1).take());
    guest.say(FRAME.DONE, 0, identity ?? 0);
    guest.say(FRAME.STARTED, 0, exec ?? 0, words(77));
    await Promise.all([client.ready(), identified, typed]);
    expect((await running).pid).toBe(77);
    // The window of its input is known by now, and the time is not told again.
    expect(guest.received.map(({ type }) => type)).toEqual([FRAME.DATA]);
  });

  test('is told the time again when it begins to run long after it was told', async () => {
    world.pass(2000);
    guest.greet();
    await turn();
    guest.take(FRAME.HELLO);
    const told = [FRAME.SET_TIME, FRAME.SET_TIME].map((type) => guest.take(type).payload);
    expect(told.map(({ buffer }) => new DataView(buffer).getBigInt64(0, true))).toEqual([0n, 2_000_000_000n]);
  });

  test('is not asked again what it was asked when it refuses the greeting', async () => {
    const running = client.exec({ argv: ['cat'] });
    running.catch(() => undefined);
    guest.greet({ version: 0 });
    await expect(running).rejects.toThrow(/no version of the protocol/);
    await expect(client.ready()).rejects.toThrow(/no version of the protocol/);
  });
});

describe('the clock', () => {
  test('of the guest is set when it is wrong at the beginning, and when that of the host jumps', async () => {
    world.jumpNs = 5_000_000_000n;
    guest.greet({ wallNs: 1n });
    guest.take(FRAME.HELLO);
    await turn();
    const first = guest.take(FRAME.SET_TIME);
    expect(new DataView(first.payload.buffer).getBigInt64(0, true)).toBe(5_000_000_000n);
    guest.say(FRAME.DONE, 0, first.channel, new WireWriter().u64(4n).u32(1).take());
    for (let count = 0; count < 5; count++) world.pass(10_000);
    expect(guest.received).toEqual([]);
    world.jumpNs = 3_600_000_000_000n;
    world.pass(10_000);
    await turn();
    guest.take(FRAME.SET_TIME);
  });

  test('answers how far it was off', async () => {
    await greeted();
    const asked = client.setTime();
    await turn();
    const { channel } = guest.take(FRAME.SET_TIME);
    guest.say(FRAME.DONE, 0, channel, new WireWriter().u64(-7n).u32(1).take());
    expect(await asked).toEqual({ behindNs: -7n, wasSet: true });
  });
});

describe('a guest that becomes another one', () => {
  test('is told its name and gets its seed, in one message', async () => {
    await greeted({ name: 'ringfence-agent 2' });
    const asked = client.identify({ hostname: 'web', seed: Uint8Array.of(7, 8, 9) });
    await turn();
    const { channel, payload } = guest.take(FRAME.IDENTITY);
    expect([...payload]).toEqual([3, 0, ...Buffer.from('web'), 7, 8, 9]);
    guest.say(FRAME.DONE, 0, channel);
    await asked;
  });

  test('has an agent that knows how, or says so', async () => {
    await greeted({ name: 'ringfence-agent 1' });
    await expect(client.identify({ seed: new Uint8Array(32) })).rejects.toMatchObject({ code: 'unsupported' });
    expect(guest.received).toEqual([]);
  });

  test.each(['', 'x'.repeat(65), 'a\0b'])('cannot be called %j', async (hostname) => {
    await greeted({ name: 'ringfence-agent 2' });
    await expect(client.identify({ hostname, seed: new Uint8Array(32) })).rejects.toMatchObject({
      code: 'bad-argument',
    });
  });
});

describe('a network card that is to have another address', () => {
  const [from, to] = [Uint8Array.of(0x52, 0x54, 0, 1, 2, 3), Uint8Array.of(0x52, 9, 8, 7, 6, 5)];

  test('is asked for by the one that it has', async () => {
    await greeted({ name: 'ringfence-agent 4' });
    const asked = client.changeCard(from, to);
    await turn();
    const { channel, payload } = guest.take(FRAME.CARD);
    expect([...payload]).toEqual([...from, ...to]);
    guest.say(FRAME.DONE, 0, channel);
    await asked;
  });

  test('keeps its own where the agent does not know how, or what is asked for is no address', async () => {
    await greeted({ name: 'ringfence-agent 3' });
    await expect(client.changeCard(from, to)).rejects.toMatchObject({ code: 'unsupported' });
    expect(guest.received).toEqual([]);
  });

  test('has six bytes', async () => {
    await greeted({ name: 'ringfence-agent 4' });
    await expect(client.changeCard(from, to.subarray(1))).rejects.toMatchObject({ code: 'bad-argument' });
    expect(guest.received).toEqual([]);
  });
});

describe('a hostile guest', () => {
  const file = new WireWriter()
    .u8(RECORD.FILE)
    .bytes(new Uint8Array(ENTRY_RECORD_BYTES - 1))
    .take();
  const folder = new WireWriter()
    .u8(RECORD.FOLDER)
    .bytes(new Uint8Array(ENTRY_RECORD_BYTES - 1))
    .take();
  const second = new WireWriter().u8(RECORD.FILE).u8(0).u16(1).u16(1);
  second.bytes(new Uint8Array(ENTRY_RECORD_BYTES - second.length)).bytes(utf8('a'));

  test.each([
    ['what is in a folder for a file', 'readFile', [folder, second.take()]],
    ['data for what a file is', 'stat', [file, new WireWriter().u32(RECORD.DATA).u32(1).u64(0n).u8(1).take()]],
    ['many entries for one', 'stat', [folder, second.take()]],
  ] as const)('that sends %s is not listened to', async (_what, call, records) => {
    await greeted();
    const asked = client[call]('/a');
    await turn();
    const { channel } = guest.take(FRAME.PACK);
    guest.say(FRAME.STARTED, 0, channel, words(0));
    for (const each of records) guest.say(FRAME.DATA, STREAM.STDOUT, channel, each);
    await expect(asked).rejects.toMatchObject({ code: 'protocol' });
    guest.take(FRAME.CLOSE);
  });

  test('that sends a file byte by byte, and less than it said, gives the file that it said', async () => {
    await greeted();
    const asked = client.readFile('/a', { maximumBytes: 10 });
    await turn();
    const { channel } = guest.take(FRAME.PACK);
    guest.say(FRAME.STARTED, 0, channel, words(0));
    const head = file.slice();
    head[32] = 6;
    guest.say(FRAME.DATA, STREAM.STDOUT, channel, head);
    for (const at of [0, 1, 4])
      guest.say(
        FRAME.DATA,
        STREAM.STDOUT,
        channel,
        new WireWriter()
          .u32(RECORD.DATA)
          .u32(1)
          .u64(BigInt(at))
          .u8(at + 1)
          .take(),
      );
    guest.say(FRAME.DATA, STREAM.STDOUT, channel, new WireWriter().u32(RECORD.END).take());
    for (const stream of [STREAM.STDOUT, STREAM.STDERR]) guest.say(FRAME.END, stream, channel);
    guest.say(FRAME.EXITED, 0, channel, words(0, 0));
    expect(await asked).toEqual(Uint8Array.of(1, 2, 0, 0, 5, 0));
  });

  const someFrame = fc
    .tuple(
      fc.constantFrom(...Object.values(FRAME), 0, 99),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 4 }),
      fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(words(1)), fc.constant(words(0, 0))),
    )
    .map(([type, stream, channel, payload]) => frame(type, stream, channel, payload));

  test('that sends random frames and random bytes harms nothing but its own sessions', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 9, arbitrary: someFrame }, fc.uint8Array({ maxLength: 100 })), { maxLength: 30 }),
        fc.boolean(),
        async (pieces, isGreeted) => {
          const hostile = new ScriptedAgent();
          const victim = new AgentClient(hostile, world);
          if (isGreeted) hostile.greet();
          else hostile.start();
          const outcomes = [
            victim.ping().catch((error: unknown) => error),
            victim
              .exec({ argv: ['a'] })
              .then((running) => running.exited)
              .catch((error: unknown) => error),
            textOf(victim.copyOut('/a')).catch((error: unknown) => error),
            victim.readFile('/a').catch((error: unknown) => error),
          ];
          await turn();
          for (const piece of pieces) {
            hostile.sayBytes(piece);
            if (!hostile.hostOpen) {
              hostile.end();
              if (isGreeted) hostile.greet();
              else hostile.start();
            }
          }
          victim.close();
          for (const outcome of await Promise.all(outcomes))
            if (outcome instanceof Error) expect(outcome.name).toBe('AgentError');
        },
      ),
      { numRuns: 300 },
    );
  });
});

async function textOf(steps: AsyncIterable<unknown>): Promise<string> {
  let text = '';
  for await (const step of steps) text += step instanceof Uint8Array ? new TextDecoder().decode(step) : 'step';
  return text;
}
