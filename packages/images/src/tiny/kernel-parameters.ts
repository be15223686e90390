/**
 * Words for the kernel's command line that make the image boot sooner, and rest. Debian's kernel is made for machines that stay up; a disposable
 * one pays at every start for checks whose results nobody waits for. Counted in QEMU (-icount), from the first instruction to /init:
 * 840 million instructions without them and 270 million with them for Linux 6.12, 700 and 300 million for 7.2. What a kernel does not
 * know it passes over.
 */
export const KERNEL_PARAMETERS: readonly string[] = [
  // Self-tests of the crypto library.
  'cryptomgr.notests',
  `initcall_blacklist=${[
    'jent_mod_init', // health tests of a second source of randomness; the machine's device tree brings a seed
    'load_system_certificate_list', // keys to check modules with, which here carry no signatures
    'trace_eval_init', // puts numbers in place of names into the descriptions of trace events, which nobody reads
    'check_unaligned_access_all_cpus', // spins for several timer ticks to measure how fast misaligned accesses are
  ].join(',')}`,
  // What wakes a machine that has nothing to do, twice a second: room for huge pages made before anybody asks. (Of a longer vm.stat_interval
  // memory that a processor has freed would come back late.)
  'sysctl.vm.compaction_proactiveness=0',
];

/**
 * Those of the image `tiny`, where nobody measures how long processes wait for memory (pressure stall information), and nobody looks every 4 s whether
 * a processor hangs: one that its host keeps from running seems to, and the look was a third of what wakes a guest that has nothing to do.
 */
export const TINY_KERNEL_PARAMETERS: readonly string[] = [...KERNEL_PARAMETERS, 'psi=0', 'nowatchdog'];
