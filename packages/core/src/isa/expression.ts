/**
 * Expressions in assembly text, computed over integers without limit: decimal, 0x and 0b numbers, 'c' characters, symbols, `.` (the
 * address of the statement), the operators below with C's precedence, unary - and ~, brackets, and the two halves of an address:
 * %hi(x) for lui and auipc, %lo(x) for the instruction that adds the rest.
 */

import { AssemblyError } from './assembly-error.ts';

/** What names mean where an expression stands. */
export interface Scope {
  /** The address of the statement. */
  readonly address: bigint;
  readonly symbols: ReadonlyMap<string, bigint>;
}

const token =
  /\s*(?:(0x[0-9a-fA-F]+|0b[01]+|\d+(?![\w@]))|'(\\?.)'|([A-Za-z_.$][\w.$]*|\d+@\d+)|(%hi|%lo)|(<<|>>|[-+*/|^&~()]))/y;

const precedence: Readonly<Record<string, number>> = {
  '|': 1,
  '^': 2,
  '&': 3,
  '<<': 4,
  '>>': 4,
  '+': 5,
  '-': 5,
  '*': 6,
  '/': 6,
};
const UNARY = 7;
/** Brackets and signs within each other. */
const MAX_DEPTH = 64;
/** The widest shift: enough for 64-bit values, and no way to ask for a number that fills the memory. */
const MAX_SHIFT = 127n;

/** The value of `text`; throws AssemblyError. */
export function evaluate(text: string, scope: Scope): bigint {
  return new Parser(text, scope).whole();
}

class Parser {
  readonly #text: string;
  readonly #scope: Scope;
  readonly #tokens: readonly string[];
  #next = 0;
  #depth = 0;

  constructor(text: string, scope: Scope) {
    this.#text = text.trim();
    this.#scope = scope;
    this.#tokens = tokens(this.#text);
  }

  whole(): bigint {
    const value = this.#binary(0);
    if (this.#next < this.#tokens.length) throw this.#malformed();
    return value;
  }

  /** Operators that bind more tightly than `floor`. */
  #binary(floor: number): bigint {
    let left = this.#unary();
    for (;;) {
      const operator = this.#tokens[this.#next] ?? '';
      const binds = precedence[operator] ?? 0;
      if (binds <= floor) return left;
      this.#next++;
      left = this.#apply(operator, left, this.#binary(binds));
    }
  }

  #unary(): bigint {
    const word = this.#tokens[this.#next++];
    if (word === undefined || ++this.#depth > MAX_DEPTH) throw this.#malformed();
    const value = this.#term(word);
    this.#depth--;
    return value;
  }

  #term(word: string): bigint {
    if (word === '-') return -this.#binary(UNARY);
    if (word === '~') return ~this.#binary(UNARY);
    if (word === '(') return this.#closed();
    if (word === '%hi' || word === '%lo') {
      if (this.#tokens[this.#next++] !== '(') throw this.#malformed();
      const value = this.#closed();
      return word === '%hi' ? ((value + 0x800n) >> 12n) & 0xfffffn : BigInt.asIntN(12, value);
    }
    if (/^\d+$|^0x|^0b/.test(word)) return BigInt(word);
    if (word.startsWith("'")) return character(word.slice(1, -1));
    if (word === '.') return this.#scope.address;
    const value = this.#scope.symbols.get(word);
    if (value !== undefined) return value;
    if (!/^[A-Za-z_.$]|@/.test(word)) throw this.#malformed();
    throw new AssemblyError('unknown', `There is no symbol "${word.replace(/@.*/, '')}" here.`);
  }

  #closed(): bigint {
    const value = this.#binary(0);
    if (this.#tokens[this.#next++] !== ')') throw this.#malformed();
    return value;
  }

  #apply(operator: string, a: bigint, b: bigint): bigint {
    switch (operator) {
      case '|':
        return a | b;
      case '^':
        return a ^ b;
      case '&':
        return a & b;
      case '+':
        return a + b;
      case '-':
        return a - b;
      case '*':
        return a * b;
      case '/':
        if (b === 0n) throw new AssemblyError('range', `"${this.#text}" divides by zero.`);
        return a / b;
      default:
        if (b < 0n || b > MAX_SHIFT)
          throw new AssemblyError('range', `"${this.#text}" shifts by ${b}; 0 to ${MAX_SHIFT} is possible.`);
        return operator === '<<' ? a << b : a >> b;
    }
  }

  #malformed(): AssemblyError {
    return new AssemblyError(
      'syntax',
      this.#text === '' ? 'A value is missing.' : `"${this.#text}" is not an expression.`,
    );
  }
}

function tokens(text: string): string[] {
  const found: string[] = [];
  token.lastIndex = 0;
  while (token.lastIndex < text.length) {
    const match = token.exec(text);
    if (match === null) throw new AssemblyError('syntax', `"${text}" is not an expression.`);
    found.push(match[0].trim());
  }
  return found;
}

/** The code of `c` or of an escape such as `\n`. */
export function character(text: string): bigint {
  return BigInt(unescape(text).codePointAt(0) ?? 0);
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', 0: '\0' };

/** Text with its backslash escapes replaced. */
export function unescape(text: string): string {
  return text.replace(/\\(.)/g, (_, letter: string) => escapes[letter] ?? letter);
}
