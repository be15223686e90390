/** The programs that can be measured, by the names that guest/suite.sh knows them by. */

/**
 * `table`: what Ringfence is built to be fast at, with targets and in the geometric mean. `beside`: run with the table, explains its figures.
 * `wide`: other typical programs, which nothing was tuned for.
 */
export type ProgramSet = 'table' | 'beside' | 'wide';

export interface Program {
  readonly name: string;
  readonly set: ProgramSet;
  /** What its RESULT lines are called. */
  readonly results: readonly string[];
  /**
   * Whether the machine under it gives the same check. Not where the compiler fuses multiplications with additions on RISC-V only, and
   * not where the program makes instructions of its own.
   */
  readonly sameNatively: boolean;
  readonly says: string;
}

const inSet =
  (set: ProgramSet) =>
  (name: string, results: readonly string[], says: string, { sameNatively = true } = {}): Program => ({
    name,
    set,
    results,
    sameNatively,
    says,
  });
const table = inSet('table');
const beside = inSet('beside');
/** Their results are called as they are. */
const wide = (name: string, says: string): Program => inSet('wide')(name, [name], says);

/** The result whose instructions per second are the engine's figure. */
export const COMPUTE_LOOP_RESULT = 'loop_20M';

export const PROGRAMS: readonly Program[] = [
  table('sha', ['sha256_64MB'], 'SHA-256 of 64 MB'),
  table('nbody', ['nbody_1M'], 'planets, double, fused multiply-add', { sameNatively: false }),
  table('matmul', ['matmul256x4'], 'matrix product, double', { sameNatively: false }),
  table('sort', ['sort64MB'], 'quicksort of 64 MB'),
  table('chase', ['chase64MB_8M'], 'pointer chase over 64 MB'),
  table('memcpy', ['memcpy_512MB'], 'memcpy of 512 MB'),
  table('sieve', ['sieve8M_x4'], 'sieve of Eratosthenes, stores of bytes'),
  table('indir', ['indirect_41M'], 'calls through pointers'),
  table('fork', ['forkexec200'], 'fork, exec and wait'),
  table('sys', ['getppid500k'], 'system calls'),
  table('pipe', ['pipepingpong20k'], 'two processes and two pipes'),
  table('fault', ['pagefault32k'], 'page faults'),
  table('churn', ['jitchurn20k'], 'writes code and calls it'),
  table('sig', ['signal50k'], 'signals'),
  table('ash', ['ashloop200k'], "a loop in busybox's shell"),
  table('gzip', ['gzip32MB', 'gunzip32MB'], 'busybox gzip and gunzip'),
  table('sha256sum', ['bbsha256sum32MB'], 'busybox sha256sum'),
  beside('loop', [COMPUTE_LOOP_RESULT], 'integer loop; the MIPS figure'),
  beside('nofma', ['nbody_1M_nofma'], 'planets without fused multiply-add'),
  beside('bbtrue', ['forkexec200bb'], 'fork, exec and wait with busybox'),
  wide('coremix', 'lists, small matrices, a state machine, CRC'),
  wide('strmix', 'records and short strings'),
  wide('intdouble', 'whole numbers kept in double'),
  wide('float32', 'single precision and conversions'),
  wide('poly', 'polynomials with fma()'),
  wide('mandel', 'Mandelbrot set, double'),
  wide('fft', 'fast Fourier transform, double'),
  wide('stride', 'matrix summed by columns'),
  wide('lz', 'LZ compression and back'),
  wide('hash', 'hash table: insert, find, delete'),
  wide('trees', 'binary trees, malloc and free'),
  wide('bytecode', 'an interpreter with a switch'),
  wide('recurse', 'Fibonacci and Ackermann'),
  wide('qsort', "libc's qsort with a comparison"),
  wide('strings', "libc's strlen, memchr, strstr, strcmp"),
  wide('format', 'snprintf, strtol, strtod'),
  wide('modpow', 'modular powers, 64-bit division and high products'),
  wide('bits', 'bit counts, reversals, queens on a board'),
  wide('editdist', 'edit distance, dynamic programming'),
  wide('dfa', 'an automaton over text'),
  wide('virtual', 'virtual calls over mixed objects'),
  wide('jump', 'setjmp and longjmp'),
  wide('files', 'small files on tmpfs'),
  wide('maps', 'mmap, mprotect and munmap'),
  wide('threads', 'two threads, a mutex, atomics'),
  wide('timers', 'work under a signal every millisecond'),
  wide('awk', 'busybox awk counts words'),
  wide('bbsort', 'busybox sort'),
  wide('grep', 'busybox grep'),
  wide('sed', 'busybox sed'),
  wide('tar', 'busybox tar, there and back'),
  wide('bzip2', 'busybox bzip2 and bunzip2'),
];

/** What `--set` may be given. */
export const CHOICES: Readonly<Record<string, readonly ProgramSet[]>> = {
  main: ['table', 'beside'],
  wide: ['wide'],
  all: ['table', 'beside', 'wide'],
};

/** The programs of a choice of sets; an Error that lists the choices when there is none of this name. */
export function programsOf(choice: string): readonly Program[] {
  const sets = Object.hasOwn(CHOICES, choice) ? CHOICES[choice] : undefined;
  if (sets === undefined) {
    throw new Error(`There is no set called ${choice}. The sets are: ${Object.keys(CHOICES).join(', ')}.`);
  }
  return PROGRAMS.filter(({ set }) => sets.includes(set));
}

/** The programs of these names, each once. An Error that lists the names when one is unknown. */
export function choosePrograms(names: readonly string[]): readonly Program[] {
  const unknown = names.filter((name) => PROGRAMS.every((known) => known.name !== name));
  if (unknown.length > 0) {
    throw new Error(
      `There is no program called ${unknown.join(' or ')}. The programs are: ${PROGRAMS.map(({ name }) => name).join(', ')}.`,
    );
  }
  return PROGRAMS.filter(({ name }) => names.includes(name));
}
