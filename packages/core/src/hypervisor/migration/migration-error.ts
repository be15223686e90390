/** Why a machine was not moved: a sentence for a person, and a code for a program. */

export type MigrationErrorCode =
  /** The other side cannot be heard any more. */
  | 'lost'
  /** What it says cannot be right. */
  | 'protocol'
  /** It is of another version of Ringfence. */
  | 'version'
  /** The machine there is of another make. */
  | 'other-machine'
  /** The other side will not have the machine; the sentence is its own. */
  | 'refused'
  /** The machine's present state allows no migration. */
  | 'not-now'
  /** Somebody asked for it to be stopped. */
  | 'aborted'
  /** The guest writes faster than the link carries. */
  | 'not-converged';

export class MigrationError extends Error {
  override readonly name = 'MigrationError';
  readonly code: MigrationErrorCode;
  /** The other side's own code, of `refused`. */
  readonly reason: string | undefined;

  constructor(
    code: MigrationErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly reason?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.reason = options.reason;
  }
}
