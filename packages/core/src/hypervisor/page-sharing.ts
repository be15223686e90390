/**
 * When pages of a domain's machines are looked at (page-scanner.ts), and how much that may take: a share of a core at most, and less while nothing is
 * found. Whoever has a clock and a timer calls `tick`, between slices.
 */

import type { Clock } from '../base/ports.ts';
import { pageWorkOf } from '../engine/page-work.ts';
import type { MachineDomain } from '../machine/machine-domain.ts';
import { PageScanner, type ScanCounts } from './page-scanner.ts';

/** How often `tick` is to be called. */
export const SHARING_TICK_MS = 100;
/** Of a core, at most, as long as nobody says otherwise. */
export const DEFAULT_SCAN_SHARE = 0.04;
export const MAXIMUM_SCAN_SHARE = 1;
/** Time that was not used is saved up for so many ticks. */
const SAVED_TICKS = 2;
/** After a pass that found less than one page in so many it rests, longer each time. */
const FRUITFUL = 500;
const SHORTEST_REST_NS = 1e9;
const LONGEST_REST_NS = 30e9;

export interface SharingCounts extends ScanCounts {
  /** Time that it took. */
  readonly scanNs: number;
}

export class PageSharing {
  readonly #domain: MachineDomain;
  readonly #scanner: PageScanner;
  readonly #clock: Pick<Clock, 'monotonicNs'>;
  readonly #share: number;
  #lastNs: number;
  #budgetNs = 0;
  #scanNs = 0;
  #restNs = 0;
  #restsUntilNs = 0;
  /** Machines, and what was counted, when the last pass had ended. */
  #machines = 0;
  #looks = 0;
  #found = 0;

  /** `share` is of a core. */
  static async of(
    domain: MachineDomain,
    clock: Pick<Clock, 'monotonicNs'>,
    share: number = DEFAULT_SCAN_SHARE,
  ): Promise<PageSharing> {
    const work = await pageWorkOf(domain.engine.domain);
    return new PageSharing(domain, new PageScanner(domain.engine, work, domain.machines), clock, share);
  }

  private constructor(domain: MachineDomain, scanner: PageScanner, clock: Pick<Clock, 'monotonicNs'>, share: number) {
    this.#domain = domain;
    this.#scanner = scanner;
    this.#clock = clock;
    this.#share = share;
    this.#lastNs = clock.monotonicNs();
  }

  get counts(): SharingCounts {
    return { ...this.#scanner.counts, scanNs: this.#scanNs };
  }

  /** Scans as long as it may. */
  tick(): void {
    const now = this.#clock.monotonicNs();
    const most = SAVED_TICKS * SHARING_TICK_MS * 1e6 * this.#share;
    this.#budgetNs = Math.min(this.#budgetNs + (now - this.#lastNs) * this.#share, most);
    this.#lastNs = now;
    const { machines } = this.#domain;
    if (machines.size > this.#machines) this.#restsUntilNs = this.#restNs = 0;
    this.#machines = machines.size;
    if (machines.size === 0 || this.#budgetNs <= 0 || now < this.#restsUntilNs) return;
    const isWhole = this.#scanner.scan(() => this.#clock.monotonicNs() - now < this.#budgetNs);
    const took = this.#clock.monotonicNs() - now;
    // What it took too long is paid back.
    this.#budgetNs -= took;
    this.#scanNs += took;
    if (isWhole) this.#passed(now);
  }

  /** Frames are few: it does not rest. */
  hurry(): void {
    this.#restsUntilNs = this.#restNs = 0;
  }

  /** All pages at once, whatever it takes. */
  scanAll(): void {
    const start = this.#clock.monotonicNs();
    while (!this.#scanner.scan(() => true));
    this.#scanNs += this.#clock.monotonicNs() - start;
  }

  #passed(now: number): void {
    const { looks, merged, zeros } = this.#scanner.counts;
    const found = merged + zeros;
    const isFruitful = (found - this.#found) * FRUITFUL >= looks - this.#looks;
    this.#restNs = isFruitful ? 0 : Math.min(LONGEST_REST_NS, Math.max(SHORTEST_REST_NS, 2 * this.#restNs));
    this.#restsUntilNs = now + this.#restNs;
    [this.#looks, this.#found] = [looks, found];
  }
}
