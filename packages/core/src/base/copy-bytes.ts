/**
 * Copies bytes, to and from shared memory too. V8's `TypedArray.prototype.set` copies that word by word (270 ns for 1460 bytes, 10 us for 64 KiB);
 * what Node's Buffer has copies it like any other memory (50 ns, 1.3 us). In a browser there is only the former.
 */

type Copy = (
  this: Uint8Array,
  target: Uint8Array,
  targetStart: number,
  sourceStart: number,
  sourceEnd: number,
) => number;

interface NodeGlobals {
  readonly process?: { readonly versions?: { readonly node?: string } };
  readonly Buffer?: { readonly prototype: { readonly copy: Copy } };
}
const node = globalThis as NodeGlobals;
/** What stands in for Buffer in some pages takes no plain arrays. */
const quick = node.process?.versions?.node === undefined ? undefined : node.Buffer?.prototype.copy;

/** Puts the bytes [from, to) of `source` into `target`, from `at` on. Both have them. They may lie in the same memory, one over the other. */
export function copyBytes(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number): void {
  if (quick) quick.call(source, target, at, from, to);
  else target.set(source.subarray(from, to), at);
}
