/** The programs that can be measured, by the names that guest/suite.sh knows them by. */

export interface Program {
  readonly name: string;
  /** What its RESULT lines are called. */
  readonly results: readonly string[];
  /** Part of a run that names no programs. */
  readonly usual: boolean;
  /**
   * Whether the machine under it gives the same check. Not where the compiler fuses multiplications with additions on RISC-V only, and
   * not where the program makes instructions of its own.
   */
  readonly sameNatively: boolean;
  readonly says: string;
}

const program = (
  name: string,
  results: readonly string[],
  says: string,
  { usual = false, sameNatively = true } = {},
): Program => ({ name, results, usual, sameNatively, says });

/** The program whose instructions per second are the engine's figure. */
export const COMPUTE_LOOP = 'loop';

export const PROGRAMS: readonly Program[] = [
  program(COMPUTE_LOOP, ['loop_20M'], 'integer loop; the MIPS figure', { usual: true }),
  program('sha', ['sha256_64MB'], 'SHA-256 of 64 MB', { usual: true }),
  program('nbody', ['nbody_1M'], 'planets, double, fused multiply-add', { usual: true, sameNatively: false }),
  program('nofma', ['nbody_1M_nofma'], 'planets without fused multiply-add'),
  program('matmul', ['matmul256x4'], 'matrix product, double', { usual: true, sameNatively: false }),
  program('chase', ['chase64MB_8M'], 'pointer chase over 64 MB'),
  program('sort', ['sort64MB'], 'quicksort of 64 MB', { usual: true }),
  program('memcpy', ['memcpy_512MB'], 'memcpy of 512 MB', { usual: true }),
  program('sieve', ['sieve8M_x4'], 'sieve of Eratosthenes, stores of bytes', { usual: true }),
  program('indir', ['indirect_41M'], 'calls through pointers', { usual: true }),
  program('fork', ['forkexec200'], 'fork, exec and wait'),
  program('bbtrue', ['forkexec200bb'], 'the same with busybox'),
  program('sys', ['getppid500k'], 'system calls'),
  program('pipe', ['pipepingpong20k'], 'two processes and two pipes'),
  program('fault', ['pagefault32k'], 'page faults'),
  program('churn', ['jitchurn20k'], 'writes code and calls it'),
  program('sig', ['signal50k'], 'signals'),
  program('ash', ['ashloop200k'], "a loop in busybox's shell"),
  program('gzip', ['gzip32MB', 'gunzip32MB'], 'busybox gzip and gunzip', { usual: true }),
  program('sha256sum', ['bbsha256sum32MB'], 'busybox sha256sum'),
];

/** The programs of these names, each once; of none, the usual ones. An Error that lists the names when one is unknown. */
export function choosePrograms(names: readonly string[]): readonly Program[] {
  if (names.length === 0) return PROGRAMS.filter(({ usual }) => usual);
  const unknown = names.filter((name) => PROGRAMS.every((known) => known.name !== name));
  if (unknown.length > 0) {
    throw new Error(
      `There is no program called ${unknown.join(' or ')}. The programs are: ${PROGRAMS.map(({ name }) => name).join(', ')}.`,
    );
  }
  return PROGRAMS.filter(({ name }) => names.includes(name));
}
