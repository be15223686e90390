import { describe, expect, test } from 'vitest';
import { guestPhysical } from '../base/numbers.ts';
import { deviceLifecycle } from './device-lifecycle.suite.ts';
import type { Ending } from './ending.ts';
import { Htif, MAXIMUM_READS } from './htif.ts';
import { FakeMemory, RecordedFaults } from './testing/doubles.ts';

const RAM = 0x8000_0000;
const TOHOST = guestPhysical(RAM + 0x40);
const FROMHOST = guestPhysical(RAM + 0x80);

interface Setup {
  readonly htif: Htif;
  readonly memory: FakeMemory;
  readonly endings: Ending[];
  readonly input: number[];
  readonly faults: RecordedFaults;
  output(): string;
  /** The program stores, and the machine polls; gives what `tohost` is then. */
  tohost(value: bigint): bigint;
  word(address: number): bigint;
  store(address: number, ...values: readonly bigint[]): void;
}

function setUp(): Setup {
  const memory = new FakeMemory(RAM, 0x2000);
  const endings: Ending[] = [];
  const input: number[] = [];
  const sent: number[] = [];
  const faults = new RecordedFaults();
  const view = new DataView(memory.bytes.buffer);
  const htif = new Htif(
    { tohost: TOHOST, fromhost: FROMHOST },
    {
      memory,
      output: { write: (bytes) => void sent.push(...bytes) },
      input: () => input.shift(),
      ended: (ending) => endings.push(ending),
      faults,
    },
  );
  const word = (address: number): bigint => view.getBigUint64(address - RAM, true);
  const store = (address: number, ...values: readonly bigint[]): void =>
    values.forEach((value, index) => view.setBigUint64(address - RAM + index * 8, value, true));
  return {
    htif,
    memory,
    endings,
    input,
    faults,
    word,
    store,
    output: () => String.fromCharCode(...sent),
    tohost(value) {
      store(TOHOST, value);
      htif.poll();
      return word(TOHOST);
    },
  };
}

describe('the end of a program', () => {
  test('1 is success, any other odd value v is the failure v >> 1', () => {
    const { tohost, endings } = setUp();
    expect([tohost(1n), tohost(3n), tohost(0x53n), tohost((0xffffn << 1n) | 1n)]).toEqual([0n, 0n, 0n, 0n]);
    expect(endings).toEqual([
      { kind: 'poweroff' },
      { kind: 'failure', code: 1 },
      { kind: 'failure', code: 0x29 },
      { kind: 'failure', code: 0xffff },
    ]);
  });

  test('nothing happens while nothing is written', () => {
    const { htif, endings, faults, word } = setUp();
    htif.poll();
    expect([endings, faults.reports, word(FROMHOST)]).toEqual([[], [], 0n]);
  });

  test('a program whose tohost is not in memory says nothing', () => {
    const { memory, endings } = setUp();
    const faults = new RecordedFaults();
    const htif = new Htif(
      { tohost: guestPhysical(0x1000), fromhost: undefined },
      { memory, output: { write() {} }, input: () => undefined, ended: (ending) => endings.push(ending), faults },
    );
    htif.poll();
    expect(endings).toEqual([]);
  });
});

