import { describe, expect, test } from 'vitest';
import { AssertionFailure } from '../base/assert.ts';
import { deviceLifecycle } from './device-lifecycle.suite.ts';
import type { InterruptLine } from './device.ts';
import { MIP } from './hart-port.ts';
import { MEMORY_MAP, PLIC_SOURCES } from './memory-map.ts';
import { Plic, plicNode } from './plic.ts';
import { fakeHarts } from './testing/doubles.ts';
import type { FakeHart } from './testing/doubles.ts';

const PENDING = 0x1000;
const M0 = 0;
const S0 = 1;
const S1 = 3;

function enable(context: number, word = 0): number {
  return 0x2000 + 0x80 * context + 4 * word;
}
function threshold(context: number): number {
  return 0x20_0000 + 0x1000 * context;
}
function claim(context: number): number {
  return threshold(context) + 4;
}

/** A PLIC for two harts, with these sources enabled for S-mode of hart 0 at priority 1. */
function setUp(...sources: number[]): { plic: Plic; harts: FakeHart[]; hart: FakeHart; lines: InterruptLine[] } {
  const harts = fakeHarts(2);
  const plic = new Plic(harts);
  for (const source of sources) {
    plic.write(source * 4, 4, 1);
    plic.write(enable(S0, source >>> 5), 4, plic.read(enable(S0, source >>> 5), 4) | (1 << (source & 31)));
  }
  return { plic, harts, hart: harts[0]!, lines: sources.map((source) => plic.line(source)) };
}

describe('delivery', () => {
  test('a raised line reaches the contexts that enabled it, and only them', () => {
    const { plic, harts, lines } = setUp(10);
    lines[0]!.set(true);
    expect(harts.map((hart) => hart.mip)).toEqual([MIP.SEIP, 0]);
    plic.write(enable(M0), 4, 1 << 10);
    expect(harts[0]!.mip).toBe(MIP.SEIP | MIP.MEIP);
    plic.write(enable(S1), 4, 1 << 10);
    expect(harts[1]!.mip).toBe(MIP.SEIP);
  });

  test('priority 0 never interrupts, and the threshold masks what is not above it', () => {
    const { plic, hart, lines } = setUp(5);
    lines[0]!.set(true);
    plic.write(5 * 4, 4, 0);
    expect(hart.mip).toBe(0);
    plic.write(5 * 4, 4, 3);
    plic.write(threshold(S0), 4, 3);
    expect(hart.mip).toBe(0);
    plic.write(threshold(S0), 4, 2);
    expect(hart.mip).toBe(MIP.SEIP);
  });

  test('the pending register shows the request even when nobody enabled it, and cannot be written', () => {
    const { plic } = setUp();
    plic.line(33).set(true);
    expect(plic.read(PENDING + 4, 4)).toBe(2);
    plic.write(PENDING + 4, 4, 0);
    expect(plic.read(PENDING + 4, 4)).toBe(2);
  });

  test('a request stays when the line falls before it is claimed', () => {
    const { plic, hart, lines } = setUp(10);
    lines[0]!.set(true);
    lines[0]!.set(false);
    expect(hart.mip).toBe(MIP.SEIP);
    expect(plic.read(claim(S0), 4)).toBe(10);
    plic.write(claim(S0), 4, 10);
    expect(hart.mip).toBe(0);
  });
});

describe('claim and complete', () => {
  test('the highest priority is claimed first, the lowest source number among equals', () => {
    const { plic, lines } = setUp(3, 40, 96, 7);
    plic.write(40 * 4, 4, 5);
    plic.write(96 * 4, 4, 5);
    for (const line of lines) line.set(true);
    expect([1, 2, 3, 4, 5].map(() => plic.read(claim(S0), 4))).toEqual([40, 96, 3, 7, 0]);
  });

  test('a claim takes the request away from everybody', () => {
    const { plic, harts, lines } = setUp(10);
    plic.write(enable(S1), 4, 1 << 10);
    lines[0]!.set(true);
    expect(plic.read(claim(S0), 4)).toBe(10);
    expect(harts.map((hart) => hart.mip)).toEqual([0, 0]);
    expect(plic.read(claim(S1), 4)).toBe(0);
  });

  test('a line still high at completion asks again, a low one does not', () => {
    const { plic, hart, lines } = setUp(10);
    lines[0]!.set(true);
    plic.read(claim(S0), 4);
    expect(plic.read(PENDING, 4)).toBe(0);
    plic.write(claim(S0), 4, 10);
    expect(hart.mip).toBe(MIP.SEIP);
    plic.read(claim(S0), 4);
    lines[0]!.set(false);
    plic.write(claim(S0), 4, 10);
    expect(hart.mip).toBe(0);
  });

  test('while in service, falling and rising again is one request after completion', () => {
    const { plic, lines } = setUp(10);
    lines[0]!.set(true);
    plic.read(claim(S0), 4);
    lines[0]!.set(false);
    lines[0]!.set(true);
    expect(plic.read(claim(S0), 4)).toBe(0);
    plic.write(claim(S0), 4, 10);
    expect(plic.read(claim(S0), 4)).toBe(10);
  });

  test('the threshold does not hold back a claim', () => {
    const { plic, hart, lines } = setUp(10);
    plic.write(threshold(S0), 4, 7);
    lines[0]!.set(true);
    expect(hart.mip).toBe(0);
    expect(plic.read(claim(S0), 4)).toBe(10);
  });

  test('completing a source that is not enabled, not in service or not there is ignored', () => {
    const { plic, hart, lines } = setUp(10);
    lines[0]!.set(true);
    plic.read(claim(S0), 4);
    for (const source of [11, 0, 97, 128, 0xffff_ffff]) plic.write(claim(S0), 4, source);
    plic.write(enable(S0), 4, 0);
    plic.write(claim(S0), 4, 10);
    plic.write(enable(S0), 4, 1 << 10);
    expect(hart.mip).toBe(0);
    plic.write(claim(S0), 4, 10);
    expect(hart.mip).toBe(MIP.SEIP);
  });
});

