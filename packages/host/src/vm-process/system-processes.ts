/** Processes of machines as the system shows them: by the words that they were started with, which say whose folders they may write. */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { sep } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { machineFolder } from '../machine-folder/layout.ts';
import { writing } from './permissions.ts';
import { folderAt } from './places.ts';

export const GONE_TIMEOUT_MS = 5000;
export const GONE_AGAIN_MS = 20;
/** Between two times that a process is asked which does not answer. */
export const ASK_AGAIN_MS = 1000;

/** Waits for the process's end and, when that takes longer than `patienceMs`, brings it about. */
export async function endProcess(pid: number, folder: string, patienceMs = 0): Promise<void> {
  const until = performance.now() + patienceMs;
  while (isProcessOf(pid, folder) && performance.now() < until) await sleep(GONE_AGAIN_MS);
  if (!isProcessOf(pid, folder)) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    return;
  }
  for (let waitedMs = 0; isProcessOf(pid, folder) && waitedMs < GONE_TIMEOUT_MS; waitedMs += GONE_AGAIN_MS)
    await sleep(GONE_AGAIN_MS);
}

/** Whether the system tells how processes were started: proc(5). */
export const TELLS = process.platform === 'linux';

/** All processes of this user, by the words that they were started with. Reads all of /proc, once. */
export function processesThere(): { readonly pid: number; readonly words: readonly string[] }[] {
  if (!TELLS) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const words = wordsOf(Number(name));
      return words === undefined ? [] : [{ pid: Number(name), words }];
    });
}

/** Empty for one that has ended and that nobody has asked about yet; undefined when it is not there, or another user's, who may say in it what they like. */
function wordsOf(pid: number): string[] | undefined {
  try {
    if (statSync(`/proc/${pid}`).uid !== process.geteuid?.()) return undefined;
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return undefined;
  }
}

/** Whether a process that was started with these words is that of the machine in the folder: nobody else may write there, and is started with that. */
export function isIn(folder: string, words: readonly string[]): boolean {
  if (!words.includes('--permission')) return false;
  return (
    words.includes(writing(machineFolder(folder).run)) || placesOf(words).some((place) => folderAt(place) === folder)
  );
}

/** Whether one of these processes was started for the place (places.ts). */
export function isPlaceOf(place: string, there: readonly { readonly words: readonly string[] }[]): boolean {
  return there.some(({ words }) => words.includes(writing(machineFolder(place).run)));
}

/** What a process with these words may take for its machine's folder. */
function placesOf(words: readonly string[]): string[] {
  const [before, after] = [writing(''), `${sep}run`];
  return words
    .filter((word) => word.startsWith(before) && word.endsWith(after))
    .map((word) => word.slice(before.length, -after.length));
}

/**
 * Whether the process is there and is that of the machine in the folder: a number may be another's by now. Where the system does not tell, being there is
 * all. A machine on its way between two daemons of this computer has processes of both, in two folders.
 */
export function isProcessOf(pid: number, folder: string): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  return !TELLS || isIn(folder, wordsOf(pid) ?? []);
}
