/** The 64-bit big-endian fields of qcow2 as numbers. What a number cannot hold exactly is no offset and no size that we could use. */

/** The 64-bit field at `at`, or Infinity where it is 2^53 or more. */
export function read64(view: DataView, at: number): number {
  const high = view.getUint32(at);
  return high < 2 ** 21 ? high * 2 ** 32 + view.getUint32(at + 4) : Infinity;
}

/** `value` is an integer from 0 to 2^53 - 1. */
export function write64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value % 2 ** 32);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
