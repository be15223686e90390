/** What a hot function is made of: kinds of statement, chosen by their shares among those that are possible where one is needed. */

import type { HotFunction, Placer } from './function.ts';

export interface Statement {
  /** How often, compared with others. */
  readonly share: number;
  readonly isPossible?: (f: HotFunction) => boolean;
  readonly place: Placer;
  /** Holds other statements: not too deep. */
  readonly isNest?: boolean;
  /** Refers to code elsewhere by its distance: nothing for code that runs at several addresses. */
  readonly isBound?: boolean;
}

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
