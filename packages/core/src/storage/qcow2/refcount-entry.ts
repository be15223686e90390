/** An entry of a refcount block: 1, 2, 4 ... 64 bits wide (QEMU, docs/interop/qcow2, "Host cluster management"). */

import { read64, viewOf, write64 } from './big-endian.ts';

/** Reference count `index`, of 2^order bits. One of 2^53 or more is Infinity. */
export function getRefcount(block: Uint8Array, index: number, order: number): number {
  if (order === 3) return block[index] ?? 0;
  // Counts of less than a byte begin at its least significant bit.
  if (order < 3) return ((block[index >>> (3 - order)] ?? 0) >>> shiftOf(index, order)) & maskOf(order);
  const view = viewOf(block);
  if (order === 4) return view.getUint16(index * 2);
  return order === 5 ? view.getUint32(index * 4) : read64(view, index * 8);
}

export function setRefcount(block: Uint8Array, index: number, count: number, order: number): void {
  if (order < 3) {
    const byte = index >>> (3 - order);
    const shift = shiftOf(index, order);
    block[byte] = ((block[byte] ?? 0) & ~(maskOf(order) << shift)) | (count << shift);
    return;
  }
  const view = viewOf(block);
  if (order === 3) view.setUint8(index, count);
  else if (order === 4) view.setUint16(index * 2, count);
  else if (order === 5) view.setUint32(index * 4, count);
  else write64(view, index * 8, count);
}

function shiftOf(index: number, order: number): number {
  return (index << order) & 7;
}

function maskOf(order: number): number {
  return 2 ** (2 ** order) - 1;
}
