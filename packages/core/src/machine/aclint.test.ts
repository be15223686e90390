import { describe, expect, test } from 'vitest';
import { SavedStateError } from '../base/saved.ts';
import { Mswi, Mtimer, Sswi, clintNode, sswiNode } from './aclint.ts';
import { deviceLifecycle } from './device-lifecycle.suite.ts';
import { MIP } from './hart-port.ts';
import { MEMORY_MAP } from './memory-map.ts';
import { fakeHarts } from './testing/doubles.ts';
import type { FakeHart } from './testing/doubles.ts';

const MTIME = 0x7ff8;

class FakeTicks {
  ticks = 5000n;
  now(): bigint {
    return this.ticks;
  }
}

describe('machine software interrupts', () => {
  test('bit 0 of msip raises and lowers MSIP of that hart; the other bits are not there', () => {
    const harts = fakeHarts(2);
    const mswi = new Mswi(harts);
    mswi.write(4, 4, 0xffff_ffff);
    expect(mswi.read(4, 4)).toBe(1);
    expect(harts.map((hart) => hart.mip)).toEqual([0, MIP.MSIP]);
    mswi.write(4, 4, 2);
    expect(harts.map((hart) => hart.mip)).toEqual([0, 0]);
  });

  test('harts that are not there read zero and ignore writes', () => {
    const mswi = new Mswi(fakeHarts(1));
    mswi.write(4, 4, 1);
    expect(mswi.read(4, 4)).toBe(0);
    expect(mswi.read(0x3ffc, 4)).toBe(0);
  });
});

describe('the timer', () => {
  function setUp(): { harts: FakeHart[]; ticks: FakeTicks; timer: Mtimer; offsets: bigint[] } {
    const harts = fakeHarts(2);
    const ticks = new FakeTicks();
    const offsets: bigint[] = [];
    return { harts, ticks, offsets, timer: new Mtimer(harts, ticks, (offset) => offsets.push(offset)) };
  }

  test('mtime counts ticks from 0 at power-on, whatever the tick source started from', () => {
    const { ticks, timer } = setUp();
    expect(timer.mtime()).toBe(0n);
    ticks.ticks += 1n << 33n;
    expect(timer.read64(MTIME)).toBe(1n << 33n);
    expect([timer.read(MTIME, 4), timer.read(MTIME + 4, 4)]).toEqual([0, 2]);
  });

  test('MTIP is mtime >= mtimecmp: raised by a poll, lowered by a later mtimecmp', () => {
    const { harts, ticks, timer } = setUp();
    timer.write64(8, 100n);
    ticks.ticks += 99n;
    timer.poll();
    expect(harts[1]!.mip).toBe(0);
    ticks.ticks += 1n;
    timer.poll();
    expect(harts.map((hart) => hart.mip)).toEqual([0, MIP.MTIP]);
    timer.write64(8, 101n);
    expect(harts[1]!.mip).toBe(0);
    timer.write64(8, 0n);
    expect(harts[1]!.mip).toBe(MIP.MTIP);
  });

  test('halves of mtimecmp and mtime can be written alone', () => {
    const { timer } = setUp();
    timer.write(0, 4, 0xffff_ffff);
    timer.write(4, 4, 1);
    expect(timer.read64(0)).toBe(0x1_ffff_ffffn);
    timer.write(MTIME + 4, 4, 7);
    timer.write(MTIME, 4, 9);
    expect(timer.mtime()).toBe(0x7_0000_0009n);
  });

  test('setting mtime moves the offset and is heard of; interrupts follow', () => {
    const { harts, timer, offsets } = setUp();
    timer.write64(0, 1000n);
    timer.write64(MTIME, 2000n);
    expect(harts[0]!.mip).toBe(MIP.MTIP);
    expect(offsets).toEqual([(1n << 64n) - 5000n, (1n << 64n) - 3000n]);
    expect(timer.offset).toBe(offsets.at(-1));
    timer.write64(MTIME, 0n);
    expect(harts[0]!.mip).toBe(0);
  });

  test('it says how long until the next interrupt: Infinity when none is set, 0 when it is due', () => {
    const { ticks, timer } = setUp();
    expect(timer.dueInNs()).toBe(Infinity);
    timer.write64(0, 50n);
    timer.write64(8, 20n);
    expect(timer.dueInNs()).toBe(2000);
    ticks.ticks += 25n;
    expect(timer.dueInNs()).toBe(0);
    timer.poll();
    expect(timer.dueInNs()).toBe(2500);
    timer.write64(0, (1n << 64n) - 2n);
    expect(timer.dueInNs()).toBe(Infinity);
  });

  test('registers of harts that are not there read zero and ignore writes', () => {
    const { timer } = setUp();
    timer.write64(16, 5n);
    timer.write(20, 4, 5);
    expect(timer.read64(16)).toBe(0n);
    expect(timer.read(0x7ff0, 4)).toBe(0);
  });

  test('no time passes for the guest between save and restore', () => {
    const { ticks, timer } = setUp();
    ticks.ticks += 77n;
    timer.write64(8, 70n);
    const saved = timer.save();
    const other = setUp();
    other.ticks.ticks = 123_456n;
    other.timer.restore(saved);
    expect(other.timer.mtime()).toBe(77n);
    expect(other.harts.map((hart) => hart.mip)).toEqual([0, MIP.MTIP]);
    expect(other.timer.offset).toBe(other.offsets.at(-1));
  });
});

