/** A running virtual machine by its name, for the commands that reach one. */

import { HostError, RemoteVM } from '@ringfence/host/control';
import { CliError } from '../failure.ts';

/** Fails with `exitCode` and names that may have been meant when there is none. */
export async function findMachine(name: string, exitCode: number): Promise<RemoteVM> {
  try {
    return await RemoteVM.find(name);
  } catch (error) {
    throw error instanceof HostError ? new CliError(error.message, exitCode, error) : error;
  }
}
