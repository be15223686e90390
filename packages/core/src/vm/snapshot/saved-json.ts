/**
 * Saved state as JSON: what JSON has no word for is an object with one member whose name begins with `$`. No device's own members do.
 */

import { assert } from '../../base/assert.ts';
import type { Saved } from '../../base/saved.ts';

/** A value as JSON has it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export function savedToJson(value: Saved): Json {
  if (typeof value === 'bigint') return { $integer: value.toString() };
  if (value instanceof Uint8Array) return { $bytes: value.toBase64() };
  if (Array.isArray(value)) return (value as readonly Saved[]).map(savedToJson);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      assert(!key.startsWith('$'), `saved state has no member ${key}`);
      return [key, savedToJson(member)];
    }),
  );
}

/** Throws a plain Error where something is not of this form; what is in it is checked by who restores it. */
export function savedFromJson(value: Json): Saved {
  if (Array.isArray(value)) return (value as readonly Json[]).map(savedFromJson);
  if (value === null || typeof value !== 'object') return value;
  const members = Object.entries(value as Readonly<Record<string, Json>>);
  const [first] = members;
  if (first?.[0].startsWith('$') !== true)
    return Object.fromEntries(members.map(([key, member]) => [key, savedFromJson(member)]));
  const [word, text] = first;
  if (members.length === 1 && typeof text === 'string') {
    if (word === '$integer' && /^-?\d{1,40}$/.test(text)) return BigInt(text);
    if (word === '$bytes') return Uint8Array.fromBase64(text);
  }
  throw new Error(`saved state has no form ${word}`);
}
