/** Lets a guest write to its disks what it has not written yet. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestCalls } from './calls.ts';
import { runCommand } from './run-command.ts';

/** Gives whether it has, within `timeoutMs`. */
export function syncGuest(guest: Pick<GuestCalls, 'exec'>, timeoutMs: number): Promise<boolean> {
  const done = runCommand(guest, ['sync'], { timeoutMs }).then(
    ({ code }) => code === 0,
    () => false,
  );
  return Promise.race([done, sleep(timeoutMs, false, { ref: false })]);
}
