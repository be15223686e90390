/**
 * What waits to be compiled. When a guest begins something new there is often more than can be compiled at once, the code of what it did before among it: so
 * what is come to most often now goes first, and what nobody comes to any more is not compiled.
 */

/** Code that waits: its cell of a heat page, and the frame that this was of when it was asked for. */
export interface Waiting {
  readonly cell: number;
  readonly index: number;
}

interface Entry<T> {
  readonly each: T;
  /** The run in which it was asked for, and that in which it was come to last. */
  readonly since: number;
  last: number;
  /** How often it has reached the interpreter's threshold since. */
  rounds: number;
}

/** Runs (of about 100 us) without reaching the threshold once: nobody comes here any more, or not often. */
export const ABANDONED = 1000;
/** What is hotter by so much does not wait for the rest to be compiled with it. */
const MUCH_HOTTER = 8;
/** Rounds after which code waits no longer for other code to be compiled with it. */
export const URGENT = 16;

export class CompileQueue<T extends Waiting> {
  readonly #entries = new Map<number, Entry<T>>();

  get length(): number {
    return this.#entries.size;
  }

  /** Something is so hot that each moment counts. */
  get isUrgent(): boolean {
    for (const { rounds } of this.#entries.values()) if (rounds >= URGENT) return true;
    return false;
  }

  add(each: T, run: number): void {
    this.#entries.set(each.cell, { each, since: run, last: run, rounds: 0 });
  }

  /** Whether the code at `cell` of frame `index` waits already. It was come to as often again. */
  again(cell: number, index: number, run: number): boolean {
    const entry = this.#entries.get(cell);
    if (entry?.each.index !== index) return false;
    entry.rounds++;
    entry.last = run;
    return true;
  }

  /** Takes the hottest, `size` at most, and fewer when some are much hotter than the others. What nobody came to for long goes to `abandon` instead. */
  take(size: number, run: number, abandon: (each: T) => void): T[] {
    for (const [cell, { each, last }] of this.#entries) {
      if (run - last <= ABANDONED) continue;
      this.#entries.delete(cell);
      abandon(each);
    }
    const heat = ({ rounds, since }: Entry<T>): number => (rounds + 1) / (run - since + 1);
    const hottest = [...this.#entries.values()].toSorted((a, b) => heat(b) - heat(a)).slice(0, size);
    const least = hottest[0] === undefined ? 0 : heat(hottest[0]) / MUCH_HOTTER;
    const taken = hottest.filter((entry) => heat(entry) >= least);
    for (const { each } of taken) this.#entries.delete(each.cell);
    return taken.map(({ each }) => each);
  }
}
