/** A host for machines under test: Node's clock, randomness and event loop, and a serial line that can be waited for. */

import { randomFillSync } from 'node:crypto';
import type { ByteSink, Clock, Entropy } from '../../base/ports.ts';
import type { Turns } from '../runner.ts';

export const nodeClock: Clock = {
  monotonicNs: () => Math.floor(performance.now() * 1e6),
  wallNs: () => BigInt(Date.now()) * 1_000_000n,
};

export const nodeEntropy: Entropy = { fill: (into) => void randomFillSync(into) };

export const nodeTurns: Turns = {
  soon: (callback) => void setImmediate(callback),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** So much of the end of a transcript is shown when the expected words do not come. */
const SHOWN_CHARACTERS = 3000;

/** Everything that came out of a line so far, and who waits for more of it. */
export class Transcript implements ByteSink {
  text = '';
  readonly #decoder = new TextDecoder();
  /** What `waitFor` has already found ends here. */
  #position = 0;
  #look: () => void = () => {};

  write(bytes: Uint8Array): void {
    this.text += this.#decoder.decode(bytes, { stream: true });
    this.#look();
  }

  /** Resolves with the match once `pattern` comes behind what was waited for before; rejects with what came instead. */
  waitFor(pattern: RegExp, timeoutMs = 60_000): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#look = () => {};
        reject(
          new Error(
            `${String(pattern)} did not come in ${timeoutMs} ms. The end of what came:\n${this.text.slice(-SHOWN_CHARACTERS)}`,
          ),
        );
      }, timeoutMs);
      this.#look = () => {
        const match = pattern.exec(this.text.slice(this.#position));
        if (match === null) return;
        clearTimeout(timer);
        this.#look = () => {};
        this.#position += match.index + match[0].length;
        resolve(match);
      };
      this.#look();
    });
  }
}

/** For results that a timeout must not swallow. */
export function within<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} took more than ${timeoutMs} ms`)), timeoutMs);
    void promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
