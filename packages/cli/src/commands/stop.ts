/** `ringfence stop`: shuts virtual machines down, one or several at once. */

import { existsSync } from 'node:fs';
import process from 'node:process';
import { ApiError } from '@ringfence/api/errors';
import { HostError } from '@ringfence/host/control';
import { connectDaemon, daemonSocket } from '@ringfence/host/daemon-client';
import { timeLimit } from '../durations.ts';
import { printJson, reported, type Shape, toEach } from './daemon/report.ts';
import { findMachine } from './find-machine.ts';
import { say } from './say.ts';

export interface StopOptions extends Shape {
  /** As it was typed. */
  readonly timeout: string;
}

export function stopMachines(names: readonly string[], { timeout, ...shape }: StopOptions): Promise<number> {
  const timeoutMs = /^0+(?:ms|s|m)?$/.test(timeout) ? 0 : timeLimit(timeout);
  if (typeof timeoutMs === 'string') {
    const wrong = new HostError('bad-argument', `--timeout "${timeout}" ${timeoutMs}`);
    return reported(shape, () => Promise.reject(wrong));
  }
  return toEach(names, shape, async (name) => {
    const done = (await stoppedByDaemon(name, timeoutMs)) ?? (await stopped(name, timeoutMs));
    if (shape.json === true) printJson(done);
    else process.stdout.write(`${name}\n`);
  });
}

/** Lets the daemon do it where one runs and keeps the machine, so that it knows of it. */
async function stoppedByDaemon(name: string, timeoutMs: number): Promise<object | undefined> {
  if (!existsSync(daemonSocket())) return undefined;
  try {
    return await connectDaemon().run('vm.stop', { vm: name, timeoutMs });
  } catch (error) {
    if (error instanceof ApiError && (error.code === 'not-found' || error.code === 'unavailable')) return undefined;
    throw error;
  }
}

async function stopped(name: string, timeoutMs: number): Promise<object> {
  const vm = await findMachine(name, 'stop');
  const how = await vm.stop({ timeoutMs });
  if (how === 'forced' && timeoutMs > 0) say(`"${name}" did not shut down in time and was ended as it was`);
  return { kind: 'vm.stop', vm: { name }, state: 'done', how };
}
