/** What an operation of the contract is, as data; operations.ts has them. */

import type * as z from 'zod/mini';
import type { ErrorCode } from './errors.ts';

/** A verb of `ringfence`. */
export interface Verb {
  readonly words: string;
  /** Of what it is applied to, as commander has them. */
  readonly arguments: readonly string[];
  readonly options?: readonly (readonly [form: string, description: string, initial?: string])[];
  readonly examples: readonly string[];
}

export interface Operation {
  readonly summary: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Parts in braces are fields of the input. */
  readonly path: string;
  /** Fields that are no part of the path are in the query of GET and DELETE, in the body of POST. */
  readonly input: z.ZodMiniObject;
  readonly output: z.ZodMiniType;
  readonly answer: 'value' | 'long' | 'events' | 'terminal' | 'text';
  readonly errors: readonly ErrorCode[];
  readonly verb?: Verb;
}

/** The fields in the braces of a path. */
export function pathFields(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
}
