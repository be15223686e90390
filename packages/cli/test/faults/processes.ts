/** The processes there are of a machine. */

import { readdirSync, readFileSync } from 'node:fs';

/** By one of the words they were started with (proc(5)): its id, as a rule. */
export function processesOf(word: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(word) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}
