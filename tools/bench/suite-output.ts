/**
 * What guest/suite.sh prints, line by line. The lines come over a serial console, so they end in CR LF, and words of the kernel may stand
 * before them.
 */

export type SuiteLine =
  | { readonly kind: 'userland' }
  | { readonly kind: 'start'; readonly program: string }
  | { readonly kind: 'result'; readonly name: string; readonly seconds: number; readonly check: string }
  | { readonly kind: 'end' };

/** Undefined for what is not the suite's. */
export function suiteLine(line: string): SuiteLine | undefined {
  const [, word = '', rest = ''] = /(?:^|\s)(USERLAND|START|RESULT|END)\b ?(.*)$/.exec(line.trimEnd()) ?? [];
  const fields = rest.split(' ').filter((field) => field !== '');
  switch (word) {
    case 'USERLAND':
      return { kind: 'userland' };
    case 'END':
      return { kind: 'end' };
    case 'START': {
      const [program] = fields;
      return program === undefined ? undefined : { kind: 'start', program };
    }
    case 'RESULT': {
      const [name, seconds, check] = fields;
      const value = Number(seconds);
      if (name === undefined || check === undefined || !(value >= 0)) return undefined;
      return { kind: 'result', name, seconds: value, check };
    }
    default:
      return undefined;
  }
}

/** Cuts a stream of bytes into lines. */
export class Lines {
  readonly #decoder = new TextDecoder();
  readonly #take: (line: string) => void;
  #rest = '';

  constructor(take: (line: string) => void) {
    this.#take = take;
  }

  write(bytes: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
  }
}
