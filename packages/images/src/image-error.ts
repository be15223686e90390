/** The one error of this package: something outside (a mirror, a file, a disk, the caller's words) was not as it has to be. */

export type ImageErrorCode =
  /** The caller stopped it. */
  | 'aborted'
  /** A word of the caller's that cannot be used: an unknown image, a suite name, an argument with a NUL in it. */
  | 'bad-argument'
  /** No mirror is set, or the one that is set cannot be used. */
  | 'no-mirror'
  /** The mirror does not answer, or breaks off. */
  | 'unreachable'
  /** The mirror answers, but has not got what was asked for. */
  | 'not-found'
  /** There is no keyring to check a signature with. */
  | 'no-keyring'
  /** The signature of the archive is missing, wrong, or by nobody we know. */
  | 'bad-signature'
  /** The index of the archive is too old, from the future, or of another suite than the one asked for. */
  | 'bad-release'
  /** A file is not the one that the signed index names. */
  | 'bad-hash'
  /** A file is what the index names, but not what its format says it should be. */
  | 'bad-format'
  /** The suite has no such package. */
  | 'no-package'
  /** The machine that installs the image's packages did not come to its end. */
  | 'build'
  /** The cached image is not what was put there. */
  | 'damaged'
  /** The cache has no such image. */
  | 'not-cached'
  /** The disk of the cache is full. */
  | 'no-space'
  /** The folder of the cache cannot be written or read. */
  | 'cache';

/** An expected failure. `message` is a sentence for a person; `code` is for programs. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly code: ImageErrorCode;

  constructor(code: ImageErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
