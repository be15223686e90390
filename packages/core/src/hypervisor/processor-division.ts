/**
 * Divides processors among machines by what they want, their shares, reservations and limits: water is poured until there is none left, each
 * vessel as wide as the machine's shares; it begins filled to the machine's reservation and ends at its limit. Who wants less than that leaves the
 * rest to the others.
 */

export interface Claim {
  /** Its weight beside those of the others. */
  readonly shares: number;
  /** What it has whenever it wants it, in processors (0.5: half of one). */
  readonly reservation: number;
  /** What it never has more than. */
  readonly limit: number;
  /** What it would use now. */
  readonly demand: number;
}

/** What each of `claims` gets of `capacity`. They get no more than that together, and all that they want when there is enough. */
export function divide(capacity: number, claims: readonly Claim[]): number[] {
  const most = claims.map(({ demand, limit }) => Math.max(0, Math.min(demand, limit)));
  const least = claims.map(({ reservation }, index) => Math.min(Math.max(0, reservation), most[index] ?? 0));
  const reserved = sum(least);
  // Less than was promised: a host that is busy otherwise.
  if (reserved >= capacity)
    return least.map((each) => (reserved === 0 ? 0 : (each * Math.max(0, capacity)) / reserved));
  if (sum(most) <= capacity) return most;
  const at = (level: number): number[] =>
    claims.map(({ shares }, index) => Math.min(Math.max(level * shares, least[index] ?? 0), most[index] ?? 0));
  // Between two of these levels the same machines are neither at their least nor at their most, and what all get grows evenly.
  const levels = claims
    .flatMap(({ shares }, index) => [(least[index] ?? 0) / shares, (most[index] ?? 0) / shares])
    .toSorted((a, b) => a - b);
  let below = 0;
  for (const level of levels) {
    const before = sum(at(below));
    const after = sum(at(level));
    if (after >= capacity)
      return at(after === before ? level : below + ((level - below) * (capacity - before)) / (after - before));
    below = level;
  }
  return most;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, each) => all + each, 0);
}
