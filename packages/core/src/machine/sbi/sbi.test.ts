import { describe, expect, test } from 'vitest';
import type { Ending } from '../ending.ts';
import { MIP } from '../hart-port.ts';
import { FakeMemory, fakeHarts } from '../testing/doubles.ts';
import type { FakeHart } from '../testing/doubles.ts';
import { CONSOLE_CHUNK_BYTES } from './debug-console.ts';
import { Sbi } from './sbi.ts';

const RAM = 0x8000_0000;
const RAM_BYTES = 64 * 1024;
const ALL = 0xffff_ffff_ffff_ffffn;
const [BASE, TIME, IPI, RFENCE, HSM, SRST, PMU, DBCN, SUSP, STA] = [
  0x10n,
  0x54494d45n,
  0x735049n,
  0x52464e43n,
  0x48534dn,
  0x53525354n,
  0x504d55n,
  0x4442434en,
  0x53555350n,
  0x535441n,
];
const [SUCCESS, NOT_SUPPORTED, INVALID_PARAM, DENIED, INVALID_ADDRESS, ALREADY_AVAILABLE] = [
  0n,
  -2n,
  -3n,
  -4n,
  -5n,
  -6n,
];

interface Setup {
  readonly harts: FakeHart[];
  readonly memory: FakeMemory;
  readonly endings: Ending[];
  readonly input: number[];
  output(): string;
  /** Calls from hart 0 (or `from`) and gives a0, signed, and a1. */
  call(extension: bigint, number: number, args?: readonly bigint[], from?: number): [bigint, bigint];
}

function setUp(count = 4): Setup {
  const harts = fakeHarts(count);
  const memory = new FakeMemory(RAM, RAM_BYTES);
  const endings: Ending[] = [];
  const sent: number[] = [];
  const input: number[] = [];
  const sbi = new Sbi({
    harts,
    memory,
    console: { write: (bytes) => void sent.push(...bytes), read: () => input.shift() },
    ended: (ending) => endings.push(ending),
    machine: { mvendorid: 1n, marchid: 0x8000_0000_0000_002an, mimpid: 3n },
  });
  return {
    harts,
    memory,
    endings,
    input,
    output: () => String.fromCharCode(...sent),
    call(extension, number, args = [], from = 0) {
      const hart = harts[from]!;
      for (let index = 0; index < 6; index++) hart.setX(10 + index, args[index] ?? 0n);
      hart.setX(16, BigInt(number));
      hart.setX(17, extension);
      sbi.handle(hart);
      return [BigInt.asIntN(64, hart.x(10)), hart.x(11)];
    },
  };
}

describe('the base extension', () => {
  test('says who we are', () => {
    const { call } = setUp();
    expect(call(BASE, 0)).toEqual([SUCCESS, 0x0200_0000n]);
    expect(call(BASE, 1)).toEqual([SUCCESS, 0x526e_6766n]);
    expect(call(BASE, 2)).toEqual([SUCCESS, 0x100n]);
    expect(call(BASE, 4)).toEqual([SUCCESS, 1n]);
    expect(call(BASE, 5)).toEqual([SUCCESS, 0x8000_0000_0000_002an]);
    expect(call(BASE, 6)).toEqual([SUCCESS, 3n]);
  });

  test('probing finds what is there, and no PMU', () => {
    const { call } = setUp();
    for (const id of [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, SUSP, STA, 1n, 2n, 8n])
      expect(call(BASE, 3, [id])).toEqual([SUCCESS, 1n]);
    for (const id of [PMU, 4n, 0x999n, ALL, BASE + (1n << 32n)]) expect(call(BASE, 3, [id])).toEqual([SUCCESS, 0n]);
  });

  test('an unknown extension or function is not supported', () => {
    const { call } = setUp();
    for (const [id, number] of [
      [PMU, 0],
      [STA, 1],
      [0x999n, 0],
      [ALL, 0],
      [BASE, 7],
      [TIME, 1],
      [HSM, 4],
      [DBCN, 3],
    ] as const) {
      expect(call(id, number)).toEqual([NOT_SUPPORTED, 0n]);
    }
  });

  test('a function number is all of a6', () => {
    const { harts, call } = setUp();
    expect(call(TIME, 2 ** 40, [5n])).toEqual([NOT_SUPPORTED, 0n]);
    expect(harts[0]!.timer).toBeUndefined();
  });
});

