import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { feed, GUEST_PORTS, GuestSession, type GuestSink } from './guest-session.ts';
import { FakePort } from '../testing/fake-port.ts';

class FakeSink implements GuestSink {
  text = '';
  isFull = false;
  waiting: (() => void)[] = [];

  write(bytes: Uint8Array): void {
    this.text += Buffer.from(bytes).toString();
  }

  whenRoom(callback: () => void): void {
    this.waiting.push(callback);
  }
}

function session() {
  const [terminal, stdin, stdout, stderr, control] = GUEST_PORTS.map(() => new FakePort());
  if (!terminal || !stdin || !stdout || !stderr || !control) throw new Error('the protocol has five ports');
  const sinks = { terminal: new FakeSink(), stdout: new FakeSink(), stderr: new FakeSink() };
  const events: string[] = [];
  const made = new GuestSession([terminal, stdin, stdout, stderr, control], sinks, {
    ready: () => events.push('ready'),
    exit: (code) => events.push(`exit ${code}`),
    unshared: (index) => events.push(`unshared ${index}`),
  });
  return { made, terminal, stdin, stdout, stderr, control, sinks, events };
}

test('control is announced last, because the guest takes it for the sign that all are there', () => {
  expect(GUEST_PORTS.map(({ name }) => name)).toEqual([
    'console',
    'ringfence.stdin',
    'ringfence.stdout',
    'ringfence.stderr',
    'ringfence.control',
  ]);
});

test('a share that the guest could not mount is said once, and nothing after it counts', () => {
  const { control, events } = session();
  control.say('ready\nunshared 2\nunshared 0\nexit 0\n');
  expect(events).toEqual(['ready', 'unshared 2']);
});

test('what the guest writes goes to where it belongs', () => {
  const { terminal, stdout, stderr, sinks } = session();
  stdout.say('out');
  stderr.say('err');
  terminal.say('tty');
  expect([sinks.stdout.text, sinks.stderr.text, sinks.terminal.text]).toEqual(['out', 'err', 'tty']);
});

test('the guest says that it is ready and how the command ended, in pieces or at once', () => {
  const { made, control, events } = session();
  for (const letter of 'ready\nex') control.say(letter);
  expect(made.isReady).toBe(true);
  control.say('it 42\n');
  expect(events).toEqual(['ready', 'exit 42']);
});

test.each([
  'exit 256\n',
  'exit -1\n',
  'exit\n',
  'exit 1 2\n',
  'exit 0x1\n',
  `exit ${'0'.repeat(500)}1\n`,
  'leave 1\n',
  '\0\n',
])('%j is passed over', (line) => {
  const { control, events } = session();
  control.say(line);
  expect(events).toEqual([]);
  control.say('exit 3\n');
  expect(events).toEqual(['exit 3']);
});

test('only the first exit code counts', () => {
  const { control, events } = session();
  control.say('exit 1\nexit 2\nready\nready\n');
  expect(events).toEqual(['exit 1', 'ready']);
});

test('a port whose sink is full is paused until there is room', () => {
  const { stdout, sinks } = session();
  sinks.stdout.isFull = true;
  stdout.say('much');
  expect(stdout.isPaused).toBe(true);
  for (const callback of sinks.stdout.waiting) callback();
  expect(stdout.isPaused).toBe(false);
});

test('when the command has ended the rest is taken, full or not', () => {
  const { stdout, control, sinks } = session();
  sinks.stdout.isFull = true;
  stdout.say('much');
  control.say('exit 0\n');
  expect(stdout.isPaused).toBe(false);
});

test('input is fed no faster than the port takes it, and then closed', async () => {
  const port = new FakePort();
  port.room = 4;
  const input = (async function* () {
    yield Buffer.from('abc');
    yield Buffer.from('defgh');
    await Promise.resolve();
  })();
  const fed = feed(port, input);
  await turn();
  expect([port.received, port.isClosed]).toEqual(['abcd', false]);
  port.drain(100);
  await fed;
  expect([port.received, port.isClosed]).toEqual(['abcdefgh', true]);
});

test('input that breaks is closed too', async () => {
  const port = new FakePort();
  const input = (async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('abc');
    await Promise.reject(new Error('broken'));
  })();
  await expect(feed(port, input)).rejects.toThrow('broken');
  expect([port.received, port.isClosed]).toEqual(['abc', true]);
});
