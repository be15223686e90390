/** The machine as a whole, with small programs in M-mode. What a single device does is tested beside the device. */

import { describe, expect, test } from 'vitest';
import { Machine } from './machine.ts';
import type { Progress } from './options.ts';
import { PacedClock, bareMachine } from './testing/bare-machine.ts';

const MINUTE_MS = 60_000;
const END = 'tohost: .dword 0\nfromhost: .dword 0\n';

async function endingOf(text: string): Promise<Progress> {
  const { machine } = await bareMachine(text);
  return machine.run(MINUTE_MS);
}

const ended = (ending: object): object => ({ kind: 'ended', ending });

describe('a bare program with tohost', () => {
  const storing = (value: number): string =>
    `la t0, tohost\n li t1, ${value}\n sd t1, 0(t0)\n1: j 1b\n .balign 8\n${END}`;

  test('that writes 1 has succeeded', async () => {
    expect(await endingOf(storing(1))).toEqual(ended({ kind: 'poweroff' }));
  });

  test.each([
    [3, 1],
    [0x2b, 0x15],
    [1337 * 2 + 1, 1337],
  ])('that writes %i has failed with code %i', async (value, code) => {
    expect(await endingOf(storing(value))).toEqual(ended({ kind: 'failure', code }));
  });

  test('that writes and then waits for an interrupt has ended too', async () => {
    expect(await endingOf(storing(1).replace('1: j 1b', '1: wfi\n j 1b'))).toEqual(ended({ kind: 'poweroff' }));
  });

  test('prints characters one by one, and reads them', async () => {
    const bare = await bareMachine(`
      la   s0, tohost
      la   s1, fromhost
      li   s2, 0x0101000000000000  # console, write
      li   s3, 3
again: li  t0, 0x0100000000000000  # console, read
      sd   t0, 0(s0)
1:    ld   t1, 0(s1)
      beqz t1, 1b
      sd   zero, 0(s1)
      andi t1, t1, 0xff
      addi t1, t1, 1
      or   t1, t1, s2
      sd   t1, 0(s0)
2:    ld   t1, 0(s0)
      bnez t1, 2b
      addi s3, s3, -1
      bnez s3, again
      li   t0, 1
      sd   t0, 0(s0)
3:    j    3b
      .balign 8
      ${END}`);
    bare.machine.serial.receive(new TextEncoder().encode('HAL'));
    expect(bare.machine.run(MINUTE_MS)).toEqual(ended({ kind: 'poweroff' }));
    expect(bare.output()).toBe('IBM');
  });
});

test.each([
  [0x5555, { kind: 'poweroff' }],
  [0x7777, { kind: 'reboot' }],
  [(21 << 16) | 0x3333, { kind: 'failure', code: 21 }],
])('writing %i to the test device ends the machine', async (value, ending) => {
  expect(await endingOf(`li t0, 0x100000\n li t1, ${value}\n sw t1, 0(t0)\n1: j 1b`)).toEqual(ended(ending));
});