describe('the timer', () => {
  test('is set for the hart that asks', () => {
    const { harts, call } = setUp();
    expect(call(TIME, 0, [123n], 2)).toEqual([SUCCESS, 0n]);
    expect(call(TIME, 0, [ALL], 3)).toEqual([SUCCESS, 0n]);
    expect(harts.map((hart) => hart.timer)).toEqual([undefined, undefined, 123n, ALL]);
  });
});

describe('interrupts between harts', () => {
  test('reach the harts of the mask', () => {
    const { harts, call } = setUp();
    expect(call(IPI, 0, [0b101n, 1n])).toEqual([SUCCESS, 0n]);
    expect(harts.map((hart) => hart.mip)).toEqual([0, MIP.SSIP, 0, MIP.SSIP]);
  });

  test('reach every hart when the base is all ones, whatever the mask', () => {
    const { harts, call } = setUp();
    expect(call(IPI, 0, [0n, ALL])).toEqual([SUCCESS, 0n]);
    expect(harts.every((hart) => hart.mip === MIP.SSIP)).toBe(true);
  });

  test('leave stopped harts alone, and wake suspended ones', () => {
    const { harts, call } = setUp();
    harts[1]!.stop();
    harts[2]!.suspend();
    call(IPI, 0, [0b1111n, 0n]);
    expect(harts.map((hart) => [hart.mip, hart.runState])).toEqual([
      [MIP.SSIP, 'running'],
      [0, 'stopped'],
      [MIP.SSIP, 'running'],
      [MIP.SSIP, 'running'],
    ]);
  });

  test('a mask that names a hart that is not there does nothing at all', () => {
    const { harts, call } = setUp();
    for (const [mask, base] of [
      [0b10001n, 0n],
      [0b11n, 3n],
      [1n, 4n],
      [0n, 1n << 40n],
      [1n << 63n, 0n],
    ] as const) {
      expect(call(IPI, 0, [mask, base])).toEqual([INVALID_PARAM, 0n]);
    }
    expect(harts.every((hart) => hart.mip === 0)).toBe(true);
  });
});

describe('remote fences', () => {
  test('fence.i', () => {
    const { harts, call } = setUp();
    expect(call(RFENCE, 0, [0b10n, 0n])).toEqual([SUCCESS, 0n]);
    expect(harts.map((hart) => hart.fences)).toEqual([[], ['fence.i'], [], []]);
  });

  test('sfence.vma, with and without an ASID', () => {
    const { harts, call } = setUp(2);
    expect(call(RFENCE, 1, [1n, 1n, 0x4000n, 0x2000n])).toEqual([SUCCESS, 0n]);
    expect(call(RFENCE, 2, [1n, 1n, 0xffff_ffc0_0000_0000n, 0x1000n, 7n])).toEqual([SUCCESS, 0n]);
    expect(harts[1]!.fences).toEqual([
      { start: 0x4000n, size: 0x2000n, asid: undefined },
      { start: 0xffff_ffc0_0000_0000n, size: 0x1000n, asid: 7 },
    ]);
    expect(harts[0]!.fences).toEqual([]);
  });

  test('the two ways to say everything become one', () => {
    const { harts, call } = setUp(1);
    call(RFENCE, 1, [1n, 0n, 0n, 0n]);
    call(RFENCE, 1, [1n, 0n, 0x1234n, ALL]);
    expect(harts[0]!.fences).toEqual([
      { start: 0n, size: ALL, asid: undefined },
      { start: 0n, size: ALL, asid: undefined },
    ]);
  });

  test('harts that are not there, and fences for guests of guests', () => {
    const { harts, call } = setUp();
    for (const number of [0, 1, 2]) expect(call(RFENCE, number, [1n, 9n])).toEqual([INVALID_PARAM, 0n]);
    for (const number of [3, 4, 5, 6]) expect(call(RFENCE, number, [1n, 0n])).toEqual([NOT_SUPPORTED, 0n]);
    expect(harts.flatMap((hart) => hart.fences)).toEqual([]);
  });
});

