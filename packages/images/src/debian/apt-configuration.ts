/**
 * The few of apt's settings that fetching from an archive has to respect, read from the text of /etc/apt/apt.conf and
 * /etc/apt/apt.conf.d (apt.conf(5)): scopes in braces, `name "value";`, and the three kinds of comments.
 */

import { parseFlag } from './deb822.ts';

export class AptConfiguration {
  /** Lower-case full names ("acquire::http::proxy") and their last value. */
  readonly #values = new Map<string, string>();

  /** Adds a file; later files override earlier ones. What is not understood is passed over. */
  add(text: string): void {
    const scopes: string[] = [];
    let words: string[] = [];
    for (const token of tokens(text)) {
      if (token === '{') {
        scopes.push(words[0] ?? '');
        words = [];
      } else if (token === '}') {
        scopes.pop();
        words = [];
      } else if (token === ';') {
        const [name, value] = words;
        if (name !== undefined && value !== undefined) this.#set([...scopes, name].join('::'), value);
        words = [];
      } else {
        words.push(token);
      }
    }
  }

  #set(name: string, value: string): void {
    this.#values.set(name.toLowerCase(), value);
  }

  get(name: string): string | undefined {
    return this.#values.get(name.toLowerCase());
  }

  flag(name: string): boolean | undefined {
    return parseFlag(this.get(name));
  }

  /** The proxy for `scheme` and `host`: its address, 'DIRECT', or undefined when nothing is said. */
  proxy(scheme: 'http' | 'https', host: string): string | undefined {
    const general =
      this.get(`Acquire::${scheme}::Proxy`) ?? (scheme === 'https' ? this.get('Acquire::http::Proxy') : undefined);
    const value = this.get(`Acquire::${scheme}::Proxy::${host}`) ?? general;
    return value === '' ? undefined : value;
  }
}

/** Words without their quotes, and `{`, `}` and `;`. */
function* tokens(text: string): Generator<string, void, undefined> {
  const token = /\/\*[^]*?\*\/|\/\/.*|#.*|"((?:[^"\\]|\\.)*)"|([{};])|[^\s{};"]+/g;
  for (const match of text.matchAll(token)) {
    const [whole, quoted] = match;
    if (quoted !== undefined) yield quoted;
    else if (!whole.startsWith('//') && !whole.startsWith('#') && !whole.startsWith('/*')) yield whole;
  }
}
