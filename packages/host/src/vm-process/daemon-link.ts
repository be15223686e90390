/** What a machine's process says to the daemon that starts it. */

import process from 'node:process';
import type { HowStarted } from '../control/operations.ts';
import { wireFailure } from '../control/wire.ts';
import type { ProcessMessage } from './messages.ts';

export function tell(message: ProcessMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, () => resolve());
  });
}

/** The daemon may go now. */
export async function started(how?: HowStarted): Promise<void> {
  await tell({ kind: 'started', how });
  process.removeAllListeners('disconnect');
  if (process.connected) process.disconnect?.();
}

/** Ends the process, for that reason. */
export async function failed(error: unknown): Promise<never> {
  console.error(error);
  await tell({ kind: 'failed', failure: wireFailure(error) });
  process.exit(1);
}
