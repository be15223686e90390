/** Bytes that came and wait to be taken: a bounded queue between who brings them and one reader. */

/** Smaller pieces are put together: a guest that writes byte by byte would fill memory with what there is around each. */
const SMALL_PIECE_BYTES = 2048;
const GATHERED_BYTES = 8192;

export class ByteQueue implements AsyncIterable<Uint8Array> {
  readonly #capacityBytes: number;
  #chunks: Uint8Array[] = [];
  /** The last chunk is the beginning of this. */
  #gathering: Uint8Array | undefined;
  #bytes = 0;
  #isEnded = false;
  #isDiscarding = false;
  #failure: unknown;
  #onChange: (() => void)[] = [];

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the bytes in any case; resolves when there is room for more. */
  async push(bytes: Uint8Array): Promise<void> {
    if (this.#isEnded || this.#isDiscarding || bytes.length === 0) return;
    this.#add(bytes);
    this.#bytes += bytes.length;
    this.#changed();
    while (this.#bytes > this.#capacityBytes && !this.#isEnded && !this.#isDiscarding) await this.#change();
  }

  /** Nothing more comes. With a failure whoever reads gets it, after what was there. */
  end(failure?: unknown): void {
    this.#isEnded = true;
    this.#failure ??= failure;
    this.#changed();
  }

  /** Drops what is there and what comes. */
  discard(): void {
    this.#isDiscarding = true;
    this.#chunks = [];
    this.#gathering = undefined;
    this.#bytes = 0;
    this.#changed();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) {
        const next = this.#chunks.shift();
        if (next !== undefined) {
          if (this.#chunks.length === 0) this.#gathering = undefined;
          this.#bytes -= next.length;
          this.#changed();
          yield next;
        } else if (this.#failure !== undefined) throw this.#failure;
        else if (this.#isEnded || this.#isDiscarding) return;
        else await this.#change();
      }
    } finally {
      this.discard();
    }
  }

  #add(bytes: Uint8Array): void {
    if (bytes.length >= SMALL_PIECE_BYTES) {
      this.#gathering = undefined;
      this.#chunks.push(bytes);
      return;
    }
    const used = this.#gathering === undefined ? 0 : (this.#chunks.at(-1)?.length ?? 0);
    if (this.#gathering !== undefined && used + bytes.length <= GATHERED_BYTES) {
      this.#gathering.set(bytes, used);
      this.#chunks[this.#chunks.length - 1] = this.#gathering.subarray(0, used + bytes.length);
      return;
    }
    // One that is taken at once takes no more than it needs.
    const gathering = new Uint8Array(this.#chunks.length === 0 ? bytes.length : GATHERED_BYTES);
    gathering.set(bytes);
    this.#gathering = this.#chunks.length === 0 ? undefined : gathering;
    this.#chunks.push(gathering.subarray(0, bytes.length));
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#onChange.push(resolve));
  }

  #changed(): void {
    for (const resolve of this.#onChange.splice(0)) resolve();
  }
}
