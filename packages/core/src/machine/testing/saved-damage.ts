/**
 * Saved states gone wrong, for tests: every way in which one value of a saved state can be missing, of another type or out of range.
 * Used by the device lifecycle suite; holds no knowledge of any device.
 */

import type { Saved } from '../../base/saved.ts';

export interface DamagedState {
  /** What was done, as `.queue[2].size is -1`. */
  readonly what: string;
  readonly state: Saved;
}

type Members = { readonly [key: string]: Saved };

const TOO_WIDE = 1n << 64n;

/** True for data as `Saved` promises: no function, no undefined, no class instance but Uint8Array, no NaN or infinity. */
export function isPlainData(value: unknown): value is Saved {
  if (value === null || typeof value === 'boolean' || typeof value === 'bigint' || typeof value === 'string')
    return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object') return false;
  if (value instanceof Uint8Array) return true;
  if (Array.isArray(value)) return value.every(isPlainData);
  return Object.getPrototypeOf(value) === Object.prototype && Object.values(value).every(isPlainData);
}

/**
 * Copies of `saved` with one thing wrong in each. Numbers and bigints also go out of range, except for a value whose path is in
 * `unboundedPaths` (`.mtime`, `.queues[].tail`: list indexes are left out), which only leaves the range of its type.
 */
export function damagedStates(saved: Saved, unboundedPaths: readonly string[] = []): DamagedState[] {
  return [...damage(saved, '', unboundedPaths)];
}

function* damage(value: Saved, path: string, unbounded: readonly string[]): Generator<DamagedState> {
  for (const wrong of wrongValues(value, unbounded.includes(path.replaceAll(/\[\d+\]/g, '[]')))) {
    yield { what: `${path || 'the state'} is ${describe(wrong)}`, state: wrong };
  }
  if (isList(value)) {
    // Elements of a list share their checks; the first and the last stand for all of them.
    for (const index of new Set([0, value.length - 1])) {
      const item = value[index];
      if (item === undefined) continue;
      for (const { what, state } of damage(item, `${path}[${index}]`, unbounded))
        yield { what, state: value.with(index, state) };
    }
  } else if (isMembers(value)) {
    for (const [key, member] of Object.entries(value)) {
      const { [key]: _, ...rest } = value;
      yield { what: `${path}.${key} is missing`, state: rest };
      for (const { what, state } of damage(member, `${path}.${key}`, unbounded))
        yield { what, state: { ...value, [key]: state } };
    }
  }
}

/** Values that the place of `value` must not take. */
function wrongValues(value: Saved, unbounded: boolean): Saved[] {
  switch (typeof value) {
    case 'number':
      return [
        '0',
        BigInt(value),
        Number.NaN,
        value + 0.5,
        Number.MAX_SAFE_INTEGER + 1,
        ...(unbounded ? [] : [-1, Number.MAX_SAFE_INTEGER]),
      ];
    case 'bigint':
      return ['0', 0, TOO_WIDE, -TOO_WIDE, ...(unbounded ? [] : [-1n])];
    case 'boolean':
      return ['true', 1, null];
    case 'string':
      return [1, true];
    default:
      // A null may stand for an absent number, text or object, never for an absent truth value.
      return value === null ? [false] : ['nonsense', 3, false];
  }
}

function isList(value: Saved): value is readonly Saved[] {
  return Array.isArray(value);
}

function isMembers(value: Saved): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

function describe(value: Saved): string {
  if (typeof value === 'string') return `the text "${value}"`;
  if (typeof value === 'bigint') return `the bigint ${value}`;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
