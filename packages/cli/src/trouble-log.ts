/**
 * What goes wrong in a machine's devices, told to whoever runs it: each sentence once, and no more of them than somebody reads. A guest can
 * make as many as it likes.
 */

import type { Log, LogLevel } from '@ringfence/core';

/** Different sentences that are told. */
export const MAXIMUM_SENTENCES = 50;

/** Tells messages of these levels by `tell`. */
export function troubleLog(tell: (sentence: string) => void, levels: readonly LogLevel[]): Log {
  const told = new Set<string>();
  return {
    log(level, area, message) {
      const sentence = `${area}: ${message}`;
      if (!levels.includes(level) || told.size > MAXIMUM_SENTENCES || told.has(sentence)) return;
      told.add(sentence);
      tell(told.size > MAXIMUM_SENTENCES ? 'there is more trouble with devices, which is not told any more' : sentence);
    },
  };
}
