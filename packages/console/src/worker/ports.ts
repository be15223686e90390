/** The world of a machine in a worker: the browser's clock and randomness, and turns of the worker's event loop. */

import type { Clock, Entropy, Turns } from '@ringfence/core';
import type { PageOutput } from './page-output.ts';

export const workerClock: Clock = {
  monotonicNs: () => Math.floor(performance.now() * 1e6),
  wallNs: () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1000n,
};

/** As much as getRandomValues gives at once. */
const ENTROPY_CHUNK_BYTES = 65_536;

export const workerEntropy: Entropy = {
  fill(into) {
    // Guest memory is shared, which getRandomValues refuses.
    const bytes = new Uint8Array(Math.min(into.length, ENTROPY_CHUNK_BYTES));
    for (let at = 0; at < into.length; at += bytes.length) {
      crypto.getRandomValues(bytes);
      into.set(bytes.subarray(0, Math.min(bytes.length, into.length - at)), at);
    }
  },
};

/**
 * The event loop, which gives the machine no turn while `output` is full. A message to oneself is a turn at once; a timer would come
 * after 4 ms (HTML, "timers", step 13 of the initialization steps).
 */
export function workerTurns(output: PageOutput): Turns {
  const { port1, port2 } = new MessageChannel();
  const callbacks: (() => void)[] = [];
  port1.addEventListener('message', () => callbacks.shift()?.());
  port1.start();
  return {
    soon(callback) {
      output.whenRoom(() => {
        callbacks.push(callback);
        port2.postMessage(undefined);
      });
    },
    after(delayMs, callback) {
      const timer = setTimeout(callback, delayMs);
      return () => clearTimeout(timer);
    },
  };
}
