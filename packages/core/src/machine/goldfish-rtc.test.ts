import { describe, expect, test } from 'vitest';
import { deviceLifecycle } from './device-lifecycle.suite.ts';
import { GoldfishRtc, goldfishRtcNode } from './goldfish-rtc.ts';
import { MEMORY_MAP } from './memory-map.ts';
import { FakeClock, FakeLine } from './testing/doubles.ts';

const [TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH, IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT] = [
  0, 4, 8, 12, 16, 20, 24, 28,
];
const START = 0x1234_5678_9abc_def0n;

interface Setup {
  readonly rtc: GoldfishRtc;
  readonly clock: FakeClock;
  readonly line: FakeLine;
  time(): bigint;
  setAlarm(time: bigint): void;
}

function setUp(): Setup {
  const clock = new FakeClock();
  clock.wall = START;
  const line = new FakeLine();
  const rtc = new GoldfishRtc(clock, line);
  return {
    rtc,
    clock,
    line,
    time: () => BigInt(rtc.read(TIME_LOW, 4)) | (BigInt(rtc.read(TIME_HIGH, 4)) << 32n),
    setAlarm(time) {
      rtc.write(ALARM_HIGH, 4, Number(time >> 32n));
      rtc.write(ALARM_LOW, 4, Number(time & 0xffff_ffffn));
    },
  };
}

describe('time', () => {
  test('is the wall clock', () => {
    const { clock, time } = setUp();
    expect(time()).toBe(START);
    clock.advanceNs(1_000_000);
    expect(time()).toBe(START + 1_000_000n);
  });

  test('reading the low half latches the high one', () => {
    const { rtc, clock } = setUp();
    clock.wall = 0x1_ffff_ffffn;
    expect(rtc.read(TIME_LOW, 4)).toBe(0xffff_ffff);
    clock.advanceNs(1);
    expect(rtc.read(TIME_HIGH, 4)).toBe(1);
    expect(rtc.read(TIME_LOW, 4)).toBe(0);
    expect(rtc.read(TIME_HIGH, 4)).toBe(2);
  });

  test('can be set, and goes on from there', () => {
    const { rtc, clock, time } = setUp();
    rtc.write(TIME_HIGH, 4, 2);
    rtc.write(TIME_LOW, 4, 7);
    expect(time()).toBe(0x2_0000_0007n);
    clock.advanceNs(100);
    expect(time()).toBe(0x2_0000_006bn);
  });
});

describe('the alarm', () => {
  test('goes off when its time has come, once, and interrupts when that is enabled', () => {
    const { rtc, clock, line, setAlarm } = setUp();
    setAlarm(START + 500n);
    rtc.write(IRQ_ENABLED, 4, 1);
    expect([rtc.read(ALARM_STATUS, 4), rtc.dueInNs(), line.level]).toEqual([1, 500, false]);
    clock.advanceNs(499);
    rtc.poll();
    expect(line.level).toBe(false);
    clock.advanceNs(1);
    expect(rtc.dueInNs()).toBe(0);
    rtc.poll();
    expect([rtc.read(ALARM_STATUS, 4), rtc.dueInNs(), line.level]).toEqual([0, Infinity, true]);
    rtc.write(CLEAR_INTERRUPT, 4, 1);
    rtc.poll();
    expect(line.level).toBe(false);
  });

  test('set into the past goes off at once', () => {
    const { rtc, line, setAlarm } = setUp();
    rtc.write(IRQ_ENABLED, 4, 1);
    setAlarm(START - 1n);
    expect([rtc.read(ALARM_STATUS, 4), line.level]).toEqual([0, true]);
  });

  test('an interrupt that is not enabled waits for being enabled', () => {
    const { rtc, line, setAlarm } = setUp();
    setAlarm(START);
    expect(line.level).toBe(false);
    rtc.write(IRQ_ENABLED, 4, 1);
    expect(line.level).toBe(true);
    rtc.write(IRQ_ENABLED, 4, 0);
    expect(line.level).toBe(false);
  });

  test('can be called off', () => {
    const { rtc, clock, line, setAlarm } = setUp();
    rtc.write(IRQ_ENABLED, 4, 1);
    setAlarm(START + 10n);
    rtc.write(CLEAR_ALARM, 4, 1);
    clock.advanceNs(100);
    rtc.poll();
    expect([line.level, rtc.dueInNs()]).toEqual([false, Infinity]);
  });

  test('setting the time past it sets it off', () => {
    const { rtc, line, setAlarm } = setUp();
    rtc.write(IRQ_ENABLED, 4, 1);
    setAlarm(START + (1n << 40n));
    rtc.write(TIME_HIGH, 4, 0x2000_0000);
    expect(line.level).toBe(true);
  });

  test('reads back, and one in the far future is no reason to wake up', () => {
    const { rtc, setAlarm } = setUp();
    setAlarm(0xfedc_ba98_7654_3210n);
    expect([rtc.read(ALARM_LOW, 4), rtc.read(ALARM_HIGH, 4), rtc.dueInNs()]).toEqual([
      0x7654_3210,
      0xfedc_ba98,
      Infinity,
    ]);
  });
});

test('other registers read zero and ignore writes', () => {
  const { rtc, time } = setUp();
  rtc.write(0x40, 4, 1);
  expect([rtc.read(0x40, 4), rtc.read(CLEAR_ALARM, 4), rtc.read(CLEAR_INTERRUPT, 4), time()]).toEqual([0, 0, 0, START]);
});

test('its node is as QEMU has it', () => {
  expect(goldfishRtcNode(MEMORY_MAP.rtc, 11)).toEqual({
    name: 'rtc@101000',
    properties: {
      compatible: 'google,goldfish-rtc',
      reg: [0, 0x101000, 0, 0x1000],
      interrupts: 11,
      'interrupt-parent': { phandleOf: 'plic' },
    },
  });
});

const lines = new WeakMap<GoldfishRtc, FakeLine>();
deviceLifecycle('the goldfish RTC', {
  make() {
    const { rtc, line } = setUp();
    lines.set(rtc, line);
    return rtc;
  },
  disturb(rtc) {
    rtc.write(TIME_HIGH, 4, 5);
    rtc.read(TIME_LOW, 4);
    rtc.write(IRQ_ENABLED, 4, 1);
    rtc.write(ALARM_LOW, 4, 1);
    rtc.write(ALARM_HIGH, 4, 9);
    rtc.write(ALARM_LOW, 4, 2);
  },
  observe: (rtc) => [lines.get(rtc)?.level, rtc.dueInNs()],
});
