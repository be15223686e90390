/**
 * How long a thread looks for work before it sleeps. To be woken takes tens of microseconds, more than what two harts do in turns often takes: one that slept
 * shortly the last times rather looks a while. One that sleeps long does not look at all, so that idle machines cost nothing. As KVM does (Linux,
 * Documentation/virt/kvm/halt-polling.rst), with less of it.
 */

/** What is looked at first. */
const FIRST_NS = 10_000;
/** And at most: twice what a wake-up costs in a virtual machine. Whoever slept longer would have looked in vain. */
export const LONGEST_NS = 200_000;

export class HaltPolling {
  #windowNs = 0;

  /** For how long to look; 0 for not at all. */
  get windowNs(): number {
    return this.#windowNs;
  }

  /** There was nothing to do for so long, looking and sleeping. */
  halted(ns: number): void {
    if (ns > LONGEST_NS) this.#windowNs = 0;
    else if (ns > this.#windowNs) this.#windowNs = Math.min(LONGEST_NS, Math.max(FIRST_NS, 2 * this.#windowNs));
  }
}