describe('hart state management', () => {
  test('a stopped hart is started where the caller says', () => {
    const { harts, call } = setUp();
    harts[3]!.stop();
    expect(call(HSM, 2, [3n])).toEqual([SUCCESS, 1n]);
    expect(call(HSM, 0, [3n, BigInt(RAM + 0x100), 0xabcn])).toEqual([SUCCESS, 0n]);
    expect(harts[3]!.started).toEqual({ address: BigInt(RAM + 0x100), opaque: 0xabcn });
    expect(call(HSM, 2, [3n])).toEqual([SUCCESS, 0n]);
  });

  test('starting fails for a hart that runs, one that is not there, and code that is not', () => {
    const { harts, call } = setUp();
    harts[3]!.stop();
    expect(call(HSM, 0, [1n, BigInt(RAM)])).toEqual([ALREADY_AVAILABLE, 0n]);
    harts[2]!.suspend();
    expect(call(HSM, 0, [2n, BigInt(RAM)])).toEqual([ALREADY_AVAILABLE, 0n]);
    for (const id of [4n, ALL]) expect(call(HSM, 0, [id, BigInt(RAM)])).toEqual([INVALID_PARAM, 0n]);
    for (const address of [0n, BigInt(RAM + 1), BigInt(RAM + RAM_BYTES), ALL - 1n])
      expect(call(HSM, 0, [3n, address])).toEqual([INVALID_ADDRESS, 0n]);
    expect(harts[3]!.runState).toBe('stopped');
  });

  test('a hart that stops itself does not return', () => {
    const { harts, call } = setUp();
    expect(call(HSM, 1, [77n], 2)).toEqual([77n, 0n]);
    expect(harts[2]!.runState).toBe('stopped');
  });

  test('the status of a hart that is not there is an error', () => {
    expect(setUp(1).call(HSM, 2, [1n])).toEqual([INVALID_PARAM, 0n]);
  });

  test('a retentive suspend returns like WFI, and shows until the hart wakes', () => {
    const { harts, call } = setUp();
    expect(call(HSM, 3, [0n], 1)).toEqual([SUCCESS, 0n]);
    expect(call(HSM, 2, [1n])).toEqual([SUCCESS, 4n]);
    harts[1]!.setPending(MIP.SEIP, true);
    expect(call(HSM, 2, [1n])).toEqual([SUCCESS, 0n]);
  });

  test('WFI is not a suspend', () => {
    const { harts, call } = setUp();
    harts[1]!.runState = 'waiting';
    expect(call(HSM, 2, [1n])).toEqual([SUCCESS, 0n]);
  });

  test('a non-retentive suspend goes on at its resume address', () => {
    const { harts, call } = setUp();
    call(HSM, 3, [0x8000_0000n, BigInt(RAM + 8), 5n], 1);
    expect([harts[1]!.runState, harts[1]!.started]).toEqual(['suspended', { address: BigInt(RAM + 8), opaque: 5n }]);
    expect(call(HSM, 3, [0x8000_0000n, 0n], 2)).toEqual([INVALID_ADDRESS, 0n]);
    expect(harts[2]!.runState).toBe('running');
  });

  test('other suspend types are refused', () => {
    const { harts, call } = setUp();
    for (const type of [1n, 0x1000_0000n, 0x8000_0001n, 0x9000_0000n, 0xffff_ffffn])
      expect(call(HSM, 3, [type, BigInt(RAM)])).toEqual([INVALID_PARAM, 0n]);
    expect(harts[0]!.runState).toBe('running');
  });
});

