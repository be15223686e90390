import { expect, test } from 'vitest';
import { SERIAL_TAIL_BYTES, SerialTail } from './serial-tail.ts';

function tailOf(...texts: readonly string[]): SerialTail {
  const tail = new SerialTail();
  for (const text of texts) tail.write(Buffer.from(text));
  return tail;
}

test('a panic is shown from the line that names it on', () => {
  const tail = tailOf('booting\r\n[1.0] fine\r\n', '[2.0] Kernel panic - not syncing: no init\r\n[2.1] CPU: 0\r\n');
  expect(tail.panic).toBe('[2.0] Kernel panic - not syncing: no init\n[2.1] CPU: 0');
});

test('an oops before a panic belongs to it', () => {
  const tail = tailOf('x\nUnable to handle kernel paging request\nmore\nKernel panic - not syncing: Fatal\n');
  expect(tail.panic).toBe('Unable to handle kernel paging request\nmore\nKernel panic - not syncing: Fatal');
});

test('without a panic there is none', () => expect(tailOf('Oops\nlogin:').panic).toBeUndefined());

test('only the end of a long output is kept', () => {
  const tail = tailOf(...Array.from({ length: 3000 }, (_, line) => `line ${line} ${'.'.repeat(40)}\n`));
  expect(tail.text.length).toBe(SERIAL_TAIL_BYTES);
  expect(tail.text.endsWith(`line 2999 ${'.'.repeat(40)}\n`)).toBe(true);
});

test('a guest cannot steer the terminal through its panic', () => {
  expect(tailOf('Kernel panic: \x1b]0;owned\x07 \u009b2J\n').panic).toBe('Kernel panic: ?]0;owned? ?2J');
});
