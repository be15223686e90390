/** Forks of a machine that have not ended. Those of one that has ended are whose it was: nobody is forgotten who shares the machine's memory. */

interface Ending {
  readonly ended: Promise<unknown>;
}

export class LivingForks<Machine extends Ending> {
  /** With the forks that each has itself. */
  readonly #own = new Map<Machine, LivingForks<Machine>>();

  keep(fork: Machine, its: LivingForks<Machine>): void {
    this.#own.set(fork, its);
    const left = (): void => {
      this.#own.delete(fork);
      for (const [each, theirs] of its.#own) this.keep(each, theirs);
    };
    fork.ended.then(left, left);
  }

  /** With those that are forks of forks. */
  get all(): Machine[] {
    return [...this.#own].flatMap(([fork, its]) => [fork, ...its.all]);
  }
}
