import { expect, test } from 'vitest';
import { SavedStateError } from '../base/saved.ts';
import type { Ending } from './ending.ts';
import { MEMORY_MAP } from './memory-map.ts';
import { SifiveTest, sifiveTestNode } from './sifive-test.ts';

function endings(...writes: readonly (readonly [offset: number, value: number])[]): Ending[] {
  const seen: Ending[] = [];
  const device = new SifiveTest((ending) => seen.push(ending));
  for (const [offset, value] of writes) device.write(offset, 4, value);
  return seen;
}

test('0x5555 powers off, 0x7777 reboots, 0x3333 fails with the code above it', () => {
  expect(endings([0, 0x5555])).toEqual([{ kind: 'poweroff' }]);
  expect(endings([0, 0x7777])).toEqual([{ kind: 'reboot' }]);
  expect(endings([0, 0x0007_3333])).toEqual([{ kind: 'failure', code: 7 }]);
  expect(endings([0, 0xffff_3333])).toEqual([{ kind: 'failure', code: 0xffff }]);
});

test('a failure without a code is still a failure', () => {
  expect(endings([0, 0x3333])).toEqual([{ kind: 'failure', code: 1 }]);
});

test('other values and other registers do nothing', () => {
  expect(endings([0, 0], [0, 0x1234], [4, 0x5555])).toEqual([]);
});

test('it reads as zero, keeps nothing and takes nothing back', () => {
  const device = new SifiveTest(() => {});
  expect(device.read()).toBe(0);
  device.restore(device.save());
  expect(() => device.restore({})).toThrow(SavedStateError);
});

test('its node is as QEMU has it', () => {
  expect(sifiveTestNode(MEMORY_MAP.test)).toEqual({
    name: 'test@100000',
    label: 'test',
    properties: { compatible: ['sifive,test1', 'sifive,test0', 'syscon'], reg: [0, 0x100000, 0, 0x1000] },
  });
});