describe('a machine whose harts wait', () => {
  test('is idle until something happens, and executes nothing', async () => {
    const { machine } = await bareMachine('1: wfi\n j 1b');
    expect(machine.run(MINUTE_MS)).toEqual({ kind: 'idle', dueInNs: Infinity });
    const { instructions } = machine.statistics();
    expect(machine.run(MINUTE_MS)).toEqual({ kind: 'idle', dueInNs: Infinity });
    expect(machine.statistics()['instructions']).toBe(instructions);
  });

  test('says when its timer is due, and goes on when it is', async () => {
    const clock = new PacedClock();
    const { machine } = await bareMachine(
      `
      li   t0, 0x2004000   # mtimecmp of hart 0
      li   t1, 50000       # 5 ms
      sd   t1, 0(t0)
      li   t1, 0x80
      csrw mie, t1         # MTIE; mstatus.MIE stays 0
      wfi
      la   t0, tohost
      li   t1, 1
      sd   t1, 0(t0)
1:    j    1b
      .balign 8
      ${END}`,
      { clock },
    );
    expect(machine.run(MINUTE_MS)).toEqual({ kind: 'idle', dueInNs: 5e6 });
    clock.now += 4_999_900;
    expect(machine.run(MINUTE_MS)).toEqual({ kind: 'idle', dueInNs: 100 });
    clock.now += 100;
    expect(machine.run(MINUTE_MS)).toEqual(ended({ kind: 'poweroff' }));
  });

  test('is woken by a byte on its serial line', async () => {
    const bare = await bareMachine(`
      li   s0, 0x10000000  # UART
      li   t0, 1
      sb   t0, 1(s0)       # IER: received data
      li   t1, 0xc000028   # PLIC: priority of source 10
      sw   t0, 0(t1)
      li   t1, 0xc002000   # enables of hart 0, M-mode
      li   t0, 0x400
      sw   t0, 0(t1)
      li   t0, 0x800
      csrw mie, t0         # MEIE
      wfi
      li   t1, 0xc200004   # claim
      lw   a0, 0(t1)
      lbu  a1, 0(s0)
      sw   a0, 0(t1)
      la   t0, seen
      sd   a0, 0(t0)
      sd   a1, 8(t0)
1:    wfi
      j    1b
      .balign 8
seen: .dword 0
byte: .dword 0`);
    expect(bare.machine.run(MINUTE_MS)).toEqual({ kind: 'idle', dueInNs: Infinity });
    let woken = 0;
    bare.machine.onWake = () => woken++;
    bare.machine.serial.receive(Uint8Array.of(0x41));
    expect(woken).toBeGreaterThan(0);
    expect(bare.machine.run(MINUTE_MS)).toEqual({ kind: 'idle', dueInNs: Infinity });
    expect([bare.dword('seen'), bare.dword('byte')]).toEqual([10n, 0x41n]);
  });
});

test('run comes back in time from a program that never ends', async () => {
  const clock = new PacedClock();
  const { machine } = await bareMachine('csrw mie, zero\n1: j 1b', { clock });
  clock.paceNs = 1e5;
  const startNs = clock.now;
  expect(machine.run(4)).toEqual({ kind: 'busy' });
  expect(clock.now - startNs).toBeLessThan(5e6);
});

/** Counts, and shows how far it is in `count`; ends when that is 300000. */
const COUNTING = `
      la   s0, count
      li   s1, 300000
1:    addi s2, s2, 1
      sd   s2, 0(s0)
      bne  s2, s1, 1b
      la   t0, tohost
      li   t1, 1
      sd   t1, 0(t0)
2:    wfi
      j    2b
      .balign 8
count: .dword 0
      ${END}`;

test('what is saved in the middle of a program goes on in another machine', async () => {
  const clock = new PacedClock();
  const first = await bareMachine(COUNTING, { clock });
  clock.paceNs = 1e6;
  expect(first.machine.run(1)).toEqual({ kind: 'busy' });
  const reached = first.dword('count');
  expect(reached).toBeGreaterThan(0n);
  expect(reached).toBeLessThan(300_000n);
  const second = await bareMachine(COUNTING);
  const page = new Uint8Array(4096);
  for (let at = 0x8000_0000; at < 0x8000_0000 + first.machine.memoryBytes; at += page.length) {
    first.machine.ram.read(at, page);
    second.machine.ram.write(at, page);
  }
  second.machine.restore(first.machine.save());
  expect(second.machine.run(MINUTE_MS)).toEqual(ended({ kind: 'poweroff' }));
  const [all, before] = [second.machine, first.machine].map((machine) => machine.statistics()['instructions'] ?? 0);
  // Each counts what it has executed itself.
  expect((all ?? 0) + (before ?? 0)).toBeGreaterThan(3 * 300_000);
  expect((all ?? 0) + (before ?? 0)).toBeLessThan(3 * 300_000 + 100);
  expect(before).toBeGreaterThan(3 * Number(reached));
});

