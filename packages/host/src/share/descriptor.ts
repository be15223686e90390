/**
 * A file descriptor that is not closed under an operation that uses it.
 *
 * Node has no openat(2), but Linux has /proc/self/fd (proc_pid_fd(5)): `/proc/self/fd/7/name` is the entry `name` of the very folder that
 * descriptor 7 is, and `/proc/self/fd/7` is the very file, whatever happened to their names since. A path that passes through there
 * resolves one name that we chose, so nobody who changes folders meanwhile can lead it anywhere else.
 *
 * INVARIANT: a path made of a descriptor's number is used only inside `use`. The number of a closed descriptor may be another file's the
 * moment after.
 */

import { close } from 'node:fs';
import { promisify } from 'node:util';
import { FileError } from '@ringfence/core';
import { fileError } from './file-error.ts';

const SLASH = 0x2f;
const DOT = 0x2e;

const closeDescriptor = promisify(close);

export class Descriptor {
  readonly #number: number;
  readonly #owner: Set<Descriptor>;
  #users = 0;
  #closing: PromiseWithResolvers<void> | undefined;

  /** Belongs to `owner` until it is closed. */
  constructor(number: number, owner: Set<Descriptor>) {
    this.#number = number;
    this.#owner = owner;
    owner.add(this);
  }

  async use<Result>(act: (number: number) => Promise<Result>): Promise<Result> {
    // The guest's request came too late, when the share was closed already.
    if (this.#closing !== undefined) throw fileError('EBADF');
    this.#users++;
    try {
      return await act(this.#number);
    } catch (error) {
      throw fileError(error);
    } finally {
      this.#users--;
      this.#closeIfFree();
    }
  }

  /** Resolves when what used it is over and it is closed. Closing it again is waiting for the same. */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = Promise.withResolvers<void>();
      this.#closeIfFree();
    }
    return this.#closing.promise;
  }

  #closeIfFree(): void {
    const closing = this.#closing;
    if (closing === undefined || this.#users > 0 || !this.#owner.delete(this)) return;
    closeDescriptor(this.#number).then(closing.resolve, (error: unknown) => closing.reject(fileError(error)));
  }
}

/** The file that descriptor `number` is, as a path; only inside Descriptor.use. */
export function selfPath(number: number): string {
  return `/proc/self/fd/${number}`;
}

/** The entry `name` of the folder that descriptor `number` is; only inside Descriptor.use. */
export function entryPath(number: number, name: Uint8Array): Buffer {
  // Whoever calls has checked that already; everything rests on it.
  const isPath = name.includes(SLASH) || name.includes(0) || name.length === 0 || isDots(name);
  if (isPath) throw new FileError('EINVAL');
  return Buffer.concat([Buffer.from(`/proc/self/fd/${number}/`), name]);
}

function isDots(name: Uint8Array): boolean {
  return name.length <= 2 && name.every((letter) => letter === DOT);
}
