/**
 * The page as a place where the guest's bytes go. They are gathered while the machine has its turn and posted once after it; what the page
 * has not shown yet is counted, so that a guest which writes faster than the page shows has to wait.
 */

import type { GuestSink } from '@ringfence/images/guest';
import type { FromMachine, OutputStream } from '../protocol.ts';

/** More than this does not wait to be shown, as far as the producer listens. */
export const OUTPUT_BACKLOG_BYTES = 256 * 1024;
const FIRST_CHUNK_BYTES = 4096;

export type Post = (message: FromMachine, transfer?: ArrayBuffer[]) => void;

export class PageOutput implements GuestSink {
  readonly #stream: OutputStream;
  readonly #post: Post;
  #chunk = new Uint8Array(FIRST_CHUNK_BYTES);
  #length = 0;
  #pendingBytes = 0;
  #waiting: (() => void)[] = [];

  constructor(stream: OutputStream, post: Post) {
    this.#stream = stream;
    this.#post = post;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#length === 0) queueMicrotask(() => this.flush());
    if (this.#length + bytes.length > this.#chunk.length) {
      const larger = new Uint8Array(2 * (this.#length + bytes.length));
      larger.set(this.#chunk.subarray(0, this.#length));
      this.#chunk = larger;
    }
    this.#chunk.set(bytes, this.#length);
    this.#length += bytes.length;
    this.#pendingBytes += bytes.length;
  }

  /** Posts what is there. */
  flush(): void {
    if (this.#length === 0) return;
    const bytes = this.#chunk.slice(0, this.#length);
    this.#length = 0;
    if (this.#chunk.length > FIRST_CHUNK_BYTES) this.#chunk = new Uint8Array(FIRST_CHUNK_BYTES);
    this.#post({ kind: 'output', stream: this.#stream, bytes }, [bytes.buffer]);
  }

  get isFull(): boolean {
    return this.#pendingBytes > OUTPUT_BACKLOG_BYTES;
  }

  whenRoom(callback: () => void): void {
    if (this.isFull) this.#waiting.push(callback);
    else callback();
  }

  /** The page has shown so many bytes. */
  shown(bytes: number): void {
    this.#pendingBytes -= bytes;
    if (!this.isFull) for (const callback of this.#waiting.splice(0)) callback();
  }
}
