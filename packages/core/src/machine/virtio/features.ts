/**
 * Feature bits (virtio 1.3, 2.2): what a device offers and a driver accepts. Bits are named by number, as the specification names them,
 * and travel in words of 32.
 */

/** Bits that belong to the queue and the negotiation itself (6). We offer all of these for every device; packed rings are not offered. */
export const VIRTIO_F = {
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  RING_RESET: 40,
} as const;

/** Words of 32 bits that exist; a selector beyond them shows zero. */
export const FEATURE_WORDS = 2;

/** An immutable set of feature bits. */
export class FeatureSet {
  static readonly none = new FeatureSet([0, 0]);

  /** INVARIANT: FEATURE_WORDS unsigned words. */
  readonly #words: readonly number[];

  private constructor(words: readonly number[]) {
    this.#words = words;
  }

  static of(bits: readonly number[]): FeatureSet {
    const words = Array.from({ length: FEATURE_WORDS }, () => 0);
    for (const bit of bits) words[bit >>> 5] = ((words[bit >>> 5] ?? 0) | (1 << (bit & 31))) >>> 0;
    return new FeatureSet(words);
  }

  has(bit: number): boolean {
    return ((this.word(bit >>> 5) >>> (bit & 31)) & 1) === 1;
  }

  /** Bits 32n to 32n + 31, unsigned. */
  word(index: number): number {
    return this.#words[index] ?? 0;
  }

  /** The set with one word replaced; a word that does not exist changes nothing. */
  withWord(index: number, value: number): FeatureSet {
    return index < FEATURE_WORDS ? new FeatureSet(this.#words.with(index, value >>> 0)) : this;
  }

  within(other: FeatureSet): boolean {
    return this.#words.every((word, index) => (word & ~other.word(index)) === 0);
  }
}
