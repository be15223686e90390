/** What is to be made of machines that a daemon finds again. */

import { existsSync } from 'node:fs';
import type { State } from '@ringfence/api';
import { machineFolder } from '../machine-folder/layout.ts';
import type { StoredMachine } from './store.ts';

/** What a machine's process says of itself, as the daemon's states. */
export const STATES_OF_STATUS = {
  booting: 'starting',
  running: 'running',
  paused: 'paused',
  stopping: 'stopping',
} as const satisfies Record<string, State>;

/** One that was to go on from a snapshot of another one and never did. */
export function isHalfCopied({ state, owned, folder, startedAt }: StoredMachine): boolean {
  const hasNotRun = state === 'creating' || state === 'restoring' || (state === 'stopped' && startedAt === undefined);
  return owned && hasNotRun && existsSync(machineFolder(folder).copying);
}
