/**
 * Turns of one thread among several machines: the event loop's, but whoever has had the least for each of its shares comes first, and before that
 * who has not had what is reserved for it. One callback is called at a time, and what it took is what its machine had.
 */

import type { Turns } from '../vm/runner.ts';

/** What a machine is to have of a thread. */
export interface ThreadShare {
  readonly shares: number;
  /** Of the thread's time, whenever it wants it: 0 to 1. */
  readonly reservation: number;
}

export const DEFAULT_SHARES = 1000;
/** Time that a machine which had nothing to do may be ahead of the others when it comes back, and time of its reservation that is kept or owed. */
const MOST_AHEAD_NS = 10_000_000;
const RESERVED_KEPT_NS = 50_000_000;

interface Client {
  share: ThreadShare;
  readonly waiting: (() => void)[];
  /** What it had, in ns for each DEFAULT_SHARES. */
  hadNs: number;
  usedNs: number;
  /** What is left of its reservation, and since when that was filled. */
  reservedNs: number;
  filledNs: number;
}

/** Turns of one machine. */
export interface FairClient extends Turns {
  /** Time of the thread that it had, in nanoseconds. */
  readonly usedNs: number;
  setShare(share: ThreadShare): void;
}

export class FairTurns {
  readonly #turns: Turns;
  readonly #nowNs: () => number;
  readonly #usedNs: () => number;
  /** Those that want a turn. */
  readonly #waiting = new Set<Client>();
  /** What the one had that came last, if no other one came later that had more. */
  #latestNs = 0;
  #isComing = false;

  /** `usedNs` tells the thread's processor time, where the host does: it is looked at while several want turns. */
  constructor(turns: Turns, nowNs: () => number, usedNs: () => number = nowNs) {
    this.#turns = turns;
    this.#nowNs = nowNs;
    this.#usedNs = usedNs;
  }

  client(share: ThreadShare = { shares: DEFAULT_SHARES, reservation: 0 }): FairClient {
    const client: Client = {
      share,
      waiting: [],
      hadNs: this.#latestNs,
      usedNs: 0,
      reservedNs: 0,
      filledNs: this.#nowNs(),
    };
    return {
      soon: (callback) => this.#soon(client, callback),
      after: (delayMs, callback) => this.#turns.after(delayMs, callback),
      nowNs: this.#nowNs,
      get usedNs() {
        return client.usedNs;
      },
      setShare(changed) {
        client.share = changed;
      },
    };
  }

  #soon(client: Client, callback: () => void): void {
    client.waiting.push(callback);
    if (!this.#waiting.has(client)) {
      const ahead = (MOST_AHEAD_NS * DEFAULT_SHARES) / client.share.shares;
      client.hadNs = Math.max(client.hadNs, this.#latestNs - ahead);
      this.#waiting.add(client);
    }
    this.#come();
  }

  #come(): void {
    if (this.#isComing) return;
    this.#isComing = true;
    this.#turns.soon(() => {
      this.#isComing = false;
      this.#turn();
    });
  }

  #turn(): void {
    const client = this.#next(this.#nowNs());
    const callback = client?.waiting.shift();
    if (client === undefined || callback === undefined) return;
    this.#latestNs = Math.max(this.#latestNs, client.hadNs);
    const clockNs = this.#waiting.size > 1 ? this.#usedNs : this.#nowNs;
    const beforeNs = clockNs();
    try {
      callback();
    } finally {
      const tookNs = clockNs() - beforeNs;
      client.hadNs += (tookNs * DEFAULT_SHARES) / client.share.shares;
      client.usedNs += tookNs;
      client.reservedNs -= tookNs;
      // One that wants another turn at once has said so by now.
      if (client.waiting.length === 0) this.#waiting.delete(client);
      if (this.#waiting.size > 0) this.#come();
    }
  }

  #next(nowNs: number): Client | undefined {
    let best: Client | undefined;
    let isReserved = false;
    for (const client of this.#waiting) {
      const { reservation } = client.share;
      const filled = client.reservedNs + (nowNs - client.filledNs) * reservation;
      client.reservedNs = reservation > 0 ? Math.max(-RESERVED_KEPT_NS, Math.min(RESERVED_KEPT_NS, filled)) : 0;
      client.filledNs = nowNs;
      const has = client.reservedNs > 0;
      if (best !== undefined && isReserved && !has) continue;
      if (best === undefined || (has && !isReserved) || client.hadNs < best.hadNs) best = client;
      isReserved ||= has;
    }
    return best;
  }
}
