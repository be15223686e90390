/**
 * A machine that is cut by snapshots at random points as a subject: again and again another machine goes on from what was saved, on this tier
 * or another, while the one before runs on as its pages are taken.
 */

import { Random } from '../../src/engine/float/testing/vectors.ts';
import type { Tier } from '../../src/engine/testing/tiers.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { type OpenSnapshot, restoreInto } from '../../src/vm/snapshot/open-snapshot.ts';
import { MemorySnapshots } from '../../src/vm/snapshot/testing/memory-snapshots.ts';
import { endingOf, imageOf, MOST_TURNS, pacedMachine } from '../differential/paced-machine.ts';
import type { Program, Without } from '../differential/program.ts';
import { type Ending, SWITCHED_OFF, type Subject } from '../differential/subject.ts';

const MOST_CUTS = 8;

export class CutMachine implements Subject {
  readonly isForeign = false;
  readonly name: string;
  /** Snapshots taken, and those of them that built on another. */
  cuts = 0;
  increments = 0;
  readonly #tiers: readonly Tier[];
  /** Turns between two cuts, at most. */
  readonly #turns: number;

  constructor(tiers: readonly Tier[], turns: number) {
    this.#tiers = tiers;
    this.#turns = turns;
    this.name = `Ringfence's ${tiers.join(' and ')}, cut by snapshots`;
  }

  async run(program: Program, without?: Without): Promise<Ending> {
    const random = new Random(program.seed);
    const store = new MemorySnapshots();
    let machine = await pacedMachine(random.pick(this.#tiers), imageOf(program, without));
    let parent: OpenSnapshot | undefined;
    for (let cut = 0; cut < MOST_CUTS && !(await run(machine, 1 + random.below(this.#turns))); cut++) {
      const original = machine;
      let runsOn = 1 + random.below(8);
      const chosen = random.below(3) === 0 ? undefined : parent;
      const { manifest } = await store.take(original, {
        parent: chosen,
        turn: async () => void (runsOn-- > 0 && (await run(original, 1))),
      });
      this.cuts++;
      if (chosen) this.increments++;
      parent = store.open(manifest.id);
      machine = await pacedMachine(random.pick(this.#tiers));
      restoreInto(machine, parent);
      // What the original does after its pages were taken is its own affair, and it must end as well.
      if (cut === 0) {
        const other = await this.#ending(original);
        if (other.how !== SWITCHED_OFF) return other;
      }
    }
    return this.#ending(machine);
  }

  close(): void {}

  async #ending(machine: Machine): Promise<Ending> {
    return endingOf(machine, await run(machine, MOST_TURNS));
  }
}

/** Runs on for some turns; true when the program has ended. */
async function run(machine: Machine, turns: number): Promise<boolean> {
  for (let turn = 1; turn <= turns; turn++) {
    if (machine.run(0.01).kind === 'ended') return true;
    if (turn % 16 === 0) await new Promise<void>((resolve) => void setImmediate(resolve));
  }
  return false;
}
