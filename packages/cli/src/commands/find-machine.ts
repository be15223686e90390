/** A running virtual machine by its name, for the commands that reach one. */

import { existsSync } from 'node:fs';
import type { State } from '@ringfence/api';
import { HostError, RemoteVM } from '@ringfence/host/control';
import { connectDaemon, daemonSocket } from '@ringfence/host/daemon-client';

/**
 * Rejects with `not-found`, and names that may have been meant, when there is none; with `wrong-state` when the daemon keeps one that does not run, and
 * with `unavailable` when it keeps one that runs and whose socket is gone.
 */
export async function findMachine(name: string, verb: string): Promise<RemoteVM> {
  try {
    return await RemoteVM.find(name);
  } catch (error) {
    const state = error instanceof HostError && error.code === 'not-found' ? await stateOf(name) : undefined;
    if (state === undefined) throw error;
    if (WITH_SOCKET.has(state))
      throw new HostError(
        'unavailable',
        `the virtual machine "${name}" is ${state}, and its process cannot be reached: its socket is gone`,
        error,
      );
    throw new HostError(
      'wrong-state',
      `the virtual machine "${name}" is ${state}, and "${verb}" is for one that is running`,
    );
  }
}

/** States in which nobody is about to make the socket, or has taken it away. */
const WITH_SOCKET: ReadonlySet<string> = new Set<State>(['running', 'pausing', 'paused', 'resuming', 'migrating']);

/** Of one that the daemon keeps, where one runs. */
async function stateOf(name: string): Promise<string | undefined> {
  if (!existsSync(daemonSocket())) return undefined;
  try {
    return (await connectDaemon().ask('vm.inspect', { vm: name })).state;
  } catch {
    // What was said first is as true.
    return undefined;
  }
}
