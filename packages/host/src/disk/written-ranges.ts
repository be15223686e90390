/** Which bytes of a file were written since somebody last asked, as a bounded list of ranges in order; near ones become one when it is full. */

export interface Range {
  readonly start: number;
  /** The first byte behind it. */
  readonly end: number;
}

/** More scattered writes than that between two flushes are taken for one another's neighbours. */
export const MAXIMUM_RANGES = 4096;

export class WrittenRanges {
  readonly #maximum: number;
  /** INVARIANT: in order, apart from one another. */
  #ranges: Range[] = [];

  constructor(maximum = MAXIMUM_RANGES) {
    this.#maximum = maximum;
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    const first = this.#firstEndingFrom(start);
    let last = first;
    let [from, to] = [start, end];
    for (let each = this.#ranges[last]; each !== undefined && each.start <= end; each = this.#ranges[++last]) {
      from = Math.min(from, each.start);
      to = Math.max(to, each.end);
    }
    this.#ranges.splice(first, last - first, { start: from, end: to });
    if (this.#ranges.length > this.#maximum) this.#joinNeighbours();
  }

  /** All of them; none are left. */
  take(): readonly Range[] {
    const ranges = this.#ranges;
    this.#ranges = [];
    return ranges;
  }

  /** The index of the first range that ends at `start` or behind it. */
  #firstEndingFrom(start: number): number {
    let [low, high] = [0, this.#ranges.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle]?.end ?? 0) < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Half as many, each as long as two and what is between them. */
  #joinNeighbours(): void {
    const joined: Range[] = [];
    for (let at = 0; at < this.#ranges.length; at += 2) {
      const [one, other] = [this.#ranges[at], this.#ranges[at + 1]];
      if (one !== undefined) joined.push({ start: one.start, end: other?.end ?? one.end });
    }
    this.#ranges = joined;
  }
}
