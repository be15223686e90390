/**
 * The FUSE kernel ABI, version 7: operations, flags and sizes (Linux, include/uapi/linux/fuse.h). Names are the header's, without FUSE_.
 * All numbers are little-endian here (virtio 1.3, 5.11.6.1: the guest's byte order, and the guest is RISC-V).
 */

export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SYNCFS: 50,
} as const;

export const ROOT_ID = 1;

/** Bytes of struct fuse_in_header and struct fuse_out_header. */
export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;

/** Flags of INIT; those from 32 on are in `flags2`. Bit numbers. */
export const INIT_FLAG = {
  ASYNC_READ: 0,
  ATOMIC_O_TRUNC: 3,
  BIG_WRITES: 5,
  DONT_MASK: 6,
  AUTO_INVAL_DATA: 12,
  DO_READDIRPLUS: 13,
  READDIRPLUS_AUTO: 14,
  ASYNC_DIO: 15,
  WRITEBACK_CACHE: 16,
  PARALLEL_DIROPS: 18,
  POSIX_ACL: 20,
  MAX_PAGES: 22,
  CACHE_SYMLINKS: 23,
  SUBMOUNTS: 27,
  SETXATTR_EXT: 29,
  INIT_EXT: 30,
} as const;

/** `valid` of SETATTR. */
export const FATTR = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
} as const;

/** Flags of an answer to OPEN. */
export const FOPEN = { KEEP_CACHE: 1 << 1 } as const;

/** `getattr_flags`: the handle counts. */
export const GETATTR_FH = 1;
/** `setxattr_flags`: a list takes set-group-ID away. */
export const SETXATTR_ACL_KILL_SGID = 1;
/** `fsync_flags`: the data is enough. */
export const FSYNC_FDATASYNC = 1;
/** Flags of an attribute: the root of another file system of the host. */
export const ATTR_SUBMOUNT = 1;

/** open(2), as on RISC-V (include/uapi/asm-generic/fcntl.h). */
export const OPEN_FLAG = {
  ACCMODE: 0o3,
  WRONLY: 0o1,
  RDWR: 0o2,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  DSYNC: 0o10000,
  SYNC: 0o4010000,
} as const;

/** Sizes of fixed parts of answers. */
export const ANSWER_BYTES = {
  attr: 104,
  entry: 128,
  open: 16,
  statfs: 80,
  write: 8,
  init: 64,
  getxattr: 8,
  lseek: 8,
} as const;
/** Fixed parts of an entry of a listing; READDIRPLUS has an entry_out before it. */
export const DIRENT_BYTES = 24;