test('what several harts do is saved and goes on in another machine', async () => {
  const counting = `
      csrr s3, mhartid
      bnez s3, 3f
      j    4f
3:    la   t0, sum
      li   t1, 1
      amoadd.d zero, t1, (t0)
      j    3b
4:    ${COUNTING}
      .balign 8
sum:  .dword 0`;
  const clock = new PacedClock();
  const first = await bareMachine(counting, { clock, harts: 3 });
  clock.paceNs = 1e6;
  expect(first.machine.run(9)).toEqual({ kind: 'busy' });
  const reached = first.dword('sum');
  expect(reached).toBeGreaterThan(0n);
  const second = await bareMachine(counting, { harts: 3 });
  const page = new Uint8Array(4096);
  for (let at = 0x8000_0000; at < 0x8000_0000 + first.machine.memoryBytes; at += page.length) {
    first.machine.ram.read(at, page);
    second.machine.ram.write(at, page);
  }
  second.machine.restore(first.machine.save());
  expect(second.machine.run(MINUTE_MS)).toEqual(ended({ kind: 'poweroff' }));
  expect(second.dword('sum')).toBeGreaterThan(reached);
  const other = await bareMachine(counting, { harts: 2 });
  expect(() => other.machine.restore(first.machine.save())).toThrow('elements instead of 2');
});

test('data beside code is written without the code being decoded again', async () => {
  const { machine } = await bareMachine(COUNTING);
  machine.run(MINUTE_MS);
  expect(machine.statistics()['fetchMisses']).toBeLessThan(10);
});

test('an instruction that was just written is executed, even as the second of a pair', async () => {
  const bare = await bareMachine(`
      la   s0, patch
      li   s1, 0x00150513    # addi a0, a0, 1
      li   s2, 0x00a50513    # addi a0, a0, 10
      li   s3, 1000
1:    mv   t0, s1
      andi t1, s3, 1
      beqz t1, 2f
      mv   t0, s2
2:    sw   t0, 0(s0)
      fence.i
      slli a1, a0, 1
      addi a0, a0, 0
patch:
      nop
      addi s3, s3, -1
      bnez s3, 1b
      la   t0, sum
      sd   a0, 0(t0)
      la   t0, tohost
      li   t1, 1
      sd   t1, 0(t0)
3:    j    3b
      .balign 8
sum:  .dword 0
      ${END}`);
  expect(bare.machine.run(MINUTE_MS)).toEqual(ended({ kind: 'poweroff' }));
  expect(bare.dword('sum')).toBe(5500n);
});

test('a reset loads the program anew and starts it', async () => {
  const bare = await bareMachine(COUNTING);
  for (const time of [1, 2, 3]) {
    expect(bare.machine.run(MINUTE_MS), `time ${time}`).toEqual(ended({ kind: 'poweroff' }));
    expect(bare.dword('count')).toBe(300_000n);
    bare.machine.reset();
    expect(bare.machine.ending).toBeUndefined();
    expect(bare.dword('count')).toBe(0n);
  }
});

test('the serial line, a clock and every device are in what is saved, each under its own name', async () => {
  const { machine } = await bareMachine(`1: j 1b\n .balign 8\n${END}`, { consolePorts: [{ name: 'port' }] });
  const { devices } = machine.save() as { readonly devices: readonly { readonly name: string }[] };
  const names = devices.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names).toEqual(
    expect.arrayContaining(['serial@10000000', 'rtc@101000', 'plic@c000000', expect.stringContaining('htif@')]),
  );
});

test('a machine needs memory in whole pages', async () => {
  await expect(bareMachine('nop', { memoryBytes: 1_500_000 })).rejects.toThrow('1500000 is no memory size');
  expect(Machine).toBeDefined();
});
