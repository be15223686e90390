/**
 * An image file whose computer can lose its power at any moment, for tests. It writes down what happened; `after` gives the file as it may
 * be when the power goes at a moment of that history: everything a finished flush promised, and of the rest whatever sectors happened to
 * have been written.
 */

import type { ImageFile } from '../../image-file.ts';
import { MemoryImageFile } from '../../memory-image-file.ts';
import { gather, vectorBytes } from '../../vector.ts';

const SECTOR_BYTES = 512;

interface Written {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly begun: number;
  ended: number;
  /** When a flush that began after it had ended was over. */
  durable: number;
}

/** Chance that repeats, from a seed. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  /** An integer from 0 to `below` - 1. */
  below(below: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * below);
  }
}

export class CrashingFile implements ImageFile {
  readonly name = 'crashing';
  readonly readOnly = false;
  readonly #start: Uint8Array;
  readonly #file: MemoryImageFile;
  readonly #chance: Chance;
  readonly #writes: Written[] = [];
  #now = 0;

  constructor(content: Uint8Array, chance: Chance) {
    this.#start = content.slice();
    this.#file = new MemoryImageFile('crashing', content.slice());
    this.#chance = chance;
  }

  /** Moments that passed: one for each thing that happened. */
  get now(): number {
    return this.#now;
  }

  /** Something happened: gives its moment. */
  tick(): number {
    return ++this.#now;
  }

  get sizeBytes(): number {
    return this.#file.sizeBytes;
  }

  async read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    await this.#wait();
    await this.#file.read(offsetBytes, into);
  }

  async write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    const bytes = new Uint8Array(vectorBytes(from));
    gather(from, bytes);
    const written = { offset: offsetBytes, bytes, begun: this.tick(), ended: Infinity, durable: Infinity };
    this.#writes.push(written);
    await this.#file.write(offsetBytes, [bytes]);
    await this.#wait();
    written.ended = this.tick();
  }

  /** Holes are zeroes that may be there or not, like what is written. */
  readonly punchHole = async (offsetBytes: number, bytes: number): Promise<boolean> => {
    await this.write(offsetBytes, [new Uint8Array(bytes)]);
    return true;
  };

  async flush(): Promise<void> {
    const begun = this.tick();
    await this.#wait();
    const ended = this.tick();
    for (const write of this.#writes) if (write.ended < begun) write.durable = Math.min(write.durable, ended);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** The file as it may be found when the power went at `moment`. With `wholly`, only this process was killed: nothing written is lost. */
  after(moment: number, chance: Chance, wholly: boolean): Uint8Array {
    const file = new MemoryImageFile('found', this.#start.slice());
    for (const { offset, bytes, begun, ended, durable } of this.#writes) {
      if (begun > moment) break;
      const isThere = durable <= moment || (wholly && ended <= moment);
      for (let at = 0; at < bytes.length;) {
        const length = Math.min(SECTOR_BYTES - ((offset + at) % SECTOR_BYTES), bytes.length - at);
        if (isThere || chance.below(2) === 0) void file.write(offset + at, [bytes.subarray(at, at + length)]);
        at += length;
      }
    }
    return file.content;
  }

  /** Requests end in any order. */
  async #wait(): Promise<void> {
    for (let turns = this.#chance.below(12); turns > 0; turns--) await Promise.resolve();
  }
}
