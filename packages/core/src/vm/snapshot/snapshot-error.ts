/** Why a snapshot could not be taken or restored: a sentence for a person, and a code for a program. */

export type SnapshotErrorCode =
  /** Its bytes are not those that were written, or not all of them are there. */
  | 'broken'
  /** Another version of Ringfence made it. */
  | 'version'
  /** It is of a machine of another make. */
  | 'other-machine'
  /** A snapshot that it builds on is not there. */
  | 'missing-parent'
  /** There is none of that name, or there is one already. */
  | 'not-found'
  | 'exists'
  /** Another one builds on it. */
  | 'in-use'
  /** The machine's present state allows none. */
  | 'not-now'
  /** It would build on more snapshots than one may. */
  | 'too-many'
  /** It could not be written. */
  | 'unavailable';

export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
  readonly code: SnapshotErrorCode;

  constructor(code: SnapshotErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
