import { expect, test } from 'vitest';
import { readOptions } from './script-options.ts';

const OPTIONS = {
  memory: { default: '512M', word: 'SIZE', says: 'of the machine' },
  rounds: { default: 5, says: 'rounds of each' },
  qemu: { default: true, says: 'without QEMU' },
  verify: { default: false, says: 'look at each octet' },
  only: { choices: ['ringfence', 'qemu'], says: 'one of the two' },
  loads: { choices: ['read', 'write'], several: true, says: 'these alone' },
} as const;

const read = (...words: string[]): unknown => readOptions('npm run bench:it --', 'What it takes.', OPTIONS, words);

test('what is not said is what it is by default', () => {
  expect(read()).toEqual({
    values: { memory: '512M', rounds: 5, qemu: true, verify: false, only: undefined, loads: undefined },
  });
});

test('what is said has the type of its default', () => {
  expect(
    read('--rounds', '12', '--no-qemu', '--verify', '--memory=1G', '--only', 'qemu', '--loads', 'write,read'),
  ).toEqual({
    values: { memory: '1G', rounds: 12, qemu: false, verify: true, only: 'qemu', loads: 'write,read' },
  });
});

test.each([
  [['--rounds', 'many'], '--rounds wants a whole number from 0 on, not "many"'],
  [['--rounds', '-1'], `Option '--rounds' argument is ambiguous`],
  [['--rounds', '1e3'], '--rounds wants a whole number from 0 on, not "1e3"'],
  [['--only', 'bochs'], '--only wants ringfence or qemu, not "bochs"'],
  [['--only', 'ringfence,qemu'], '--only wants ringfence or qemu, not "ringfence,qemu"'],
  [['--loads', 'read,trim'], '--loads wants some of read, write, not "read,trim"'],
  [['--runs', '3'], `Unknown option '--runs'; "npm run bench:it -- --help" says what there is`],
  [['three'], `Unexpected argument 'three'`],
  [['--rounds'], `Option '--rounds <value>' argument missing`],
])('%j is answered with a sentence', (words, sentence) => {
  expect((read(...words) as { readonly problem: string }).problem).toContain(sentence);
});

test('help names each option, its value, and what it is by default', () => {
  expect(read('--help')).toEqual({
    help: `npm run bench:it -- [OPTIONS]: What it takes.

  --memory SIZE  of the machine (512M)
  --rounds N     rounds of each (5)
  --no-qemu      without QEMU
  --verify       look at each octet
  --only NAME    one of the two (ringfence or qemu)
  --loads NAME   these alone (read, write)
  --help         this text
`,
  });
});
