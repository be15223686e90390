/**
 * The test device through which a guest ends the machine (SiFive's "test finisher", as QEMU's `virt` machine has it): one register, of
 * which a write says how. The device tree offers it as a syscon for poweroff and reboot.
 */

import { SavedReader } from '../base/saved.ts';
import type { Saved } from '../base/saved.ts';
import type { AccessSize, MmioDevice, Placement, TreeNode } from './device.ts';
import type { EndingListener } from './ending.ts';
import { TEST, regCells } from './fdt/tree-values.ts';
import { MEMORY_MAP } from './memory-map.ts';

/** Bits 15:0 of what is written to FINISH; bits 31:16 are the code of a failure. */
const FINISH = 0;
const FAIL = 0x3333;
const PASS = 0x5555;
const RESET = 0x7777;

export class SifiveTest implements MmioDevice {
  readonly name = `test@${MEMORY_MAP.test.base.toString(16)}`;
  readonly accessSizes = 2 | 4;
  readonly #ended: EndingListener;

  constructor(ended: EndingListener) {
    this.#ended = ended;
  }

  reset(): void {}

  read(): number {
    return 0;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    if (offset !== FINISH) return;
    switch (value & 0xffff) {
      case PASS:
        return this.#ended({ kind: 'poweroff' });
      case RESET:
        return this.#ended({ kind: 'reboot' });
      case FAIL:
        // A failure with the code 0 is still one.
        return this.#ended({ kind: 'failure', code: value >>> 16 || 1 });
    }
  }

  save(): Saved {
    return null;
  }

  restore(state: Saved): void {
    if (state !== null) new SavedReader(state, this.name).refuse('holds something, and this device keeps nothing');
  }
}

/** The node of the device tree (bindings: mfd/syscon, and what poweroff and reboot refer to). */
export function sifiveTestNode(placement: Placement): TreeNode {
  return {
    name: `test@${placement.base.toString(16)}`,
    label: TEST.phandleOf,
    properties: { compatible: ['sifive,test1', 'sifive,test0', 'syscon'], reg: regCells(placement) },
  };
}
