/** The entry of the package: what others may use. */

// Ports and errors of storage.
export { BlockStoreError } from './base/block-store-error.ts';
export type { BlockStoreErrorCode } from './base/block-store-error.ts';
export type { BlockStore } from './base/ports.ts';
export { MemoryBlockStore } from './storage/memory-block-store.ts';
export { vectorAfter, vectorBytes } from './storage/vector.ts';
