/** Errors of Node's file functions as errors of the port FileTree. */

import { FileError, type ErrnoName } from '@ringfence/core';

/** Any failure of an operation on files; what is no such failure (a bug) is given back as it is. */
export function fileError(error: unknown): unknown {
  if (error instanceof FileError) return error;
  if (typeof error === 'string') return new FileError(error as ErrnoName);
  // libuv gives the error numbers of the system, negative.
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number')
    return new FileError(-error.errno, error);
  return error;
}
