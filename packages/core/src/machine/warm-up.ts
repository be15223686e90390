/**
 * Lets a blank machine execute something of no consequence, and takes it back: what a host makes of the engine's own code when it is executed for the first
 * time, some 50 ms, is made before somebody waits for what comes into the machine.
 */

import { assert } from '../base/assert.ts';
import type { Saved } from '../base/saved.ts';
import { HART } from '../engine/layout.ts';
import { PRIVILEGE } from '../engine/state.ts';
import type { Machine } from './machine.ts';
import { DRAM_BASE } from './memory-map.ts';
import { WARM_UP_PAGES, WARM_UP_PROGRAM } from './warm-up-program.ts';

/** So often, each time until it waits for its timer, and no longer than that. */
const TURNS = 400;
const TURN_MS = 2;

/** Before anything is put into the machine; `turn` lets others have the thread. Resolves when it is blank again. */
export async function warmUp(machine: Machine, turn: () => Promise<void>): Promise<void> {
  // Threads would have to be waited for, and each has code of its own.
  if (machine.isThreaded) return;
  const before = machine.save();
  beginWarmUp(machine);
  for (let count = 0; count < TURNS; count++) {
    machine.run(TURN_MS);
    await turn();
  }
  await machine.quiesce();
  machine.restore(before);
  for (let page = 0; page < WARM_UP_PAGES; page++) machine.pages.put(page, undefined);
}

/** A blank machine is about to execute something of no consequence, for as long as it runs. */
export function beginWarmUp(machine: Machine): void {
  assert(machine.pages.isEmpty(WARM_UP_PAGES), 'nothing is in a machine that is warmed up');
  const before = machine.save() as MachineState;
  machine.ram.write(DRAM_BASE, new Uint8Array(WARM_UP_PROGRAM.buffer));
  machine.restore({ ...before, harts: [started(before.harts[0]), ...before.harts.slice(1)] });
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