describe('registers', () => {
  test('priorities and thresholds have three bits', () => {
    const { plic } = setUp();
    plic.write(4, 4, 0xffff_ffff);
    plic.write(threshold(S1), 4, 0xffff_ffff);
    expect([plic.read(4, 4), plic.read(threshold(S1), 4)]).toEqual([7, 7]);
  });

  test('only sources 1 to 96 can be enabled or given a priority', () => {
    const { plic } = setUp();
    for (let word = 0; word < 32; word++) plic.write(enable(S0, word), 4, 0xffff_ffff);
    expect(Array.from({ length: 5 }, (_, word) => plic.read(enable(S0, word), 4))).toEqual([
      0xffff_fffe, 0xffff_ffff, 0xffff_ffff, 1, 0,
    ]);
    plic.write(0, 4, 7);
    plic.write((PLIC_SOURCES + 1) * 4, 4, 7);
    expect([plic.read(0, 4), plic.read((PLIC_SOURCES + 1) * 4, 4)]).toEqual([0, 0]);
  });

  test('contexts of harts that are not there read zero and ignore writes', () => {
    const { plic } = setUp();
    for (const offset of [enable(4), threshold(4), claim(4), threshold(0) + 8, MEMORY_MAP.plic.sizeBytes - 4]) {
      plic.write(offset, 4, 7);
      expect(plic.read(offset, 4)).toBe(0);
    }
  });

  test('there is no line for source 0 or beyond the last', () => {
    expect(() => setUp().plic.line(0)).toThrow(AssertionFailure);
    expect(() => setUp().plic.line(97)).toThrow(AssertionFailure);
  });
});

test('a restored PLIC drives its harts', () => {
  const { plic, lines } = setUp(10);
  lines[0]!.set(true);
  const harts = fakeHarts(2);
  const other = new Plic(harts);
  harts[1]!.mip = MIP.MEIP;
  other.restore(plic.save());
  expect(harts.map((hart) => hart.mip)).toEqual([MIP.SEIP, 0]);
});

test('its node is as QEMU has it', () => {
  expect(plicNode(MEMORY_MAP.plic, 2)).toEqual({
    name: 'plic@c000000',
    label: 'plic',
    properties: {
      compatible: ['sifive,plic-1.0.0', 'riscv,plic0'],
      reg: [0, 0xc000000, 0, 0x600000],
      'interrupt-controller': true,
      '#interrupt-cells': 1,
      '#address-cells': 0,
      'interrupts-extended': [
        { phandleOf: 'cpu0_intc' },
        11,
        { phandleOf: 'cpu0_intc' },
        9,
        { phandleOf: 'cpu1_intc' },
        11,
        { phandleOf: 'cpu1_intc' },
        9,
      ],
      'riscv,ndev': 96,
    },
  });
});

const harts = new WeakMap<Plic, FakeHart[]>();
deviceLifecycle('the PLIC', {
  make() {
    const its = fakeHarts(2);
    const plic = new Plic(its);
    harts.set(plic, its);
    return plic;
  },
  disturb(plic) {
    for (const source of [1, 5, 96]) {
      plic.write(source * 4, 4, 3);
      plic.line(source).set(true);
    }
    plic.write(enable(S0), 4, 0x22);
    plic.write(enable(S1, 3), 4, 1);
    plic.write(threshold(S1), 4, 2);
    plic.read(claim(S0), 4);
  },
  observe: (plic) => harts.get(plic)?.map((hart) => hart.mip),
  contradictions: {
    'a priority that does not exist': (saved) => ({ ...(saved as object), priority: new Uint8Array(97).fill(8) }),
    'source 0 pending': (saved) => ({ ...(saved as object), pending: [1, 0, 0, 0] }),
    'source 97 enabled': (saved) => ({
      ...(saved as object),
      contexts: Array.from({ length: 4 }, () => ({ enable: [0, 0, 0, 2], threshold: 0 })),
    }),
    'a source pending while it is in service': (saved) => ({
      ...(saved as object),
      pending: [2, 0, 0, 0],
      inService: [2, 0, 0, 0],
    }),
    'the contexts of another number of harts': (saved) => ({ ...(saved as object), contexts: [] }),
  },
});
