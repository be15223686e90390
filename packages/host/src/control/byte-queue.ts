/** Bytes that came and wait to be taken: a bounded queue between who brings them and one reader. */

export class ByteQueue implements AsyncIterable<Uint8Array> {
  readonly #capacityBytes: number;
  #chunks: Uint8Array[] = [];
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
    this.#chunks.push(bytes);
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
    this.#bytes = 0;
    this.#changed();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) {
        const next = this.#chunks.shift();
        if (next !== undefined) {
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

  #change(): Promise<void> {
    return new Promise((resolve) => this.#onChange.push(resolve));
  }

  #changed(): void {
    for (const resolve of this.#onChange.splice(0)) resolve();
  }
}
