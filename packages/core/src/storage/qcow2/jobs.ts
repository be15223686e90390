/** Transfers that run side by side. Views must not be touched any more once a request is over, so all are awaited, however the first ends. */

export class Jobs {
  readonly #jobs: Promise<void>[] = [];
  #failure: { readonly reason: unknown } | undefined;

  add(job: Promise<void>): void {
    this.#jobs.push(
      job.catch((error: unknown) => {
        this.#failure ??= { reason: error };
      }),
    );
  }

  /** Resolves when all are over. */
  async settled(): Promise<void> {
    await Promise.all(this.#jobs);
  }

  /** Throws what the first failure threw. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.reason;
  }
}
