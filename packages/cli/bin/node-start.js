/**
 * How Node is started for a virtual machine, said once: by the launcher, and by the benchmark, which measures what a user gets. JavaScript
 * for Node 18, see ringfence.js.
 *
 * - When the host's compiler translates the interpreter, a function of a few hundred kilobytes, it takes tens of megabytes to work in and
 *   frees them. glibc's malloc keeps what was freed, the more so the larger the blocks were (mallopt(3), M_MMAP_THRESHOLD, "dynamic");
 *   with fixed thresholds it gives that memory back before the guest needs its own. Each thread has a heap of its own there, which is never in huge pages;
 *   the one that all threads share is, if it grows and shrinks by large steps. Other C libraries do not know the names.
 * - A page that is touched for the first time costs what the host's kernel takes for a fault: a quarter of a microsecond on the machine itself, 13 in a virtual
 *   machine whose page tables are shadowed by software. What malloc gives comes in huge pages where it is large, so there are fewer.
 * - The young generation of V8's heap grows to two halves of 16 MiB, which little that happens here needs.
 * - V8 collects all garbage at once when it hears of more memory outside of its heap than half of what the heap may become, and a memory domain's
 *   4 GiB are that, although nobody has touched them: 19 ms while a machine is restored. The heap stays as small as it is.
 * - V8 translates a compiled region quickly first, and well once it has executed some 13 MB of it. A region is executed in small parts, thousands
 *   of times a second at most where a server answers: with 2 MB the good translation is there in seconds instead of half a minute.
 * - Copies that V8 makes of loops in compiled guest code make that code larger and no faster.
 *
 * docs/benchmarks.md has what each of them saves.
 */

/** Variables of mallopt(3), read once, when a process starts. */
const MALLOC = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_TRIM_THRESHOLD_: '2097152',
  MALLOC_TOP_PAD_: '1048576',
  MALLOC_MMAP_THRESHOLD_: '16777216',
};
/** Whoever sets these has ideas of their own about malloc. */
const GLIBC_TUNABLES_OF_MALLOC = 'glibc.malloc.';
/** malloc asks for huge pages (glibc 2.35, manual, "Memory Allocation Tunables"); they have no variable of mallopt(3). */
const HUGE_PAGES = `${GLIBC_TUNABLES_OF_MALLOC}hugetlb=1`;

const FLAGS = [
  '--max-semi-space-size=2',
  '--max-old-space-size=10240',
  '--wasm-tiering-budget=2000000',
  '--no-wasm-loop-peeling',
  '--no-wasm-loop-unrolling',
];

/**
 * Flags and environment for a Node that runs a virtual machine. What the user has set stays as it is: variables, options in NODE_OPTIONS,
 * options of this process.
 * @param {Readonly<Record<string, string | undefined>>} env the user's environment
 * @param {readonly string[]} ownFlags options that this Node itself was started with
 * @returns {{ flags: string[], env: Record<string, string | undefined> }}
 */
export function nodeStart(env, ownFlags) {
  const given = [...ownFlags, ...(env['NODE_OPTIONS'] ?? '').split(/\s+/)].map(nameOf);
  const tunables = env['GLIBC_TUNABLES'] ?? '';
  const tunesMalloc = tunables.includes(GLIBC_TUNABLES_OF_MALLOC);
  const malloc = { ...MALLOC, ...env, GLIBC_TUNABLES: tunables === '' ? HUGE_PAGES : `${tunables}:${HUGE_PAGES}` };
  return {
    flags: [...FLAGS.filter((flag) => !given.includes(nameOf(flag))), ...ownFlags],
    env: tunesMalloc ? { ...env } : malloc,
  };
}

/**
 * The same environment for a shell, as a function to call: of somebody who has set neither GLIBC_TUNABLES nor NODE_OPTIONS.
 * @param {string} name
 * @returns {string}
 */
export function nodeEnvironment(name) {
  const values = { ...MALLOC, GLIBC_TUNABLES: HUGE_PAGES };
  // As above: a variable of mallopt(3) that is there and empty stays.
  const lines = Object.entries(values).map(([key, value]) => `  : "\${${key}${key in MALLOC ? '=' : ':='}${value}}"`);
  return [`${name}() {`, ...lines, `  export ${Object.keys(values).join(' ')}`, '}', ''].join('\n');
}

/**
 * `--max-semi-space-size=2` and `--max_semi_space_size` are the same option.
 * @param {string} flag
 * @returns {string}
 */
function nameOf(flag) {
  return flag.replace(/=.*/s, '').replaceAll('_', '-');
}
