/**
 * Saved state: what every device and hart gives when a machine is snapshot, and takes back when it is restored. Plain data, so that
 * the snapshot format (package layer `vm`) can write it in any order to any place. Restoring treats it as an allegation: a value of
 * the wrong type or out of range throws a SavedStateError and nothing is half restored.
 */

export type Saved =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Saved[]
  | { readonly [key: string]: Saved };

/** A saved state that cannot be restored, with the path of the value that is wrong. */
export class SavedStateError extends Error {
  override readonly name = 'SavedStateError';
  readonly path: string;
  constructor(path: string, problem: string) {
    super(`Saved state is not usable: ${path} ${problem}`);
    this.path = path;
  }
}

/** Reads a saved value field by field; every method throws SavedStateError with the path on a wrong type or range. */
export class SavedReader {
  readonly #value: Saved | undefined;
  readonly #path: string;

  constructor(value: Saved | undefined, path: string) {
    this.#value = value;
    this.#path = path;
  }

  /** The member `key` of an object. */
  field(key: string): SavedReader {
    const value = this.#value;
    if (value === null || typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array)
      this.#fail('is not an object');
    return new SavedReader((value as { readonly [key: string]: Saved })[key], `${this.#path}.${key}`);
  }

  /** The elements of a list of exactly `length` (any length when omitted). */
  list(length?: number): SavedReader[] {
    const value = this.#value;
    if (!Array.isArray(value)) this.#fail('is not a list');
    const items = value as readonly Saved[];
    if (length !== undefined && items.length !== length)
      this.#fail(`has ${items.length} elements instead of ${length}`);
    return items.map((item, index) => new SavedReader(item, `${this.#path}[${index}]`));
  }

  /** An integer with minimum <= value <= maximum. */
  integer(minimum = 0, maximum = Number.MAX_SAFE_INTEGER): number {
    const value = this.#value;
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) this.#fail('is not an integer');
    if (value < minimum || value > maximum) this.#fail(`is not between ${minimum} and ${maximum}`);
    return value;
  }

  u32(): number {
    return this.integer(0, 0xffff_ffff);
  }

  /** An unsigned 64-bit value. */
  u64(): bigint {
    const value = this.#value;
    if (typeof value !== 'bigint' || value < 0n || value > 0xffff_ffff_ffff_ffffn)
      this.#fail('is not an unsigned 64-bit value');
    return value;
  }

  boolean(): boolean {
    if (typeof this.#value !== 'boolean') this.#fail('is not true or false');
    return this.#value;
  }

  text(): string {
    if (typeof this.#value !== 'string') this.#fail('is not text');
    return this.#value;
  }

  /** Bytes, of exactly `length` when given. */
  bytes(length?: number): Uint8Array {
    const value = this.#value;
    if (!(value instanceof Uint8Array)) this.#fail('is not bytes');
    const bytes = value;
    if (length !== undefined && bytes.length !== length) this.#fail(`has ${bytes.length} bytes instead of ${length}`);
    return bytes;
  }

  /** The raw value, for a device that hands it on. */
  raw(): Saved {
    if (this.#value === undefined) this.#fail('is missing');
    return this.#value;
  }

  /** Refuses a value that is wrong in a way only its owner can see. */
  refuse(problem: string): never {
    throw new SavedStateError(this.#path, problem);
  }

  #fail(problem: string): never {
    throw new SavedStateError(this.#path, this.#value === undefined ? 'is missing' : problem);
  }
}
