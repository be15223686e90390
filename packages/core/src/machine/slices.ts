/**
 * How long a hart executes at a time: as many instructions as take about SLICE_NS, or until a timer is due, by the speed seen lately. A hart
 * that nobody else waits for is given more when they are used up, without coming back: coming back costs more than it seems.
 */

/** Time between two looks at timers and devices, as far as the guest's speed is known: in nanoseconds. */
export const SLICE_NS = 100_000;
/** Instructions of a slice at the least and at the most. */
const MINIMUM_SLICE = 500;
const MAXIMUM_SLICE = 1_000_000;
/** Instructions per nanosecond that a guest is thought to execute at least. (Less was measured when the host did something else.) */
const SLOWEST_SPEED = 0.1;
/** Slices shorter than this say nothing about the guest's speed. */
const MEASURED_SLICE = 2000;
/** How much of the speed is counted on, so that a timer is rather looked at twice than late. */
const CAUTION = 0.8;

export class Slices {
  /** Instructions per nanosecond that the guest executed lately. */
  #speed = SLOWEST_SPEED;
  /** When the present slice has to be over, whatever it is prolonged by. */
  #endsNs = 0;
  /** When it, or what it was prolonged by, began; and at which count of its instructions. */
  #startNs = 0;
  #count = 0;

  /** A slice begins; something is due in `dueInNs`, and it may go on to `endsNs`. Gives its instructions. */
  begin(nowNs: number, dueInNs: number, endsNs: number): number {
    this.#endsNs = Math.min(nowNs + dueInNs, endsNs);
    this.#startNs = nowNs;
    this.#count = 0;
    const wanted = Math.min(SLICE_NS, dueInNs) * this.#speed * CAUTION;
    return Math.max(MINIMUM_SLICE, Math.min(MAXIMUM_SLICE, wanted));
  }

  /** Its `count` instructions are used up, and nothing but time has passed: how many more until something has to be looked at. */
  more(nowNs: number, count: number): number {
    const leftNs = this.#endsNs - nowNs;
    if (leftNs <= 0) return 0;
    this.end(nowNs, count);
    this.#startNs = nowNs;
    this.#count = count;
    return Math.max(MINIMUM_SLICE, Math.floor(Math.min(SLICE_NS, leftNs) * this.#speed * CAUTION));
  }

  /** It is over, after `count` instructions. Slower is believed at once, faster little by little. */
  end(nowNs: number, count: number): void {
    const [instructions, ns] = [count - this.#count, nowNs - this.#startNs];
    if (instructions < MEASURED_SLICE || ns <= 0) return;
    const speed = Math.max(SLOWEST_SPEED, instructions / ns);
    this.#speed = speed < this.#speed ? speed : this.#speed + (speed - this.#speed) / 4;
  }
}
