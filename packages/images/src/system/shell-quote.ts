/** A word for a POSIX shell: in single quotes, where every character but a quote is itself. */
export function shellQuote(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
