/** Waiting that somebody can stop. */

import { AgentError } from '@ringfence/core';
import { HostError } from '../failure.ts';

/** As `promise`, but that it rejects with a HostError when `signal` is aborted before. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void =>
    reject(new HostError('aborted', 'the start of the virtual machine was stopped', signal.reason));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** What `begin` gives, which is begun while `first` is under way and counts when that has succeeded. */
export async function together<T>(first: Promise<unknown>, begin: () => Promise<T>): Promise<T> {
  first.catch(() => undefined);
  const begun = begin();
  begun.catch(() => undefined);
  await first;
  return begun;
}

/** Asks something of a guest's agent; when that ends before it answers, of the one that comes after it. */
export async function ofTheNextToo<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof AgentError && error.code === 'lost') return ask();
    throw error;
  }
}

export interface WantedOptions {
  /** Asked when it is its turn: what is not wanted any more by then is not begun, and rejects with `aborted`. */
  readonly isWanted?: () => Promise<boolean>;
}

export async function checkWanted({ isWanted }: WantedOptions): Promise<void> {
  if (isWanted !== undefined && !(await isWanted())) throw new HostError('aborted', 'who asked has gone');
}
