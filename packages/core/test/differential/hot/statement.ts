/** What a hot function is made of: kinds of statement, chosen by their shares among those that are possible where one is needed. */

import type { HotFunction, Placer } from './function.ts';

export interface Statement {
  /** How often, compared with others. */
  readonly share: number;
  readonly isPossible?: (f: HotFunction) => boolean;
  readonly place: Placer;
  /** Holds other statements: not too deep. */
  readonly isNest?: boolean;
  /** Refers to code elsewhere by its distance, or changes what is mapped: nothing for code that runs at other addresses than its own. */
  readonly isBound?: boolean;
}

/** Traps that must be left to a statement that traps always, so that most are left to those that only may. */
export const PLAIN_TRAP = 10;

/** Statements within statements, at most. */
const DEEPEST = 5;

/** A placer that chooses among `list`. */
export function choosing(list: readonly Statement[]): Placer {
  return (f) => {
    const possible = list.filter(
      ({ isNest, isPossible }) => (isNest !== true || f.nesting < DEEPEST) && (isPossible?.(f) ?? true),
    );
    let chance = f.random.below(possible.reduce((sum, { share }) => sum + share, 0));
    for (const statement of possible) {
      chance -= statement.share;
      if (chance >= 0) continue;
      // A nest makes items of what is in it.
      f.grouped(() => statement.place(f));
      return;
    }
  };
}
