/** Processor time of a process, in ticks of the system: user and system time, fields 14 and 15 of its stat (proc(5)). Throws when it has ended. */

import { readFileSync } from 'node:fs';

/** sysconf(3), `_SC_CLK_TCK`: what Linux has everywhere. */
export const TICKS_PER_SECOND = 100;

export function processorTicks(pid: number): number {
  // The second field, a name in parentheses, may hold blanks.
  const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
  const [user = 0, system = 0] = rest.split(' ').slice(11, 13).map(Number);
  return user + system;
}
