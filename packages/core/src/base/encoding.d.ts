/**
 * TextEncoder and TextDecoder for pure layers (WHATWG Encoding, chapter 7): they only turn text into bytes and back, so they are no
 * window to the world. Projects that run on Node take them from Node's types instead.
 */

declare class TextEncoder {
  readonly encoding: 'utf-8';
  encode(input?: string): Uint8Array<ArrayBuffer>;
  encodeInto(source: string, destination: Uint8Array): { readonly read: number; readonly written: number };
}

declare class TextDecoder {
  /** `fatal` makes `decode` throw a TypeError on bytes that are not `label`; otherwise they become U+FFFD. */
  constructor(label?: string, options?: { readonly fatal?: boolean; readonly ignoreBOM?: boolean });
  readonly encoding: string;
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  decode(input?: ArrayBufferView | ArrayBuffer | SharedArrayBuffer, options?: { readonly stream?: boolean }): string;
}
