/** The requests of a device that are carried out while its guest goes on: how many they are, and when there are none. */

export class UnderWay {
  #count = 0;
  #idle: PromiseWithResolvers<void> | undefined;

  get count(): number {
    return this.#count;
  }

  /** Resolves when nothing is under way; undefined when nothing is. */
  whenIdle(): Promise<void> | undefined {
    if (this.#count === 0) return undefined;
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
  }

  /** Carries one out and has the device look for more. Never rejects: `broke` is given what either of them threw. */
  async carryOut(request: () => Promise<void>, more: () => void, broke: (error: unknown) => void): Promise<void> {
    this.#count++;
    try {
      try {
        await request();
      } finally {
        this.#count--;
        if (this.#count === 0) {
          this.#idle?.resolve();
          this.#idle = undefined;
        }
      }
      more();
    } catch (error) {
      broke(error);
    }
  }
}