describe('the console', () => {
  test('characters are written one by one', () => {
    const { tohost, output } = setUp();
    for (const letter of 'hi\n') expect(tohost((1n << 56n) | (1n << 48n) | BigInt(letter.charCodeAt(0)))).toBe(0n);
    expect(output()).toBe('hi\n');
  });

  test('a character that is wanted comes when there is one and the last was taken', () => {
    const { htif, tohost, input, word, store } = setUp();
    expect(tohost(1n << 56n)).toBe(0n);
    expect(tohost(1n << 56n)).toBe(0n);
    expect(word(FROMHOST)).toBe(0n);
    input.push(0, 65);
    htif.poll();
    expect(word(FROMHOST)).toBe((1n << 56n) | 0x100n);
    htif.poll();
    expect(input).toEqual([65]);
    store(FROMHOST, 0n);
    htif.poll();
    expect(word(FROMHOST)).toBe((1n << 56n) | 0x141n);
    input.push(66);
    store(FROMHOST, 0n);
    htif.poll();
    expect([word(FROMHOST), input]).toEqual([0n, [66]]);
  });

  test('too many wanted at once, or with nowhere to put them, are faults', () => {
    const many = setUp();
    for (let n = 0; n <= MAXIMUM_READS; n++) many.tohost(1n << 56n);
    expect(many.faults.reports).toEqual(['htif@80000040: more than 16 characters are wanted at once']);
    const none = setUp();
    const htif = new Htif(
      { tohost: TOHOST, fromhost: undefined },
      { memory: none.memory, output: { write() {} }, input: () => 1, ended() {}, faults: none.faults },
    );
    none.store(TOHOST, 1n << 56n);
    htif.poll();
    expect(none.faults.reports).toEqual(['htif@80000040: the program wants to read and has no fromhost']);
  });
});

describe('system calls', () => {
  const CALL = RAM + 0x100;

  test('write writes, and the result and fromhost say so', () => {
    const { memory, tohost, store, word, output } = setUp();
    memory.write(RAM + 0x200, new TextEncoder().encode('benchmark'));
    store(CALL, 64n, 1n, BigInt(RAM + 0x200), 9n);
    expect(tohost(BigInt(CALL))).toBe(0n);
    expect([output(), word(CALL), word(FROMHOST)]).toEqual(['benchmark', 9n, 1n]);
  });

  test('exit ends the program', () => {
    const { tohost, store, endings } = setUp();
    store(CALL, 93n, 0n);
    tohost(BigInt(CALL));
    store(CALL, 93n, 4n);
    tohost(BigInt(CALL));
    expect(endings).toEqual([{ kind: 'poweroff' }, { kind: 'failure', code: 4 }]);
  });

  test('others are not implemented, and what is outside memory is not touched', () => {
    const { tohost, store, word, output, faults } = setUp();
    store(CALL, 63n, 0n, BigInt(RAM), 1n);
    tohost(BigInt(CALL));
    expect(BigInt.asIntN(64, word(CALL))).toBe(-38n);
    store(FROMHOST, 0n);
    store(CALL, 64n, 1n, BigInt(RAM), 0x2001n);
    tohost(BigInt(CALL));
    expect([BigInt.asIntN(64, word(CALL)), output()]).toEqual([-14n, '']);
    store(FROMHOST, 0n);
    expect(tohost(0x1000n)).toBe(0n);
    expect(faults.reports).toEqual(['htif@80000040: a system call is outside memory']);
  });

  test('a call waits until the program has taken the last answer', () => {
    const { htif, tohost, store, word, output } = setUp();
    store(FROMHOST, 1n);
    store(CALL, 64n, 1n, BigInt(RAM), 1n);
    expect(tohost(BigInt(CALL))).toBe(BigInt(CALL));
    expect(output()).toBe('');
    store(FROMHOST, 0n);
    htif.poll();
    expect([output(), word(TOHOST), word(FROMHOST)]).toEqual(['\0', 0n, 1n]);
  });
});

test('devices and commands that are not there are faults', () => {
  const { tohost, faults } = setUp();
  expect([tohost(2n << 56n), tohost((1n << 56n) | (7n << 48n)), tohost((1n << 48n) | 1n)]).toEqual([0n, 0n, 0n]);
  expect(faults.reports).toEqual([
    'htif@80000040: device 2 has no command 0',
    'htif@80000040: device 1 has no command 7',
    'htif@80000040: device 0 has no command 1',
  ]);
});

const setups = new WeakMap<Htif, Setup>();
deviceLifecycle('HTIF', {
  make() {
    const setup = setUp();
    setups.set(setup.htif, setup);
    return setup.htif;
  },
  disturb: (htif) => void setups.get(htif)?.tohost(1n << 56n),
});
