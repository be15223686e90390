/** Bytes and the text in them, for formats whose names are plain ASCII or UTF-8. */

const utf8 = new TextDecoder();
const encoder = new TextEncoder();

export function utf8Text(bytes: Uint8Array): string {
  return utf8.decode(bytes);
}

export function utf8Octets(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The text up to the first NUL, or all of it. */
export function textUntilNul(bytes: Uint8Array): string {
  const nul = bytes.indexOf(0);
  return utf8Text(nul < 0 ? bytes : bytes.subarray(0, nul));
}

export function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Where `needle` begins in `haystack` at or after `from`, or -1. */
export function indexOfOctets(haystack: Uint8Array, needle: Uint8Array, from = 0): number {
  const first = needle[0];
  if (first === undefined) return from;
  for (let at = haystack.indexOf(first, from); at >= 0; at = haystack.indexOf(first, at + 1)) {
    if (at + needle.length > haystack.length) return -1;
    let length = 1;
    while (length < needle.length && haystack[at + length] === needle[length]) length++;
    if (length === needle.length) return at;
  }
  return -1;
}
