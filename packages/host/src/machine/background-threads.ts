/**
 * Threads that compile give way to those that execute guests: where processors are few they would take turns with them, and a guest that does much
 * for the first time would wait for half of its time. Linux alone gives threads of a process priorities of their own (setpriority(2), "C library/kernel
 * differences"); elsewhere nothing is done.
 */

import { readFileSync, readdirSync } from 'node:fs';
import os from 'node:os';
import process from 'node:process';

/** More than the process's own nice value: a third of its weight (sched(7), "The nice value"), so a busy host does not starve them either. */
const NICER = 5;
/** A tenth of that weight: whoever waits for its end waits for it on a busy host, too. */
const NICER_AT_THE_END = 10;
const NICEST = 19;
/** How Node calls the threads on which V8 compiles and collects garbage. */
const V8_THREAD = 'node-V8Worker';

/** The calling thread gives way to the main thread. */
export function giveWay(): void {
  // 0 is the calling thread.
  behind(process.pid, [0]);
}

/** So do the threads on which V8 compiles, of this process or of another one of this user. They begin with their process. */
export function letV8GiveWay(pid: number = process.pid): void {
  if (process.platform !== 'linux') return;
  const folder = `/proc/${pid}/task`;
  try {
    const threads = readdirSync(folder).filter(
      (thread) => readFileSync(`${folder}/${thread}/comm`, 'utf8').trim() === V8_THREAD,
    );
    behind(pid, threads.map(Number));
  } catch {
    // The process has ended, or it may not look at itself: who started it does that.
  }
}

/** As it is when this is loaded: a process of a machine gives it up for all others (withdrawal.ts). */
const { setPriority } = os;

/** A process whose machine runs elsewhere has nothing to do any more but to end: to give the memory back takes tens of milliseconds of a processor. */
export function endBehindOthers(): void {
  behind(process.pid, [process.pid], NICER_AT_THE_END);
}

function behind(pid: number, threads: readonly number[], nicer = NICER): void {
  if (process.platform !== 'linux') return;
  try {
    const nice = Math.min(NICEST, os.getPriority(pid) + nicer);
    for (const thread of threads) setPriority(thread, nice);
  } catch {
    // They go on as they are, which costs time and nothing else.
  }
}