describe('system reset', () => {
  test.each<[bigint, bigint, Ending]>([
    [0n, 0n, { kind: 'poweroff' }],
    [0n, 1n, { kind: 'failure', code: 1 }],
    [1n, 0n, { kind: 'reboot' }],
    [2n, 1n, { kind: 'reboot' }],
  ])('type %i for reason %i', (type, reason, ending) => {
    const { harts, call, endings } = setUp();
    call(SRST, 0, [type, reason], 1);
    expect(endings).toEqual([ending]);
    expect(harts[1]!.runState).toBe('stopped');
  });

  test('other types and reasons are refused', () => {
    const { harts, call, endings } = setUp();
    for (const [type, reason] of [
      [3n, 0n],
      [0xf000_0000n, 0n],
      [0n, 2n],
      [0n, 0xe000_0000n],
    ] as const)
      expect(call(SRST, 0, [type, reason])).toEqual([INVALID_PARAM, 0n]);
    expect([endings, harts[0]!.runState]).toEqual([[], 'running']);
  });

  test('the hart is stopped before the machine hears of it, so that the machine may start it anew', () => {
    const harts = fakeHarts(1);
    const seen: string[] = [];
    const sbi = new Sbi({
      harts,
      memory: new FakeMemory(RAM, 16),
      console: { write() {}, read: () => undefined },
      ended: () => seen.push(harts[0]!.runState),
      machine: { mvendorid: 0n, marchid: 0n, mimpid: 0n },
    });
    harts[0]!.setX(17, SRST);
    sbi.handle(harts[0]!);
    expect(seen).toEqual(['stopped']);
  });
});

describe('the debug console', () => {
  test('writes from guest memory', () => {
    const { memory, call, output } = setUp();
    memory.write(RAM + 0x10, new TextEncoder().encode('hello'));
    expect(call(DBCN, 0, [5n, BigInt(RAM + 0x10)])).toEqual([SUCCESS, 5n]);
    expect(output()).toBe('hello');
    expect(call(DBCN, 0, [0n, BigInt(RAM)])).toEqual([SUCCESS, 0n]);
  });

  test('writes no more at once than its bound, and says how much', () => {
    const { call, output } = setUp();
    expect(call(DBCN, 0, [10_000n, BigInt(RAM)])).toEqual([SUCCESS, BigInt(CONSOLE_CHUNK_BYTES)]);
    expect(output().length).toBe(CONSOLE_CHUNK_BYTES);
  });

  test('reads what has been received, as much as fits', () => {
    const { memory, call, input } = setUp();
    input.push(1, 2, 3);
    expect(call(DBCN, 1, [2n, BigInt(RAM)])).toEqual([SUCCESS, 2n]);
    expect(call(DBCN, 1, [9n, BigInt(RAM + 2)])).toEqual([SUCCESS, 1n]);
    expect(call(DBCN, 1, [9n, BigInt(RAM + 8)])).toEqual([SUCCESS, 0n]);
    expect([...memory.bytes.subarray(0, 4)]).toEqual([1, 2, 3, 0]);
  });

  test('writes single bytes', () => {
    const { call, output } = setUp();
    expect(call(DBCN, 2, [0x141n])).toEqual([SUCCESS, 0n]);
    expect(output()).toBe('A');
  });

  test('buffers that are not all RAM are refused, and no input is lost', () => {
    const { call, input, output } = setUp();
    input.push(1);
    for (const number of [0, 1]) {
      for (const [count, low, high] of [
        [1n, 0n, 0n],
        [17n, BigInt(RAM + RAM_BYTES - 16), 0n],
        [1n, BigInt(RAM), 1n],
        [ALL, BigInt(RAM), 0n],
        [1n, ALL, 0n],
        [1n << 60n, BigInt(RAM), 0n],
      ] as const) {
        expect(call(DBCN, number, [count, low, high])).toEqual([INVALID_PARAM, 0n]);
      }
    }
    expect([input, output()]).toEqual([[1], '']);
  });
});

