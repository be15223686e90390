/** The processes there are of a machine. */

import { readdirSync, readFileSync } from 'node:fs';

/** By the words they were started with (proc(5)). */
export function processesOf(id: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(id) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}
