/** Memory for transfers past a page cache, which operating systems demand to begin at a multiple of the medium's block. */

/** What WebAssembly memory is measured in; it begins at a page of the processor, of at least 4 KiB. */
const WASM_PAGE_BYTES = 65_536;

/** Zeroed bytes whose address is a multiple of 4096. Each call reserves much address space: make one, and cut it. */
export function alignedBytes(bytes: number): Uint8Array {
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer, 0, bytes);
}
