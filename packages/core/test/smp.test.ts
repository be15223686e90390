/** Several harts: programs give what they must on every tier, and on QEMU. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { TIERS, type Tier, onTier } from '../src/engine/testing/tiers.ts';
import { Machine } from '../src/machine/machine.ts';
import type { MachineOptions } from '../src/machine/options.ts';
import { bareProgram } from '../src/machine/testing/bare-machine.ts';
import { MachineRunner } from '../src/vm/runner.ts';
import { OPENSBI, debianFile, missing } from '../src/vm/testing/firmware.ts';
import { Transcript, nodeClock, nodeEntropy, nodeTurns, within } from '../src/vm/testing/node-host.ts';
import {
  type SmpProgram,
  changedCode,
  counters,
  interrupts,
  messagePassing,
  storeBuffer,
} from '../src/machine/testing/smp-programs.ts';
import { supervisorProgram } from '../src/machine/testing/smp-supervisor-program.ts';

const PROGRAMS = [
  counters(2, 3000),
  counters(8, 200),
  messagePassing(2000),
  storeBuffer(1000),
  interrupts(4, 200),
  changedCode(3, 200),
];
/** Where kernels are that OpenSBI starts. */
const KERNEL = 0x8020_0000;
const SUPERVISOR = [supervisorProgram(2, 300), supervisorProgram(4, 100)];

async function outputOf(
  { text, harts }: SmpProgram,
  base: number | undefined,
  engine: Tier,
  firmware: MachineOptions['firmware'],
  prepare: (machine: Machine) => void = () => undefined,
): Promise<string> {
  const serial = new Transcript();
  const machine = await Machine.create({
    memoryBytes: 16 << 20,
    harts,
    clock: nodeClock,
    entropy: nodeEntropy,
    serialOutput: serial,
    firmware,
    kernel: bareProgram(text, base).payload,
    ...onTier(engine),
  });
  prepare(machine);
  const runner = new MachineRunner(machine, nodeTurns);
  runner.start();
  try {
    expect(await within(runner.ended, 60_000, `the program, which wrote ${serial.text},`)).toEqual({
      kind: 'poweroff',
    });
  } finally {
    await runner.stop();
  }
  return serial.text;
}

describe.each(TIERS)('on one thread, on the %s', (engine) => {
  test.each(PROGRAMS)('$harts harts: $name', async (program) => {
    expect(await outputOf(program, undefined, engine, 'none')).toBe(program.expected);
  });

  test.each(SUPERVISOR)('$harts harts: $name', async (program) => {
    expect(await outputOf(program, KERNEL, engine, 'own')).toBe(program.expected);
  });
});

const STOLEN_TIME: SmpProgram = {
  name: 'stolen time',
  harts: 2,
  expected: 'stolen',
  text: `
        mv    s0, a0
        li    a0, 1
        la    a1, spin
        li    a7, 0x48534d
        li    a6, 0
        ecall
        la    a0, shared
        li    a1, 0
        li    a2, 0
        li    a7, 0x535441
        li    a6, 0
        ecall
        bnez  a0, end
        la    s1, shared
        li    t1, 1000000        # a millisecond of it
1:      ld    t0, 8(s1)
        bltu  t0, t1, 1b
        lw    t0, 0(s1)
        beqz  t0, end
        li    t0, 0x10000000
        la    t1, text
2:      lbu   t2, 0(t1)
        beqz  t2, end
        sb    t2, 0(t0)
        addi  t1, t1, 1
        j     2b
end:    li    a0, 0
        li    a1, 0
        li    a6, 0
        li    a7, 0x53525354
        ecall
spin:   j     spin
text:   .dword 0x6e656c6f7473
        .balign 64
shared: .zero 64`,
};

describe('stolen time', () => {
  test('of a hart that others keep from running is in its memory', async () => {
    expect(await outputOf(STOLEN_TIME, KERNEL, 'jit', 'own')).toBe(STOLEN_TIME.expected);
  });

  test('is also that of a hart whose machine may have no more of the host', async () => {
    const alone = { ...STOLEN_TIME, harts: 1 };
    const output = outputOf(alone, KERNEL, 'jit', 'own', ({ allowance }) =>
      allowance.setRate(0.5, nodeClock.monotonicNs()),
    );
    expect(await output).toBe(STOLEN_TIME.expected);
  });
});

const absent = missing(OPENSBI);

test.skipIf(absent !== undefined).each(SUPERVISOR)(
  `OpenSBI does the same for $harts harts${absent === undefined ? '' : `: ${absent}`}`,
  async (program) => {
    const output = await outputOf(program, KERNEL, 'jit', debianFile(OPENSBI));
    expect(output.replaceAll('\r', '')).toMatch(new RegExp(`\n${program.expected}$`));
  },
);

function qemu({ harts, text }: SmpProgram, base: number | undefined, firmware: 'none' | 'default'): string {
  const folder = mkdtempSync(join(tmpdir(), 'smp-'));
  try {
    const path = join(folder, 'program.elf');
    writeFileSync(path, bareProgram(text, base).payload.bytes);
    const machine = ['-M', 'virt', '-smp', String(harts), '-m', '64', '-bios', firmware, '-kernel', path];
    const output = execFileSync('qemu-system-riscv64', [...machine, '-nographic', '-monitor', 'none'], {
      timeout: 60_000,
      encoding: 'utf8',
      input: '',
    });
    return output.replaceAll('\r', '');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('QEMU', () => {
  test.each(PROGRAMS.filter(({ notOnQemu }) => notOnQemu === undefined))('$harts harts: $name', (program) => {
    expect(qemu(program, undefined, 'none')).toBe(program.expected);
  });

  // Which hart OpenSBI boots on is left to chance there: the sum of what the others were given differs. And QEMU 7.2 executes old code now and then.
  test.each(SUPERVISOR)('$harts harts: $name', (program) => {
    const comparable = (text: string): string[] => text.split('\n').slice(-10).toSpliced(5, 1).toSpliced(1, 1);
    expect(comparable(qemu(program, KERNEL, 'default'))).toEqual(comparable(program.expected));
  });
});
