/** The timer of S-mode (Sstc, chapter 2): STIP is `time >= stimecmp` where menvcfg.STCE is set, and low elsewhere. */

import { CSR } from '../engine/state.ts';
import { ENVCFG } from '../isa/csrs.ts';
import { MIP } from './hart-port.ts';
import type { MachineHart } from './hart.ts';
import { NS_PER_TICK } from './memory-map.ts';

/** Drives STIP of `harts` at time `now()`, in ticks of mtime; gives the nanoseconds until the next one of them is due. */
export function pollSupervisorTimers(harts: readonly MachineHart[], now: () => bigint): number {
  let due = Infinity;
  for (const hart of harts) {
    const { engine } = hart;
    if ((engine.stored(CSR.menvcfg) & ENVCFG.STCE) === 0n) {
      hart.setPending(MIP.STIP, false);
      continue;
    }
    const compare = engine.stored(CSR.stimecmp);
    const time = now();
    const isDue = time >= compare;
    hart.setPending(MIP.STIP, isDue);
    if (!isDue) due = Math.min(due, Number(compare - time) * NS_PER_TICK);
  }
  return due;
}
