/**
 * Makes holes in the files of disks: fallocate(2), which Node has no function for, through SystemCalls. One thread makes them for all disks of this
 * process, from the first hole on until the last of those disks is closed, so a machine that discards nothing pays nothing.
 */

import { isBuiltin } from 'node:module';
import process from 'node:process';
import { ERRNO, FileError } from '@ringfence/core';
import { SystemCalls } from '../share/system-calls.ts';

/** <linux/falloc.h> */
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

const shared: { users: number; calls: Promise<SystemCalls | undefined> | undefined } = { users: 0, calls: undefined };

export class HolePuncher {
  readonly #underWay = new Set<Promise<boolean>>();
  #calls: Promise<SystemCalls | undefined> | undefined;
  /** The file system, or this computer, does not do it. */
  #isImpossible = false;

  /** Whether it is worth a try at all. */
  static get isPossible(): boolean {
    return process.platform === 'linux' && isBuiltin('node:ffi');
  }

  /** Gives whether there is a hole now. */
  punch(descriptor: number, offsetBytes: number, bytes: number): Promise<boolean> {
    const work = this.#punch(descriptor, offsetBytes, bytes);
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
    return work;
  }

  /** Waits for what is under way: afterwards the descriptor's number may be another file's. */
  async close(): Promise<void> {
    this.#isImpossible = true;
    await Promise.all(this.#underWay);
    if (this.#calls === undefined || --shared.users > 0) return;
    const { calls } = shared;
    shared.calls = undefined;
    await (await calls)?.close();
  }

  async #punch(descriptor: number, offsetBytes: number, bytes: number): Promise<boolean> {
    if (this.#isImpossible) return false;
    const calls = await (this.#calls ??= sharedCalls());
    if (calls === undefined || this.#isImpossible) return false;
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    try {
      await calls.call('fallocate', [descriptor, mode, BigInt(offsetBytes), BigInt(bytes)]);
      return true;
    } catch (error) {
      // Whoever needs zeroes writes them, and hears then what is wrong with the disk.
      this.#isImpossible ||= error instanceof FileError && error.errno === ERRNO.EOPNOTSUPP;
      return false;
    }
  }
}

function sharedCalls(): Promise<SystemCalls | undefined> {
  shared.users++;
  return (shared.calls ??= SystemCalls.start());
}
