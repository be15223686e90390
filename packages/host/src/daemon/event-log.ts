/** What happens to machines, in one order: remembered, and told to whoever follows. */

import { type HostEvent, LIMITS } from '@ringfence/api';
import { HostError } from '../failure.ts';
import type { Store } from './store.ts';

/** Who follows at once. */
export const MAXIMUM_FOLLOWERS = 64;

export class EventLog {
  readonly #store: Store;
  readonly #onFailure: (error: unknown) => void;
  readonly #waiting = new Set<() => void>();
  #followers = 0;
  #last: number;
  /** Events are written one after the other; a follower sees those that were. */
  #written: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(store: Store, last: number, onFailure: (error: unknown) => void) {
    this.#store = store;
    this.#last = last;
    this.#onFailure = onFailure;
  }

  static async open(store: Store, onFailure: (error: unknown) => void): Promise<EventLog> {
    return new EventLog(store, await store.lastEvent(), onFailure);
  }

  /** Notes it. What cannot be remembered is told to `onFailure` and stops nothing. */
  add(kind: string, vm: HostEvent['vm'], detail: HostEvent['detail'] = {}): void {
    const event: HostEvent = { seq: ++this.#last, at: new Date().toISOString(), kind, vm, detail };
    this.#written = this.#written
      .then(() => this.#store.addEvent(event))
      .catch(this.#onFailure)
      .then(() => this.#wake());
  }

  /** Those after `after`, or those to come; with `follow` until `signal`. Throws `too-many` at once. */
  list(after: number | undefined, follow: boolean, signal: AbortSignal): AsyncGenerator<HostEvent, void> {
    if (this.#followers >= MAXIMUM_FOLLOWERS)
      throw new HostError('too-many', `${MAXIMUM_FOLLOWERS} follow the events already, which is the most`);
    this.#followers++;
    let isCounted = true;
    // Also of one that is left before it has begun.
    const over = (): void => {
      if (isCounted) this.#followers--;
      isCounted = false;
    };
    signal.addEventListener('abort', over, { once: true });
    if (signal.aborted) over();
    return this.#list(after, follow, signal, over);
  }

  async *#list(
    after: number | undefined,
    follow: boolean,
    signal: AbortSignal,
    over: () => void,
  ): AsyncGenerator<HostEvent, void> {
    const onAbort = (): void => this.#wake();
    signal.addEventListener('abort', onAbort);
    try {
      let seen = after ?? this.#last;
      for (;;) {
        const change = this.#change();
        await this.#written;
        for (;;) {
          const events = await this.#store.eventsAfter(seen, LIMITS.eventsAtOnce);
          for (const event of events) {
            if (signal.aborted) return;
            yield event;
            seen = event.seq;
          }
          if (events.length < LIMITS.eventsAtOnce) break;
        }
        if (!follow || signal.aborted || this.#isClosed) return;
        await change;
      }
    } finally {
      over();
      for (const listener of [onAbort, over]) signal.removeEventListener('abort', listener);
    }
  }

  /** Lets followers go; resolves when everything is written. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#wake();
    await this.#written;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}