describe('supervisor software interrupts', () => {
  test('writing 1 raises SSIP once; writing 0 does nothing and it reads as 0', () => {
    const harts = fakeHarts(2);
    const sswi = new Sswi(harts);
    sswi.write(4, 4, 1);
    expect(harts.map((hart) => hart.mip)).toEqual([0, MIP.SSIP]);
    sswi.write(4, 4, 0);
    sswi.write(8, 4, 1);
    expect(harts.map((hart) => hart.mip)).toEqual([0, MIP.SSIP]);
    expect(sswi.read()).toBe(0);
  });

  test('it keeps nothing and takes nothing back', () => {
    const sswi = new Sswi([]);
    sswi.restore(sswi.save());
    expect(() => sswi.restore({ ssip: [true] })).toThrow(SavedStateError);
  });
});

test('the nodes are as QEMU has them', () => {
  expect(clintNode(MEMORY_MAP.clint, 2)).toEqual({
    name: 'clint@2000000',
    properties: {
      compatible: ['sifive,clint0', 'riscv,clint0'],
      reg: [0, 0x2000000, 0, 0x10000],
      'interrupts-extended': [
        { phandleOf: 'cpu0_intc' },
        3,
        { phandleOf: 'cpu0_intc' },
        7,
        { phandleOf: 'cpu1_intc' },
        3,
        { phandleOf: 'cpu1_intc' },
        7,
      ],
    },
  });
  expect(sswiNode(MEMORY_MAP.sswi, 1).properties['interrupts-extended']).toEqual([{ phandleOf: 'cpu0_intc' }, 1]);
});

const harts = new WeakMap<object, FakeHart[]>();

deviceLifecycle('MSWI', {
  make() {
    const its = fakeHarts(3);
    const mswi = new Mswi(its);
    harts.set(mswi, its);
    return mswi;
  },
  disturb(mswi) {
    mswi.write(0, 4, 1);
    mswi.write(8, 4, 1);
  },
  observe: (mswi) => harts.get(mswi)?.map((hart) => hart.mip),
  contradictions: { 'a hart too many': () => ({ msip: [true, true, true, true] }) },
});

deviceLifecycle('MTIMER', {
  make() {
    const its = fakeHarts(2);
    const timer = new Mtimer(its, new FakeTicks());
    harts.set(timer, its);
    return timer;
  },
  disturb(timer) {
    timer.write64(MTIME, 500n);
    timer.write64(0, 600n);
    timer.write64(8, 400n);
  },
  observe: (timer) => [harts.get(timer)?.map((hart) => hart.mip), timer.mtime(), timer.dueInNs()],
  contradictions: { 'a hart too few': () => ({ mtime: 0n, mtimecmp: [0n] }) },
});
