/**
 * The expected failures of a disk's storage (port BlockStore). A guest sees them as an I/O error of one request; a person sees the
 * sentence, which names the disk.
 */

/**
 * What went wrong, for programs: `unavailable` cannot be opened; `locked` belongs to another VM; `io` failed underneath; `full` no room;
 * `corrupt` holds what cannot be true; `unsupported` is sound but needs what we do not have.
 */
export type BlockStoreErrorCode = 'unavailable' | 'locked' | 'io' | 'full' | 'corrupt' | 'unsupported';

export class BlockStoreError extends Error {
  override readonly name = 'BlockStoreError';
  readonly code: BlockStoreErrorCode;

  constructor(code: BlockStoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
