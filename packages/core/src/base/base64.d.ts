/** Base64 of bytes (ECMAScript 2026, "Uint8Array to/from Base64 and Hex"), which the library that we compile against does not declare yet. */

interface Uint8Array {
  toBase64(): string;
}

interface Uint8ArrayConstructor {
  /** Throws a SyntaxError on what is no base64. */
  fromBase64(text: string): Uint8Array<ArrayBuffer>;
}
