/** What does not work and is nobody's bug: one error, with a code for programs and a sentence for people. */

import { ApiError, type ErrorCode } from '@ringfence/api/errors';

/** Stable: programs may rely on them. */
export type HostErrorCode = ErrorCode;

export class HostError extends ApiError {
  override readonly name = 'HostError';
}

/** Of who asks for something of a machine, or a fork, that is no more. */
export function hasEnded(name: string, cause?: unknown): HostError {
  return new HostError('ended', `the virtual machine "${name}" has ended`, cause);
}

/** The name of an error of the system or of a guest, such as ENOENT. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const name = 'errno' in error && typeof error.errno === 'string' ? error.errno : 'code' in error ? error.code : '';
  return typeof name === 'string' && /^E[A-Z0-9]+$/.test(name) ? name : undefined;
}

/** Control characters, the directions of bidirectional text, what is no character. */
const UNSEEN = /[\p{C}\u2028\u2029]/gu;

/** A text that may hold names of a guest's choice, so that it moves no cursor and rewrites nothing when people are told it. */
export function harmless(text: string): string {
  return text.replaceAll(UNSEEN, '\u{fffd}');
}

/** The sentence that the operating system has for an error of a file. */
export function systemReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'there is no such file or folder';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EISDIR':
      return 'it is a directory';
    case 'ENOSPC':
    case 'EDQUOT':
      return 'no space is left on the device';
    case 'EROFS':
      return 'its file system is read-only';
    default:
      // It may name the file.
      return harmless(error instanceof Error ? error.message : String(error));
  }
}
