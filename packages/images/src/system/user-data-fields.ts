/** One mapping of what cloud-init's data sources say, read field by field, each checked; what nobody read was not understood. */

import { parse, YAMLParseError } from 'yaml';
import { ImageError } from '../image-error.ts';

/** What a data source says, and what people call it. */
export type Source = 'user data' | 'meta-data' | 'network-config';

export const MAX_SOURCE_BYTES = 1024 * 1024;
/** Lists and mappings lie no deeper in each other than this. */
export const MAX_DEPTH = 64;
/** Aliases that one text may have resolved, by the library's count. */
const MAX_ALIASES = 100;

/** Words of YAML 1.1, which netplan and cloud-init read. */
const YES = /^(?:true|yes|on|y)$/i;
const NO = /^(?:false|no|off|n)$/i;

/** What is wrong with it, as an error. */
export function bad(problem: string, source: Source = 'user data'): ImageError {
  return new ImageError('bad-argument', `The ${source} cannot be used: ${problem}.`);
}

/** What is in a YAML text; throws an ImageError where that is none, or too long. */
export function parseYaml(text: string, source: Source): unknown {
  if (text.length > MAX_SOURCE_BYTES)
    throw new ImageError('bad-argument', `The ${source} has more than ${MAX_SOURCE_BYTES} bytes.`);
  let value: unknown;
  try {
    // An alias that multiplies itself is refused by the library.
    value = parse(text, { maxAliasCount: MAX_ALIASES });
  } catch (error) {
    if (!(error instanceof YAMLParseError) && !(error instanceof ReferenceError)) throw error;
    throw new ImageError('bad-argument', `The ${source} is no YAML: ${error.message.split('\n', 1)[0]}`, error);
  }
  if (isDeeper(value, MAX_DEPTH))
    throw bad(
      `it has lists or mappings in each other more than ${MAX_DEPTH} deep, or one that contains itself`,
      source,
    );
  return value;
}

/** An alias of what it lies in makes a value that has no end. */
function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth === 0 || Object.values(value).some((each) => isDeeper(each, depth - 1));
}

export class Fields {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #read = new Set<string>();
  readonly #what: string;
  readonly #source: Source;

  private constructor(fields: ReadonlyMap<string, unknown>, what: string, source: Source) {
    this.#fields = fields;
    this.#what = what;
    this.#source = source;
  }

  /** `what` is what errors call it. */
  static of(value: unknown, what: string, source: Source = 'user data'): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(`${what} is no mapping`, source);
    return new Fields(new Map(Object.entries(value)), what, source);
  }

  get(name: string): unknown {
    this.#read.add(name);
    return this.#fields.get(name) ?? undefined;
  }

  text(name: string): string | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    if (typeof value === 'number') return String(value);
    if (typeof value !== 'string') throw this.#bad(`"${name}" of ${this.#what} is no text`);
    if (value.includes('\0')) throw this.#bad(`"${name}" of ${this.#what} has a NUL in it`);
    return value;
  }

  /** A text that has to be there. */
  needed(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw this.#bad(`${this.#what} has no "${name}"`);
    return value;
  }

  flag(name: string): boolean | undefined {
    const value = this.get(name);
    if (value === undefined || typeof value === 'boolean') return value;
    if (typeof value === 'string' && YES.test(value)) return true;
    if (typeof value === 'string' && NO.test(value)) return false;
    throw this.#bad(`"${name}" of ${this.#what} is neither true nor false`);
  }

  /** Permissions: a text, or a number that YAML already read as octal. */
  mode(name: string): string | undefined {
    const value = this.get(name);
    return typeof value === 'number' ? value.toString(8).padStart(4, '0') : this.text(name);
  }

  list(name: string): readonly unknown[] {
    const value = this.get(name);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw this.#bad(`"${name}" of ${this.#what} is no list`);
    return value;
  }

  /** A list of texts. */
  texts(name: string): string[] {
    return this.list(name).map((value) => {
      if (typeof value !== 'string' || value.includes('\0'))
        throw this.#bad(`"${name}" of ${this.#what} has an entry that is no text`);
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
    if (name !== undefined) throw this.#bad(`${this.#what} has a "${name}", which is not supported`);
  }

  #bad(problem: string): ImageError {
    return bad(problem, this.#source);
  }
}
