/** One mapping of user data, read field by field, each checked; what nobody read was not understood. */

import { ImageError } from '../image-error.ts';

/** What is wrong with user data, as an error. */
export function bad(problem: string): ImageError {
  return new ImageError('bad-argument', `The user data cannot be used: ${problem}.`);
}

export class Fields {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #read = new Set<string>();
  readonly #what: string;

  private constructor(fields: ReadonlyMap<string, unknown>, what: string) {
    this.#fields = fields;
    this.#what = what;
  }

  /** `what` is what errors call it. */
  static of(value: unknown, what: string): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(`${what} is no mapping`);
    return new Fields(new Map(Object.entries(value)), what);
  }

  get(name: string): unknown {
    this.#read.add(name);
    return this.#fields.get(name) ?? undefined;
  }

  text(name: string): string | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    if (typeof value === 'number') return String(value);
    if (typeof value !== 'string') throw bad(`"${name}" of ${this.#what} is no text`);
    if (value.includes('\0')) throw bad(`"${name}" of ${this.#what} has a NUL in it`);
    return value;
  }

  /** A text that has to be there. */
  needed(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw bad(`${this.#what} has no "${name}"`);
    return value;
  }

  flag(name: string): boolean | undefined {
    const value = this.get(name);
    if (value === undefined || typeof value === 'boolean') return value;
    throw bad(`"${name}" of ${this.#what} is neither true nor false`);
  }

  /** Permissions: a text, or a number that YAML already read as octal. */
  mode(name: string): string | undefined {
    const value = this.get(name);
    return typeof value === 'number' ? value.toString(8).padStart(4, '0') : this.text(name);
  }

  list(name: string): readonly unknown[] {
    const value = this.get(name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw bad(`"${name}" of ${this.#what} is no list`);
    return value;
  }

  /** A list of texts. */
  texts(name: string): string[] {
    return this.list(name).map((value) => {
      if (typeof value !== 'string' || value.includes('\0'))
        throw bad(`"${name}" of ${this.#what} has an entry that is no text`);
      return value;
    });
  }

  /** A list of texts, or one with commas. */
  words(name: string): string[] {
    const value = this.get(name);
    return typeof value === 'string' ? value.split(/[\s,]+/).filter((word) => word !== '') : this.texts(name);
  }

  /** Fields that nobody asked for. */
  unread(): string[] {
    return [...this.#fields.keys()].filter((name) => !this.#read.has(name));
  }

  refuseUnread(): void {
    const [name] = this.unread();
    if (name !== undefined) throw bad(`${this.#what} has a "${name}", which is not supported`);
  }
}
