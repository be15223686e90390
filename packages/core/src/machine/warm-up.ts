/**
 * Lets a blank machine execute something of no consequence, and takes it back: what a host makes of the engine's own code when it is executed for the first
 * time, some 50 ms, is made before somebody waits for what comes into the machine.
 *
 *       auipc t0, 1                loads and stores of the next page, arithmetic, an atomic, the time, branches:
 *     1: ld t1, 8(t0)    addi t1, t1, 1    sd t1, 8(t0)    lw t2, 16(t0)    mul t2, t2, t1    sw t2, 16(t0)    amoadd.d s0, t1, (t0)
 *        lbu s1, 17(t0)    andi s1, t1, 63    bnez s1, 2f    rdtime s0
 *     2: xor t2, t2, t1    j 1b
 */

import { assert } from '../base/assert.ts';
import type { Saved } from '../base/saved.ts';
import { HART } from '../engine/layout.ts';
import { PRIVILEGE } from '../engine/state.ts';
import type { Machine } from './machine.ts';
import { DRAM_BASE } from './memory-map.ts';

const PROGRAM = Uint32Array.of(
  0x0000_1297,
  0x0082_b303,
  0x0013_0313,
  0x0062_b423,
  0x0102_a383,
  0x0263_83b3,
  0x0072_a823,
  0x0062_b42f,
  0x0112_c483,
  0x03f3_7493,
  0x0004_9463,
  0xc010_2473,
  0x0063_c3b3,
  0xfd1f_f06f,
);
/** Its own, and the one that it writes to. */
const PAGES = 2;
/** So often, for so long: hot code is compiled, and comes into use, in between. */
const TURNS = 10;
const TURN_MS = 2;

/** Before anything is put into the machine; `turn` lets others have the thread. Resolves when it is blank again. */
export async function warmUp(machine: Machine, turn: () => Promise<void>): Promise<void> {
  // Threads would have to be waited for, and each has code of its own.
  if (machine.isThreaded) return;
  assert(machine.pages.isEmpty(PAGES), 'nothing is in a machine that is warmed up');
  const before = machine.save() as MachineState;
  machine.ram.write(DRAM_BASE, new Uint8Array(PROGRAM.buffer));
  machine.restore({ ...before, harts: [started(before.harts[0]), ...before.harts.slice(1)] });
  for (let count = 0; count < TURNS; count++) {
    machine.run(TURN_MS);
    await turn();
  }
  await machine.quiesce();
  machine.restore(before);
  for (let page = 0; page < PAGES; page++) machine.pages.put(page, undefined);
}

/** What is looked at of a machine's state here. */
interface MachineState {
  readonly [name: string]: Saved;
  readonly harts: readonly HartState[];
}

interface HartState {
  readonly [name: string]: Saved;
  readonly engine: { readonly [name: string]: Saved; readonly cells: Uint8Array };
}

/** Of those that a hart can have (hart.ts). */
const RUNNING = 1;

/** The hart as it begins to execute the program, in M-mode. */
function started(hart: HartState | undefined): HartState {
  assert(hart !== undefined, 'a machine has a hart');
  const cells = hart.engine.cells.slice();
  const view = new DataView(cells.buffer);
  view.setBigUint64(HART.pc, BigInt(DRAM_BASE), true);
  view.setUint32(HART.privilege, PRIVILEGE.M, true);
  return { ...hart, runState: RUNNING, engine: { ...hart.engine, cells } };
}
