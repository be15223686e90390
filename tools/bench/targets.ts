/** What each engine has to reach, measured against QEMU in the same run. */

export interface Targets {
  /** Speed of a program as a part of QEMU's, by the name of its result. */
  readonly speedAtLeast: Readonly<Record<string, number>>;
  /** The same for a program of the table that has none of its own. */
  readonly anySpeedAtLeast?: number;
  /** The geometric mean of the table's programs. */
  readonly meanSpeedAtLeast: number;
  /** Process start to userland, as a multiple of QEMU's time. */
  readonly userlandTimeAtMost: number;
  /** Peak resident memory of the process, as a multiple of QEMU's. */
  readonly memoryAtMost?: number;
  /** Peak resident memory of the process over the memory that the guest used. */
  readonly memoryOverGuestAtMostMb?: number;
}

export type EngineName = 'interpreter' | 'jit';

export const TARGETS: Readonly<Record<EngineName, Targets>> = {
  interpreter: {
    speedAtLeast: {},
    anySpeedAtLeast: 0.25,
    meanSpeedAtLeast: 0.25,
    userlandTimeAtMost: 3,
    memoryOverGuestAtMostMb: 150,
  },
  jit: {
    speedAtLeast: {
      sha256_64MB: 2,
      nbody_1M: 8,
      matmul256x4: 10,
      sort64MB: 1.5,
      chase64MB_8M: 1,
      memcpy_512MB: 1,
      sieve8M_x4: 10,
      indirect_41M: 2,
      forkexec200: 1.5,
      getppid500k: 1,
      pipepingpong20k: 2,
      pagefault32k: 2,
      jitchurn20k: 0.5,
      signal50k: 5,
      ashloop200k: 1.5,
      gzip32MB: 1.5,
      gunzip32MB: 1.5,
      bbsha256sum32MB: 1.5,
    },
    meanSpeedAtLeast: 2.5,
    userlandTimeAtMost: 1,
    memoryAtMost: 1,
  },
};
