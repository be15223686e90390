/**
 * What the guest of a soak says on its serial line: a line per round of work (guest/soak.sh of the benchmark), whose check has to be that of
 * the first round, and complaints of its kernel.
 */

/** What a kernel that goes on says when something is wrong all the same; a panic says so too. */
const COMPLAINT = /\bOops\b|\bBUG:|\bWARNING:|Kernel panic|[Oo]ut of memory|\blockup\b|self-detected stall|segfault/;
const ROUND = /(?:^|\s)ROUND (\d+) ([0-9a-f]{16})$/;

export class GuestOutput {
  #rounds = 0;
  #check: string | undefined;
  #problem: string | undefined;

  get rounds(): number {
    return this.#rounds;
  }

  /** One sentence about the first thing that was wrong. */
  get problem(): string | undefined {
    return this.#problem;
  }

  line(text: string): void {
    const line = text.trimEnd();
    if (COMPLAINT.test(line)) this.#problem ??= `The guest's kernel complained: ${line}`;
    const [, round, check] = ROUND.exec(line) ?? [];
    if (round === undefined || check === undefined) return;
    this.#rounds = Number(round);
    this.#check ??= check;
    if (check !== this.#check)
      this.#problem ??= `Round ${round} came to ${check}, and the first one to ${this.#check}.`;
  }
}
