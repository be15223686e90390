/** Writes into pages that hold code: what must be decoded or compiled anew, and what need not be told to anybody. */

import { describe, expect, test, vi } from 'vitest';
import { assert } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { assembleProgram } from '../isa/assemble-program.ts';
import { Domain } from './domain.ts';
import { Engine } from './engine.ts';
import { EXIT } from './interpreter.ts';

const RAM = 0x8000_0000;

/** Runs the program in M-mode to its WFI; gives a0 and how many writes were told to the domain. */
async function run(text: string): Promise<{ a0: bigint; told: number; domain: Domain }> {
  const domain = new Domain([{ base: RAM, sizeBytes: 64 * PAGE_SIZE, writable: true }]);
  const silent = { mmioLoad: () => 0, mmioStore: () => 0, readTime: () => {}, timerChanged: () => {} };
  // The interpreter alone: how soon code is compiled must not change the counts.
  const engine = await Engine.create(domain, silent, { kind: 'interpreter' });
  const told = vi.spyOn(domain, 'codeWritten');
  const { bytes } = assembleProgram(`${text}\n1: wfi\n j 1b`, BigInt(RAM));
  for (const [at, byte] of bytes.entries()) {
    domain.u8[domain.guest.host(domain.guest.pageIndex(RAM + at), true) + (at % PAGE_SIZE)] = byte;
  }
  const hart = engine.addHart(0);
  hart.reset(BigInt(RAM));
  for (let turn = 0; turn < 10; turn++) {
    if (engine.run(hart, 100_000) === EXIT.WAIT) return { a0: hart.x(10), told: told.mock.calls.length, domain };
  }
  assert(false, 'the program reaches its wfi');
}

describe('a store beside code', () => {
  test('in a line of its own is told to nobody', async () => {
    const { a0, told } = await run(`
        la t0, cell
        li t1, 100
1:      sd t1, 0(t0)
        ld t2, 0(t0)
        add a0, a0, t2
        addi t1, t1, -1
        bnez t1, 1b
        j end
        .align 6
cell:   .dword 0
        .align 6
end:`);
    expect(a0).toBe(5050n);
    expect(told).toBe(0);
  });

  test.each(['sd t1, -1(t0)', 'sw t1, -1(t0)', 'sh t1, -1(t0)'])(
    'is seen when only its end reaches a line of code: %s',
    async (store) => {
      // The store's last bytes are the low ones of the first instruction of the line.
      const { told } = await run(`
        la t0, target
        li t1, 0
        jal ra, target
        li t1, 0x1300
        ${store}
        j end
        .align 6
        .zero 60
        .word 0
target: addi x0, x0, 0
        ret
        .align 6
end:`);
      expect(told).toBe(1);
    },
  );
});

describe('a store into code', () => {
  /** Instructions that are written over each other at `slot`, with what they add to a0. */
  const patched = (slot: string, rounds: number, value: string, store: string): string => `
        li t1, ${rounds}
        la t0, slot
        la t3, table
again:  ${value}
        ${store}
        jal ra, code
        addi t1, t1, -1
        bnez t1, again
        j end
        .align 3
code:   ${slot}
        ret
        .align 3
table:
        .align 6
end:`;

  test.each([1, 7, 8, 9, 40])('is seen every time, %i times over', async (rounds) => {
    // addi a0, a0, t1
    const { a0 } = await run(
      patched('slot: addi a0, a0, 0', rounds, 'slli t2, t1, 20\n li t4, 0x50513\n add t2, t2, t4', 'sw t2, 0(t0)'),
    );
    expect(a0).toBe(BigInt((rounds * (rounds + 1)) / 2));
  });

  test('is seen when it changes only the upper half of an instruction', async () => {
    const { a0 } = await run(patched('slot: addi a0, a0, 0', 5, 'slli t2, t1, 4\n addi t2, t2, 5', 'sh t2, 2(t0)'));
    expect(a0).toBe(15n);
  });

  test('is seen when it changes the second of two instructions that are done as one', async () => {
    const { a0 } = await run(
      patched(
        'lui t2, 0x1\nslot: addi t2, t2, 0\n add a0, a0, t2',
        5,
        'slli t2, t1, 20\n li t4, 0x38393\n add t2, t2, t4',
        'sw t2, 0(t0)',
      ),
    );
    expect(a0).toBe(5n * 0x1000n + 15n);
  });

  test('leaves the rest of the page decoded, until it happens too often', async () => {
    const once = await run(patched('slot: addi a0, a0, 0', 1, 'li t2, 0x50513', 'sw t2, 0(t0)'));
    expect(once.domain.isDecoded(once.domain.guest.frameNumber(0), 0)).toBe(true);
    const often = await run(patched('slot: addi a0, a0, 0', 9, 'li t2, 0x50513', 'sw t2, 0(t0)'));
    expect(often.domain.isDecoded(often.domain.guest.frameNumber(0), 0)).toBe(false);
  });
});
