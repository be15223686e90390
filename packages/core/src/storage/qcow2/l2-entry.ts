/**
 * An entry of an L2 table: where a cluster of the disk is (QEMU, docs/interop/qcow2, "Cluster mapping" and "Extended L2 Entries").
 *
 *     standard:    63 copied | 62 0 | 61-56 reserved | 55-9 host offset | 8-1 reserved | 0 reads as zero
 *     compressed:  63 0 | 62 1 | further sectors | host offset, any byte
 *     extended:    as standard with bit 0 reserved, then 32 bits "reads as zero" and 32 bits "allocated", one for each subcluster
 *
 * Entries without subclusters are given the same form: one subcluster, allocated or zero.
 */

import type { Geometry } from './geometry.ts';

const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
const OFFSET_HIGH = 0x00ff_ffff;
const RESERVED_HIGH = 0x3f00_0000;
const RESERVED_LOW = 0x1fe;
const ZERO_LOW = 1;
/** Compressed data is measured in these. */
const SECTOR_BYTES = 512;

export interface CompressedExtent {
  readonly offset: number;
  /** At most: the data may end earlier. */
  readonly bytes: number;
}

export interface L2Entry {
  /** Where the cluster is in the file; 0 where it has no place. */
  readonly host: number;
  /** The host cluster is this entry's alone: it may be written in place. */
  readonly copied: boolean;
  /** Subclusters that are read from `host`, a bit for each, unsigned. */
  readonly allocated: number;
  /** Subclusters that read as zero. Never one that is allocated. */
  readonly zeroes: number;
  /** Then there is no `host`, and no subcluster is allocated or zero. */
  readonly compressed: CompressedExtent | undefined;
}

export const UNALLOCATED: L2Entry = { host: 0, copied: false, allocated: 0, zeroes: 0, compressed: undefined };

/** Reads an entry; a text says what is wrong with it. */
export function decodeL2Entry(view: DataView, at: number, geometry: Geometry, version: 2 | 3): L2Entry | string {
  const high = view.getUint32(at);
  const low = view.getUint32(at + 4);
  const isExtended = geometry.subclusters > 1;
  if ((high & COMPRESSED) !== 0) return decodeCompressed(high, low, geometry);
  // Most of a table, as a rule.
  if (high === 0 && low === 0 && !isExtended) return UNALLOCATED;
  if ((high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0) return 'has reserved bits set';
  const host = (high & OFFSET_HIGH) * 2 ** 32 + ((low & ~(RESERVED_LOW | ZERO_LOW)) >>> 0);
  if (host % geometry.clusterBytes !== 0 || !Number.isSafeInteger(host)) return 'points to no cluster';
  const hasZeroBit = (low & ZERO_LOW) !== 0;
  if (hasZeroBit && (isExtended || version === 2)) return 'is marked as zero in an image that has no such mark';
  const zeroes = isExtended ? view.getUint32(at + 8) : Number(hasZeroBit);
  const allocated = isExtended ? view.getUint32(at + 12) : Number(host !== 0 && !hasZeroBit);
  if ((zeroes & allocated) !== 0) return 'has subclusters that are both allocated and zero';
  if (allocated !== 0 && host === 0) return 'has subclusters without a cluster';
  const copied = (high & COPIED) !== 0;
  if (copied && host === 0) return 'is marked as in use and points nowhere';
  return { host, copied, allocated, zeroes, compressed: undefined };
}

function decodeCompressed(high: number, low: number, { clusterBits }: Geometry): L2Entry | string {
  // The offset has 62 - (clusterBits - 8) bits, always more than 32 of them.
  const offsetHighBits = 62 - (clusterBits - 8) - 32;
  const offset = (high & (2 ** offsetHighBits - 1)) * 2 ** 32 + low;
  const furtherSectors = (high & ~(COPIED | COMPRESSED)) >>> offsetHighBits;
  if (!Number.isSafeInteger(offset) || offset === 0) return 'points to compressed data where none can be';
  const bytes = (furtherSectors + 1) * SECTOR_BYTES - (offset % SECTOR_BYTES);
  return { ...UNALLOCATED, compressed: { offset, bytes } };
}

/** Writes an entry that is not compressed: we never make compressed ones. */
export function encodeL2Entry(view: DataView, at: number, entry: L2Entry, geometry: Geometry): void {
  const { host, copied, allocated, zeroes } = entry;
  const isExtended = geometry.subclusters > 1;
  view.setUint32(at, (Math.floor(host / 2 ** 32) | (copied ? COPIED : 0)) >>> 0);
  view.setUint32(at + 4, (host % 2 ** 32) + (isExtended ? 0 : zeroes));
  if (!isExtended) return;
  view.setUint32(at + 8, zeroes);
  view.setUint32(at + 12, allocated);
}
