/**
 * Vectors: lists of views that stand for their concatenation, the form in which bytes reach a BlockStore. Nothing is copied but by
 * `scatter` and `gather`.
 */

import { copyBytes } from '../base/copy-bytes.ts';

/** The length of the concatenation in bytes. */
export function vectorBytes(views: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const view of views) bytes += view.length;
  return bytes;
}

/** Fills the views from the front of `from`, which holds at least as many bytes. */
export function scatter(from: Uint8Array, into: readonly Uint8Array[]): void {
  let offset = 0;
  for (const view of into) {
    copyBytes(from, offset, offset + view.length, view, 0);
    offset += view.length;
  }
}

/** Copies the concatenation to the front of `into`, which has at least as much room. */
export function gather(from: readonly Uint8Array[], into: Uint8Array): void {
  let offset = 0;
  for (const view of from) {
    copyBytes(view, 0, view.length, into, offset);
    offset += view.length;
  }
}

/** What remains of a vector when its first `bytes` are done with: a transfer that came back short goes on there. */
export function vectorAfter(views: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  if (bytes === 0) return views;
  const rest: Uint8Array[] = [];
  let skip = bytes;
  for (const view of views) {
    if (skip < view.length) rest.push(skip === 0 ? view : view.subarray(skip));
    skip = Math.max(0, skip - view.length);
  }
  return rest;
}

/** The `bytes` bytes of a vector that come after its first `from`. */
export function vectorSlice(views: readonly Uint8Array[], from: number, bytes: number): Uint8Array[] {
  const slice: Uint8Array[] = [];
  let skip = from;
  let left = bytes;
  for (const view of views) {
    if (left === 0) break;
    if (skip < view.length) {
      // Making a view takes as long as copying some hundred bytes.
      const part = skip === 0 && view.length <= left ? view : view.subarray(skip, skip + left);
      slice.push(part);
      left -= part.length;
    }
    skip = Math.max(0, skip - view.length);
  }
  return slice;
}

/** Sets every byte to zero. */
export function clear(views: readonly Uint8Array[]): void {
  for (const view of views) view.fill(0);
}
