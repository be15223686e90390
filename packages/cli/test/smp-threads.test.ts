/** Harts on threads of their own: the same programs, Debian, and what a machine does as a whole: stopping, saving, starting again. */

import { Machine, type MachineOptions, MachineRunner } from '@ringfence/core';
import { bareProgram } from '@ringfence/core/testing/bare-machine';
import { Transcript, nodeClock, nodeEntropy, nodeTurns, within } from '@ringfence/core/testing/node-host';
import {
  type SmpProgram,
  changedCode,
  counters,
  interrupts,
  messagePassing,
  storeBuffer,
} from '@ringfence/core/testing/smp';
import { supervisorProgram } from '@ringfence/core/testing/smp-supervisor';
import { TIERS, onTier } from '@ringfence/core/testing/tiers';
import process from 'node:process';
import { describe, expect, test } from 'vitest';
import { NodePcpus } from '@ringfence/host';

const PROGRAMS = [
  counters(2, 1000),
  counters(8, 50),
  messagePassing(500),
  storeBuffer(300),
  interrupts(4, 50),
  changedCode(3, 100),
];
/** Where kernels are that an SBI starts. */
const KERNEL = 0x8020_0000;
const SUPERVISOR = [supervisorProgram(2, 50), supervisorProgram(4, 20)];

interface Running {
  readonly machine: Machine;
  readonly runner: MachineRunner;
  readonly serial: Transcript;
  [Symbol.asyncDispose](): Promise<void>;
}

async function machineOf({ text, harts }: SmpProgram, options: Partial<MachineOptions> = {}): Promise<Running> {
  const serial = new Transcript();
  const machine = await Machine.create({
    memoryBytes: 16 << 20,
    harts,
    clock: nodeClock,
    entropy: nodeEntropy,
    serialOutput: serial,
    firmware: 'none',
    kernel: bareProgram(text, options.firmware === 'own' ? KERNEL : undefined).payload,
    pcpus: new NodePcpus(nodeClock, 2),
    ...options,
  });
  const runner = new MachineRunner(machine, nodeTurns);
  return {
    machine,
    runner,
    serial,
    async [Symbol.asyncDispose]() {
      await runner.stop();
      machine.close();
    },
  };
}

describe.each(TIERS)('on two threads, on the %s', (engine) => {
  test.each([
    ...PROGRAMS.map((program) => ({ ...program, firmware: 'none' as const })),
    ...SUPERVISOR.map((program) => ({ ...program, firmware: 'own' as const })),
  ])('$harts harts: $name', async (program) => {
    await using running = await machineOf(program, { ...onTier(engine), firmware: program.firmware });
    running.runner.start();
    expect(await within(running.runner.ended, 150_000, 'the program')).toEqual({ kind: 'poweroff' });
    expect(running.serial.text).toBe(program.expected);
  });
});

/** Each hart counts in a cell of its own, for ever, but those of `waiting`. */
const counting = (harts: number, waiting: readonly number[] = []): SmpProgram => ({
  name: 'counting',
  harts,
  expected: '',
  text: `
        csrr s0, mhartid
        slli t0, s0, 6
        la   s1, cells
        add  s1, s1, t0
        csrw mie, zero
        ${waiting.map((hart) => `li t0, ${hart}\n beq t0, s0, wait`).join('\n')}
1:      addi s2, s2, 1
        sd   s2, 0(s1)
        j    1b
wait:   wfi
        j    wait
        .balign 4096
cells:  .zero ${64 * harts}`,
});
const COUNTING = counting(3);

function counts({ machine }: Running, program = COUNTING): bigint[] {
  const bytes = new Uint8Array(64 * program.harts);
  const cells = Number(bareProgram(program.text).symbols.get('cells'));
  machine.ram.read(cells, bytes);
  const view = new DataView(bytes.buffer);
  return Array.from({ length: program.harts }, (_, hart) => view.getBigUint64(64 * hart, true));
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => void nodeTurns.after(ms, resolve));

