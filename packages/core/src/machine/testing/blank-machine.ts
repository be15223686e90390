/** A machine that holds nothing yet, for something to be put into it. */

import { Machine } from '../machine.ts';
import type { MachineOptions } from '../options.ts';
import { PacedClock } from './bare-machine.ts';

/** Time stands still where nobody says otherwise. */
export function blankMachine(options: Partial<MachineOptions> = {}): Promise<Machine> {
  return Machine.create({
    memoryBytes: 4 << 20,
    clock: new PacedClock(),
    entropy: { fill: (into) => void into.fill(1) },
    serialOutput: { write: () => {} },
    firmware: 'none',
    blank: true,
    ...options,
  });
}
