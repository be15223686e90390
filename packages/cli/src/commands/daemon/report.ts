/** How the daemon's verbs say what they did, for people and as JSON, and what does not work: with the code of the contract either way. */

import process from 'node:process';
import type { LongOperation } from '@ringfence/api';
import { ApiError } from '@ringfence/api/errors';
import { EXIT } from '../../exit-codes.ts';
import { plainJson, plainText } from '../../failure.ts';
import { say } from '../say.ts';

export interface Shape {
  readonly json?: boolean | undefined;
}

export function printJson(value: unknown): void {
  process.stdout.write(`${plainJson(value, 2)}\n`);
}

/** Runs it; gives the exit code, `failed` when it does not work. */
export async function reported(
  { json }: Shape,
  work: () => Promise<number | void>,
  failed: number = EXIT.FAILED,
): Promise<number> {
  try {
    return (await work()) ?? EXIT.OK;
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    if (json === true) printJson({ error: failure });
    else say(`${failure.message} (${failure.code})`);
    return failed;
  }
}

/** As the daemon says it (host's failures.ts), of what a machine that runs can say; errors are known by name, so that nothing need be loaded to tell them. */
function failureOf(error: unknown): { readonly code: string; readonly message: string } | undefined {
  if (error instanceof ApiError) return { code: error.code, message: error.message };
  if (error instanceof Error && error.name === 'AgentError')
    return { code: 'unavailable', message: error.message.replace(/\.$/, '') };
  return undefined;
}

/** Tells people what a long operation is doing, where they look. */
export function showProgress(): (operation: LongOperation) => void {
  if (!process.stderr.isTTY) return () => undefined;
  let shown = '';
  return ({ kind, vm, state, step, done, total }) => {
    const share =
      done !== undefined && total !== undefined && total > 0 ? ` ${Math.floor((100 * done) / total)} %` : '';
    const text = state === 'running' ? `${vm.name}: ${kind.replace('vm.', '')}: ${step}${share}` : '';
    if (text === shown) return;
    // The line is written over: carriage return, then erase to its end (ECMA-48, EL).
    process.stderr.write(`\r${plainText(text)}\u001B[K`);
    shown = text;
  };
}

/** Does it to each of the machines, side by side; one that fails does not keep the others. */
export async function toEach(
  names: readonly string[],
  shape: Shape,
  one: (name: string) => Promise<unknown>,
): Promise<number> {
  const codes = await Promise.all(
    [...new Set(names)].map((name) => reported(shape, async () => void (await one(name)))),
  );
  return Math.max(...codes);
}
