/**
 * Error numbers as Linux has them on every architecture that Ringfence runs on or is (include/uapi/asm-generic/errno-base.h and errno.h).
 * FUSE carries them over the wire as they are.
 */

export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ESTALE: 116,
  EDQUOT: 122,
} as const;

export type ErrnoName = keyof typeof ERRNO;

/** The largest number that an answer may carry (MAX_ERRNO of the kernel is larger; no error has such a number). */
const LARGEST_ERRNO = 511;

/** An operation on files that failed as such operations do; the guest's program sees this error number. */
export class FileError extends Error {
  override readonly name = 'FileError';
  readonly errno: number;

  constructor(error: ErrnoName | number, cause?: unknown) {
    const errno = typeof error === 'number' ? error : ERRNO[error];
    super(typeof error === 'number' ? `error ${error}` : error, cause === undefined ? undefined : { cause });
    this.errno = Number.isInteger(errno) && errno > 0 && errno <= LARGEST_ERRNO ? errno : ERRNO.EIO;
  }
}