async function untilAllCount(running: Running, beyond: readonly bigint[] = [0n, 0n, 0n]): Promise<bigint[]> {
  for (let tries = 0; tries < 500; tries++) {
    const now = counts(running);
    if (now.every((count, hart) => count > (beyond[hart] ?? 0n))) return now;
    await pause(10);
  }
  throw new Error(`${counts(running).join()} is not beyond ${beyond.join()}`);
}

describe('a machine whose harts have threads', () => {
  test('moves one of two harts that share a thread to another that has nothing to do', async () => {
    const program = counting(4, [1, 3]);
    await using running = await machineOf(program);
    running.runner.start();
    for (let tries = 0; running.machine.statistics()['hartMoves'] === 0; tries++) {
      if (tries === 1000) throw new Error('no hart has moved');
      await pause(5);
    }
    const before = counts(running, program);
    await pause(100);
    const moved = counts(running, program).map((count, hart) => count - before[hart]!);
    expect(moved.map((count) => count > 0n)).toEqual([true, false, true, false]);
  });

  test.each([3, 8])('gives %i harts that compute the same time on two threads', async (harts) => {
    const program = counting(harts);
    // Compiled, which each thread is in its own time, they would not count alike in the same time.
    await using running = await machineOf(program, onTier('interpreter'));
    running.runner.start();
    await pause(1000);
    const before = counts(running, program);
    await pause(2000);
    await running.runner.stop();
    const had = counts(running, program).map((count, hart) => Number(count - before[hart]!));
    const mean = had.reduce((sum, count) => sum + count, 0) / harts;
    for (const count of had) {
      expect(count).toBeGreaterThan(0.6 * mean);
      expect(count).toBeLessThan(1.6 * mean);
    }
  });

  test('has no more of the host’s processors than it may, all its threads together', async () => {
    const program = counting(2);
    // As in a process that is the machine's alone: whatever it does is the machine's.
    const processNs = (): number => 1000 * (process.cpuUsage().user + process.cpuUsage().system);
    const clock = { ...nodeClock, processNs };
    await using running = await machineOf(program, { clock, pcpus: new NodePcpus(clock, 2) });
    running.machine.allowance.setRate(0.3, nodeClock.monotonicNs());
    running.runner.start();
    // What the host compiles of it at first is the machine's, too, and nothing holds that back: it is paid for afterwards.
    await pause(4000);
    const [before, start, cpu] = [counts(running, program), performance.now(), process.cpuUsage()];
    await pause(5000);
    const { user, system } = process.cpuUsage(cpu);
    expect((user + system) / 1000 / (performance.now() - start)).toBeLessThan(0.4);
    for (const [hart, count] of counts(running, program).entries()) expect(count).toBeGreaterThan(before[hart]!);
    expect(running.machine.allowance.figures.heldNs).toBeGreaterThan(1e9);
  });

  test('stands still while it is quiet, and goes on afterwards', async () => {
    await using running = await machineOf(COUNTING);
    running.runner.start();
    await untilAllCount(running);
    await running.machine.quiesce();
    const still = counts(running);
    await pause(30);
    expect(counts(running)).toEqual(still);
    running.machine.resume();
    running.machine.run(1);
    await untilAllCount(running, still);
  });

  test('is saved, and goes on in a machine of one thread', async () => {
    await using running = await machineOf(COUNTING);
    running.runner.start();
    await untilAllCount(running);
    await running.runner.stop();
    const saved = running.machine.save();
    const page = new Uint8Array(4096);
    await using other = await machineOf(COUNTING, { pcpus: new NodePcpus(nodeClock, 1) });
    for (let at = 0x8000_0000; at < 0x8000_0000 + running.machine.memoryBytes; at += page.length) {
      running.machine.ram.read(at, page);
      other.machine.ram.write(at, page);
    }
    other.machine.restore(saved);
    const before = counts(running);
    expect(counts(other)).toEqual(before);
    other.runner.start();
    await untilAllCount(other, before);
  });

  test('starts again after a reset', async () => {
    await using running = await machineOf(COUNTING);
    running.runner.start();
    const before = await untilAllCount(running);
    await running.runner.stop();
    running.machine.reset();
    running.machine.resume();
    expect(counts(running)).toEqual([0n, 0n, 0n]);
    const runner = new MachineRunner(running.machine, nodeTurns);
    runner.start();
    await untilAllCount(
      running,
      before.map((count) => count / 100n),
    );
    await runner.stop();
  });

  test('executes what a device has written over code, behind the next fence.i', async () => {
    const program: SmpProgram = {
      name: 'code from outside',
      harts: 2,
      expected: '',
      text: `
        csrr s0, mhartid
        slli t0, s0, 6
        la   s1, cells
        add  s1, s1, t0
        la   s2, code
1:      fence.i
        jalr s2
        sd   a0, 0(s1)
        j    1b
        .balign 4096
code:   addi a0, zero, 0
        ret
        .balign 4096
cells:  .zero 128`,
    };
    const { symbols } = bareProgram(program.text);
    const [code, cells] = [Number(symbols.get('code')), Number(symbols.get('cells'))];
    await using running = await machineOf(program, onTier('jit'));
    running.runner.start();
    for (let value = 1; value <= 100; value++) {
      const word = 0x513 | (value << 20);
      running.machine.ram.write(code, Uint8Array.of(word, word >>> 8, word >>> 16, word >>> 24));
      const seen = (): boolean => [0, 64].every((at) => running.machine.ram.load32(cells + at) === value);
      for (let tries = 0; !seen(); tries++) {
        if (tries === 2000) throw new Error(`the code that gives ${value} is not executed`);
        await pause(tries < 10 ? 0 : 5);
      }
    }
  });

  test('costs its host no time while all wait', async () => {
    const waiting = { ...COUNTING, text: 'csrw mie, zero\n1: wfi\n j 1b' };
    await using running = await machineOf(waiting);
    let turns = 0;
    const runner = new MachineRunner(running.machine, {
      ...nodeTurns,
      soon(callback) {
        turns++;
        nodeTurns.soon(callback);
      },
    });
    runner.start();
    await pause(300);
    expect(turns).toBeLessThan(10);
    await runner.stop();
  });

  test('fails when a thread does, and says why', async () => {
    const program = new URL(`data:text/javascript,${encodeURIComponent("throw new Error('It broke')")}`);
    await using running = await machineOf(COUNTING, { pcpus: new NodePcpus(nodeClock, 2, program) });
    running.runner.start();
    await expect(within(running.runner.ended, 10_000, 'the failure')).rejects.toThrow('It broke');
  });

  test('fails when what a thread executes does, and says why', async () => {
    /** Each thread gets an interpreter that there is nothing of. */
    class Broken extends NodePcpus {
      override start(...[setup, failed]: Parameters<NodePcpus['start']>): ReturnType<NodePcpus['start']> {
        const module = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
        return super.start({ ...setup, module }, failed);
      }
    }
    await using running = await machineOf(COUNTING, { pcpus: new Broken(nodeClock, 2) });
    running.runner.start();
    await expect(within(running.runner.ended, 10_000, 'the failure')).rejects.toThrow(
      /not a function|undefined|export/i,
    );
  });

  test('traps accesses where there is nothing', async () => {
    const program: SmpProgram = {
      name: 'faults',
      harts: 2,
      expected: '',
      text: `
        csrr s0, mhartid
        la   t0, trap
        csrw mtvec, t0
        li   s1, 100
1:      li   t0, 0x50000000000
        ld   t1, 0(t0)
        sd   t1, 0(t0)
        addi s1, s1, -1
        bnez s1, 1b
        la   t0, sum
        amoadd.d t1, s2, (t0)
        add  t1, t1, s2
        li   t2, 400
        bne  t1, t2, 2f
        li   t0, 0x100000
        li   t1, 0x5555
        sw   t1, 0(t0)
2:      wfi
        j    2b
        .balign 4
trap:   addi s2, s2, 1
        csrr t2, mepc
        addi t2, t2, 4
        csrw mepc, t2
        mret
        .balign 8
sum:    .dword 0`,
    };
    await using running = await machineOf(program);
    running.runner.start();
    expect(await within(running.runner.ended, 20_000, 'the program')).toEqual({ kind: 'poweroff' });
  });
});
