/** A running virtual machine by its name, for the commands that reach one. */

import { existsSync } from 'node:fs';
import { HostError, RemoteVM } from '@ringfence/host/control';
import { connectDaemon, daemonSocket } from '@ringfence/host/daemon-client';

/** Rejects with `not-found`, and names that may have been meant, when there is none; with `wrong-state` when the daemon keeps one that does not run. */
export async function findMachine(name: string, verb: string): Promise<RemoteVM> {
  try {
    return await RemoteVM.find(name);
  } catch (error) {
    const state = error instanceof HostError && error.code === 'not-found' ? await stateOf(name) : undefined;
    if (state === undefined) throw error;
    throw new HostError(
      'wrong-state',
      `the virtual machine "${name}" is ${state}, and "${verb}" is for one that is running`,
    );
  }
}

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
