/** The part of a file that a request asks for (RFC 9110, 14.1 and 14.2). */

export interface ByteRange {
  /** The first and the last byte. */
  readonly first: number;
  readonly last: number;
}

/**
 * The range in a field `Range`; 'unsatisfiable' when it lies outside. Undefined when all of the file is the answer: there is no such
 * field, it is none that we understand, or it asks for several parts, which a server may pass over.
 */
export function byteRange(field: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/i.exec(field?.trim() ?? '') ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return undefined;
  const last = sizeBytes - 1;
  if (from === '') return Number(to) === 0 ? 'unsatisfiable' : { first: Math.max(0, sizeBytes - Number(to)), last };
  const first = Number(from);
  if (to !== '' && Number(to) < first) return undefined;
  return first > last ? 'unsatisfiable' : { first, last: to === '' ? last : Math.min(last, Number(to)) };
}
