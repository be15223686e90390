import { expect, test } from 'vitest';
import type { ConsoleViewer } from '../guest/calls.ts';
import { MAXIMUM_VIEWERS, SerialConsole, VIEWER_BACKLOG_BYTES } from './serial-console.ts';

/** A serial line that takes `room` bytes and then none until there is room again. */
function line(room: number): { readonly received: string; takeAll(): void; receive(bytes: Uint8Array): number } {
  let received = '';
  let left = room;
  return {
    get received() {
      return received;
    },
    takeAll: () => void (left = room),
    receive(bytes) {
      const taken = bytes.subarray(0, left);
      left -= taken.length;
      received += Buffer.from(taken).toString();
      return taken.length;
    },
  };
}

async function all({ output }: ConsoleViewer): Promise<string> {
  let text = '';
  for await (const bytes of output) text += Buffer.from(bytes).toString();
  return text;
}

const serial = (uart: ReturnType<typeof line>): never => uart as never;

test('what the guest writes goes to everybody who looks, and what anybody types to the guest', async () => {
  const seen: string[] = [];
  const console = new SerialConsole((bytes) => void seen.push(Buffer.from(bytes).toString()));
  const uart = line(100);
  console.connect(serial(uart));
  console.output.write(Buffer.from('before '));
  console.output.flush();
  const [one, other] = [console.open(), console.open()];
  console.output.write(Buffer.from('after'));
  await Promise.all([one.write(Buffer.from('a')), other.write(Buffer.from('b'))]);
  console.close();
  expect(await Promise.all([all(one), all(other)])).toEqual(['after', 'after']);
  expect([seen.join(''), console.tail, uart.received]).toEqual(['before after', 'before after', 'ab']);
});

test('what is typed waits for room, and keeps its order', async () => {
  const console = new SerialConsole();
  const uart = line(4);
  console.connect(serial(uart));
  const [one, other] = [console.open(), console.open()];
  const typed = Promise.all([one.write(Buffer.from('123456')), other.write(Buffer.from('78'))]);
  await expect.poll(() => uart.received).toBe('1234');
  uart.takeAll();
  console.roomAgain();
  await typed;
  expect(uart.received).toBe('12345678');
});

test('who does not look misses something and holds nobody up', async () => {
  const console = new SerialConsole();
  const slow = console.open();
  const chunk = Buffer.alloc(4096, 'x');
  for (let bytes = 0; bytes <= 2 * VIEWER_BACKLOG_BYTES; bytes += chunk.length) {
    console.output.write(chunk);
    console.output.flush();
  }
  console.close();
  expect((await all(slow)).length).toBe(VIEWER_BACKLOG_BYTES);
});

test('only so many look at once, and nobody at one that has ended', () => {
  const console = new SerialConsole();
  const viewers = Array.from({ length: MAXIMUM_VIEWERS }, () => console.open());
  expect(() => console.open()).toThrow('16 look at this console already');
  viewers[0]?.close();
  console.open();
  console.close();
  expect(() => console.open()).toThrow('the virtual machine has ended');
});
