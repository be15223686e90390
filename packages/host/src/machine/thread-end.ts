/** What a thread that executes harts ends with, as another thread can be told: of an error's class nothing is left when it is copied. */

import { SnapshotError } from '@ringfence/core';

export interface ThreadEnd {
  readonly message: string;
  readonly stack: string | undefined;
  /** What a page that was broken or not to be read came to (SnapshotError). */
  readonly snapshot: SnapshotError['code'] | undefined;
}

export function threadEnd(error: unknown): ThreadEnd {
  if (!(error instanceof Error)) return { message: String(error), stack: undefined, snapshot: undefined };
  const { message, stack } = error;
  return { message, stack, snapshot: error instanceof SnapshotError ? error.code : undefined };
}

export function errorOfThread({ message, stack, snapshot }: ThreadEnd): Error {
  const error = snapshot === undefined ? new Error(message) : new SnapshotError(snapshot, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
