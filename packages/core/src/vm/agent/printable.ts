/** Text of a guest that people will see: nothing in it moves a cursor, rings or rewrites what they have read. */

const LONGEST_TEXT = 256;
/** Control characters, the directions of bidirectional text, what is no character. */
const UNSEEN = /[\p{C}\u2028\u2029]/gu;

export function printable(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, LONGEST_TEXT));
  return text.replaceAll(UNSEEN, '\u{fffd}') + (bytes.length > LONGEST_TEXT ? '...' : '');
}
