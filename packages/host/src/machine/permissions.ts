/**
 * Gives up what Node's permission model has left to this thread, for good. Does nothing in a process that was started without it. A thread
 * that is started later has what its process was started with, so `worker` goes first.
 */

import process from 'node:process';

export type Permission = 'worker' | 'child' | 'net' | 'inspector' | 'fs.write' | 'fs.read';

export function giveUp(...permissions: readonly Permission[]): void {
  for (const permission of permissions) process.permission?.drop(permission);
}
