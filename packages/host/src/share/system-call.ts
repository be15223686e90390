/**
 * Calls of the C library that Node has no function for, as data: what system-calls.ts asks a worker thread for, and system-calls-worker.ts
 * does there. None of them is variadic, so a signature is all there is to know.
 */

/** Types are those of `node:ffi`. */
export const SIGNATURES = {
  getxattr: ['int64', 'buffer', 'buffer', 'buffer', 'uint64'],
  setxattr: ['int32', 'buffer', 'buffer', 'buffer', 'uint64', 'int32'],
  listxattr: ['int64', 'buffer', 'buffer', 'uint64'],
  removexattr: ['int32', 'buffer', 'buffer'],
  renameat2: ['int32', 'int32', 'buffer', 'int32', 'buffer', 'uint32'],
  mknodat: ['int32', 'int32', 'buffer', 'uint32', 'uint64'],
  utimensat: ['int32', 'int32', 'buffer', 'buffer', 'int32'],
  fallocate: ['int32', 'int32', 'int32', 'int64', 'int64'],
  lseek: ['int64', 'int32', 'int64', 'int32'],
  copy_file_range: ['int64', 'int32', 'buffer', 'int32', 'buffer', 'uint64', 'uint32'],
  syncfs: ['int32', 'int32'],
} as const;

export type SystemCallName = keyof typeof SIGNATURES;
/** 64-bit numbers are bigints, others numbers; texts end with a NUL. */
export type SystemCallArgument = number | bigint | Uint8Array;

export interface SystemCallRequest {
  readonly id: number;
  readonly name: SystemCallName;
  readonly words: readonly SystemCallArgument[];
  /** Which of the words the call fills, if any: it comes back. */
  readonly filled: number | undefined;
}

export interface SystemCallAnswer {
  readonly id: number;
  /** What the call gave; -1 when it failed. */
  readonly value: number;
  readonly errno: number;
  readonly filled: Uint8Array | undefined;
}

/** The worker's first message: whether this Node and this C library have all that is needed. */
export interface SystemCallsReady {
  readonly ready: boolean;
}
