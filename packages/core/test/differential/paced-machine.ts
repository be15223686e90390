/** A whole machine for subjects that are taken apart while they run: a program in its memory, and time that passes with each look at it. */

import { type Tier, onTier } from '../../src/engine/testing/tiers.ts';
import { buildElf } from '../../src/machine/loader/testing/payloads.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PacedClock } from '../../src/machine/testing/bare-machine.ts';
import { COMPARED_BYTES, RAM_BASE, RAM_BYTES } from './places.ts';
import { type Program, type Without, writeImage } from './program.ts';
import { DID_NOT_END, type Ending, SWITCHED_OFF } from './subject.ts';

/** Far more turns than a program has. */
export const MOST_TURNS = 50_000;
/** Time that passes at each look at the clock: a slice is short then. */
const PACE_NS = 2000;

/** With what the program begins with, or blank: to be given another one's state. */
export function pacedMachine(engine: Tier, image?: Uint8Array): Promise<Machine> {
  const clock = new PacedClock();
  clock.paceNs = PACE_NS;
  return Machine.create({
    memoryBytes: RAM_BYTES,
    clock,
    entropy: { fill: (into) => void into.fill(1) },
    serialOutput: { write: () => {} },
    firmware: 'none',
    ...onTier(engine),
    ...(image ? { kernel: programFile(image) } : { blank: true }),
  });
}

/** The memory that a program begins with. */
export function imageOf(program: Program, without?: Without): Uint8Array {
  const image = new Uint8Array(COMPARED_BYTES);
  writeImage(program, image, without);
  return image;
}

export function endingOf(machine: Machine, hasEnded: boolean): Ending {
  const memory = new Uint8Array(COMPARED_BYTES);
  machine.ram.read(RAM_BASE, memory);
  return { how: hasEnded ? SWITCHED_OFF : DID_NOT_END, memory };
}

function programFile(image: Uint8Array): {
  readonly kind: 'kernel';
  readonly name: string;
  readonly bytes: Uint8Array;
} {
  const bytes = buildElf({ segments: [{ physical: RAM_BASE, content: image }], entry: BigInt(RAM_BASE) });
  return { kind: 'kernel', name: 'program', bytes };
}