describe('system suspend', () => {
  test('the last running hart waits and goes on at its resume address', () => {
    const { harts, call } = setUp(3);
    harts[1]!.stop();
    harts[2]!.stop();
    call(SUSP, 0, [0n, BigInt(RAM + 4), 9n]);
    expect([harts[0]!.runState, harts[0]!.started]).toEqual(['suspended', { address: BigInt(RAM + 4), opaque: 9n }]);
  });

  test('is denied while another hart is not stopped, and refused for other types and addresses', () => {
    const { harts, call } = setUp(2);
    expect(call(SUSP, 0, [0n, BigInt(RAM)])).toEqual([DENIED, 0n]);
    harts[1]!.suspend();
    expect(call(SUSP, 0, [0n, BigInt(RAM)])).toEqual([DENIED, 0n]);
    harts[1]!.stop();
    expect(call(SUSP, 0, [1n, BigInt(RAM)])).toEqual([INVALID_PARAM, 0n]);
    expect(call(SUSP, 0, [0n, 0n])).toEqual([INVALID_ADDRESS, 0n]);
    expect(harts[0]!.runState).toBe('running');
  });
});

describe('legacy functions', () => {
  test('answer in a0 alone, whatever a6 says', () => {
    const { harts, call, input, output } = setUp();
    input.push(0x6b);
    expect(call(1n, 99, [0x41n, 0x77n])).toEqual([0n, 0x77n]);
    expect(output()).toBe('A');
    expect(call(2n, 99, [0n, 0x77n])).toEqual([0x6bn, 0x77n]);
    expect(call(2n, 0, [0n, 0x77n])).toEqual([-1n, 0x77n]);
    expect(call(0n, 0, [55n, 0x77n])).toEqual([0n, 0x77n]);
    expect(harts[0]!.timer).toBe(55n);
  });

  test('shutdown ends the machine', () => {
    const { harts, call, endings } = setUp();
    call(8n, 0);
    expect([endings, harts[0]!.runState]).toEqual([[{ kind: 'poweroff' }], 'stopped']);
  });

  test('those with masks by virtual address are not supported', () => {
    const { call } = setUp();
    for (const id of [3n, 4n, 5n, 6n, 7n]) expect(call(id, 0)[0]).toBe(NOT_SUPPORTED);
  });
});

describe('the memory for stolen time', () => {
  test('is what the hart says, cleared, until it says nowhere', () => {
    const { harts, memory, call } = setUp();
    memory.bytes.fill(0xff);
    expect(call(STA, 0, [BigInt(RAM + 128), 0n, 0n], 2)).toEqual([SUCCESS, 0n]);
    expect(harts.map((hart) => hart.stealMemory)).toEqual([undefined, undefined, RAM + 128, undefined]);
    expect([...memory.bytes.subarray(127, 193)]).toEqual([0xff, ...new Uint8Array(64), 0xff]);
    expect(call(STA, 0, [ALL, ALL, 0n], 2)).toEqual([SUCCESS, 0n]);
    expect(harts[2]?.stealMemory).toBeUndefined();
  });

  test.each([
    ['that is not aligned', [BigInt(RAM + 32), 0n, 0n], INVALID_PARAM],
    ['with flags', [BigInt(RAM), 0n, 1n], INVALID_PARAM],
    ['where nothing is', [BigInt(RAM + RAM_BYTES), 0n, 0n], INVALID_ADDRESS],
    ['that does not fit 64 bits', [BigInt(RAM), 1n, 0n], INVALID_ADDRESS],
    ['that no machine has', [ALL - 63n, 0n, 0n], INVALID_ADDRESS],
  ])('is refused %s', (_, args, error) => {
    const { harts, call } = setUp();
    expect(call(STA, 0, args)).toEqual([error, 0n]);
    expect(harts[0]?.stealMemory).toBeUndefined();
  });
});
