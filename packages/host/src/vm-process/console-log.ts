/** What a guest writes to its serial line, kept in its folder: two files of a bounded size, of which the older one goes. */

import { closeSync, openSync, renameSync, writeSync } from 'node:fs';

export const MAXIMUM_BYTES = 1024 * 1024;

export class ConsoleLog {
  readonly #path: string;
  #file: number | undefined;
  #bytes = 0;

  constructor(path: string) {
    this.#path = path;
    this.#open();
  }

  /** What cannot be written is left out: a full disk stops no machine. */
  write(all: Uint8Array): void {
    // Of more than a file has room for the end counts.
    const bytes = all.subarray(-MAXIMUM_BYTES);
    if (this.#bytes + bytes.length > MAXIMUM_BYTES) this.#turn();
    if (this.#file === undefined) return;
    try {
      writeSync(this.#file, bytes);
      this.#bytes += bytes.length;
    } catch {
      // See above.
    }
  }

  /** Nothing more is kept. */
  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #turn(): void {
    try {
      if (this.#file !== undefined) closeSync(this.#file);
      renameSync(this.#path, `${this.#path}.1`);
    } catch {
      // It is begun anew all the same.
    }
    this.#open();
  }

  #open(): void {
    this.#bytes = 0;
    try {
      this.#file = openSync(this.#path, 'w', 0o600);
    } catch {
      this.#file = undefined;
    }
  }
}
