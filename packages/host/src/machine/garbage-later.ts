/** When V8 collects garbage while a machine begins. */

import { setFlagsFromString } from 'node:v8';

/** A machine has begun by then. */
const LATER_MS = 1000;

/**
 * V8 hears of a memory domain's 4 GiB and begins to collect all garbage at once, although there is none yet: in steps that are tasks between others, and take
 * 7 of the milliseconds in which somebody waits for the machine's first words. Without such tasks it does its steps when memory is asked for, which little is
 * then.
 */
export function collectGarbageLater(): void {
  setFlagsFromString('--no-incremental-marking-task');
  setTimeout(() => setFlagsFromString('--incremental-marking-task'), LATER_MS).unref();
}
