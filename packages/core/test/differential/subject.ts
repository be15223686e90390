/** What runs a test program: QEMU, or one of our engine's tiers. */

import type { Program, Without } from './program.ts';

export interface Ending {
  /** `switched off` when the program has ended as it should. */
  readonly how: string;
  /** RAM from RAM_BASE to the end of the log, afterwards. */
  readonly memory: Uint8Array;
}

export const SWITCHED_OFF = 'switched off';
export const DID_NOT_END = 'did not end';

export interface Subject {
  /** For people. */
  readonly name: string;
  /** Whether it is another implementation than ours: what differs by the manual's leave is no difference then (known-differences.ts). */
  readonly isForeign: boolean;
  /** Runs the program, without some of its parts. */
  run(program: Program, without?: Without): Promise<Ending>;
  close(): void;
}
