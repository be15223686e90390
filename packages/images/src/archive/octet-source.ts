/**
 * Reads a stream of chunks by exact lengths, which is what archive formats need: a header of n bytes, a body of m, some padding.
 * It holds at most one chunk, and gives parts of chunks without copying: a stream must not use the memory of a chunk again.
 */

import { ImageError } from '../image-error.ts';
import { concatenate } from './octets.ts';

export class OctetSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #what: string;
  #chunk: Uint8Array = new Uint8Array(0);

  /** `what` names the stream in errors: "busybox.deb". */
  constructor(stream: AsyncIterable<Uint8Array>, what: string) {
    this.#chunks = stream[Symbol.asyncIterator]();
    this.#what = what;
  }

  /** Exactly `length` bytes, or undefined when the stream ends right here. A stream that ends in between is an error. */
  async next(length: number): Promise<Uint8Array | undefined> {
    if (!(await this.#fill())) return undefined;
    return this.read(length);
  }

  /** Exactly `length` bytes. */
  async read(length: number): Promise<Uint8Array> {
    if (length <= this.#chunk.length) return this.#cut(length); // the usual case, without a copy
    const parts: Uint8Array[] = [];
    for await (const part of this.take(length)) parts.push(part);
    return concatenate(parts);
  }

  /** The next `length` bytes as they come. They have to be taken to the end before anything else is read. */
  async *take(length: number): AsyncGenerator<Uint8Array, void, undefined> {
    let left = length;
    while (left > 0) {
      if (!(await this.#fill()))
        throw new ImageError('bad-format', `${this.#what} is cut short: ${left} bytes of it are missing.`);
      const part = this.#cut(Math.min(left, this.#chunk.length));
      left -= part.length;
      yield part;
    }
  }

  async skip(length: number): Promise<void> {
    if (length <= this.#chunk.length) {
      this.#cut(length);
      return;
    }
    for await (const part of this.take(length)) void part;
  }

  /** Lets the stream go when the rest of it is of no interest. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** Whether there is a byte to read. */
  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#chunk = next.value;
    }
    return true;
  }

  #cut(length: number): Uint8Array {
    const part = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    return part;
  }
}
