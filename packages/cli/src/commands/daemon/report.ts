/** How the daemon's verbs say what they did, for people and as JSON, and what does not work: with the code of the contract either way. */

import process from 'node:process';
import { ApiError, type LongOperation } from '@ringfence/api';
import { EXIT } from '../../exit-codes.ts';
import { say } from '../say.ts';

export interface Shape {
  readonly json?: boolean | undefined;
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Runs it; gives the exit code. */
export async function reported({ json }: Shape, work: () => Promise<number | void>): Promise<number> {
  try {
    return (await work()) ?? EXIT.OK;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (json === true) printJson({ error: { code: error.code, message: error.message } });
    else say(`${error.message} (${error.code})`);
    return EXIT.FAILED;
  }
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
    process.stderr.write(`\r${text}\u001B[K`);
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
