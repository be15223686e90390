/**
 * Makes a program on which two subjects differ small: takes out items (and scenes) in ever smaller runs as long as they still differ
 * (delta debugging, Zeller and Hildebrandt 2002).
 */

import type { Comparison, Disagreement } from './compare.ts';
import { NOTHING, type Program, type Without } from './program.ts';

/** Runs of both subjects; a hundred take about half a minute. */
const MOST_RUNS = 400;

export interface Minimised {
  readonly without: Without;
  readonly disagreement: Disagreement;
}

export async function minimise(comparison: Comparison, program: Program, first: Disagreement): Promise<Minimised> {
  let best: Minimised = { without: NOTHING, disagreement: first };
  let runs = 0;
  const attempt = async (without: Without): Promise<boolean> => {
    if (runs >= MOST_RUNS) return false;
    runs++;
    const found = await comparison.run(program, without);
    if (found === undefined) return false;
    best = { without, disagreement: found };
    return true;
  };
  for (const kind of ['cells', 'items'] as const) {
    let present = Array.from({ length: program[kind].length }, (_, index) => index);
    for (let size = Math.ceil(present.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let start = 0; start < present.length;) {
        const removed = present.slice(start, start + size);
        const without = { ...best.without, [kind]: new Set([...best.without[kind], ...removed]) };
        if (await attempt(without)) present = [...present.slice(0, start), ...present.slice(start + size)];
        else start += size;
      }
    }
  }
  return best;
}
