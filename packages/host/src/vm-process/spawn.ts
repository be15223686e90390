/** Starts a process that is to be, or become, a virtual machine's, under Node's permission model. */

import { type ChildProcess, spawn } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { startSnapshotOf } from './start-snapshot.ts';

/** The program of the process. */
const PROGRAM = new URL('./main.ts', import.meta.url);
/** What of this process's environment a machine's process has, too. */
const VARIABLES = [
  'PATH',
  'HOME',
  'TZ',
  'LANG',
  'XDG_CACHE_HOME',
  'RINGFENCE_CACHE',
  'MALLOC_ARENA_MAX',
  'MALLOC_TRIM_THRESHOLD_',
  'MALLOC_TOP_PAD_',
  'MALLOC_MMAP_THRESHOLD_',
  'GLIBC_TUNABLES',
];
/** Options of this Node that suit a virtual machine, and no others. */
const OPTIONS = /^--(?:max-(?:semi|old)-space-size=|wasm-tiering-budget=|no-wasm-loop-)/;

/** `permissions` are what it may have of this computer (permissions.ts); `log` is where it writes what nobody reads but people; `words` are for people who look at their processes. */
export function spawnProcess(
  permissions: readonly string[],
  { cwd, log, words }: { readonly cwd: string; readonly log: number; readonly words: readonly string[] },
): ChildProcess {
  const snapshot = startSnapshotOf(PROGRAM, process.execPath);
  const child = spawn(
    process.execPath,
    [
      ...process.execArgv.filter((option) => OPTIONS.test(option)),
      ...(snapshot === undefined ? [] : ['--snapshot-blob', snapshot]),
      '--disable-warning=SecurityWarning',
      '--disable-warning=ExperimentalWarning',
      ...permissions,
      fileURLToPath(PROGRAM),
      ...words,
    ],
    {
      cwd,
      env: Object.fromEntries(VARIABLES.flatMap((key) => (process.env[key] ? [[key, process.env[key]]] : []))),
      detached: true,
      stdio: ['ignore', log, log, 'ipc'],
    },
  );
  child.unref();
  return child;
}
