/**
 * Makes a new qcow2 image, version 3, in an empty file (QEMU, docs/interop/qcow2).
 *
 *     cluster 0: header | refcount table | refcount blocks for what there is | L1 table
 *
 * The header comes last: a file whose making was cut short is no image.
 */

import { assert } from '../../base/assert.ts';
import { BlockStoreError } from '../../base/block-store-error.ts';
import { KiB } from '../../base/numbers.ts';
import type { ImageFile } from '../image-file.ts';
import { viewOf, write64 } from './big-endian.ts';
import { Geometry } from './geometry.ts';
import {
  COMPRESSION_TYPES,
  EXTENSION,
  FIELD,
  FULL_HEADER_BYTES,
  INCOMPATIBLE,
  MAXIMUM_BACKING_NAME_BYTES,
  MAXIMUM_CLUSTER_BITS,
  MAXIMUM_L1_BYTES,
  MINIMUM_CLUSTER_BITS,
  MINIMUM_EXTENDED_CLUSTER_BITS,
  QCOW2_MAGIC,
} from './header.ts';
import type { CompressionType } from './header.ts';
import { setRefcount } from './refcount-entry.ts';

export interface NewQcow2 {
  /** Of the disk; rounded up to a whole sector. */
  readonly sizeBytes: number;
  /** A power of two from 512 to 2 MiB; 64 KiB when absent. */
  readonly clusterBytes?: number;
  /** Of a reference count: 1, 2, 4 ... 64; 16 when absent. */
  readonly refcountBits?: number;
  /** Allocates in 32nds of a cluster: extended L2 entries, for clusters of 16 KiB and more. */
  readonly subclusters?: boolean;
  /** How compressed clusters would be; deflate when absent. */
  readonly compression?: CompressionType;
  /** The image behind it: its name as the new image's folder sees it, and its format. */
  readonly backing?: { readonly name: string; readonly format: 'raw' | 'qcow2' };
}

const DEFAULT_CLUSTER_BYTES = 64 * KiB;
const DEFAULT_REFCOUNT_BITS = 16;
const SECTOR_BYTES = 512;

/** Writes the image and makes it durable; rejects with a BlockStoreError. `file` is empty. */
export async function createQcow2(file: ImageFile, options: NewQcow2): Promise<void> {
  const { clusterBytes = DEFAULT_CLUSTER_BYTES, refcountBits = DEFAULT_REFCOUNT_BITS, subclusters = false } = options;
  const clusterBits = Math.log2(clusterBytes);
  const least = subclusters ? MINIMUM_EXTENDED_CLUSTER_BITS : MINIMUM_CLUSTER_BITS;
  assert(file.sizeBytes === 0, 'a qcow2 image is made in an empty file');
  assert(
    Number.isInteger(clusterBits) && clusterBits >= least && clusterBits <= MAXIMUM_CLUSTER_BITS,
    `${clusterBytes} is no size for a cluster`,
  );
  const refcountOrder = Math.log2(refcountBits);
  assert(
    Number.isInteger(refcountOrder) && refcountOrder >= 0 && refcountOrder <= 6,
    `${refcountBits} is no width for a reference count`,
  );
  const geometry = new Geometry({ clusterBits, hasExtendedL2: subclusters, refcountOrder });
  const sizeBytes = Math.ceil(options.sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
  const l1Entries = Math.max(1, Math.ceil(sizeBytes / geometry.l2CoverageBytes));
  if (!Number.isSafeInteger(sizeBytes) || l1Entries * 8 > MAXIMUM_L1_BYTES)
    throw new BlockStoreError(
      'unsupported',
      `Disk "${file.name}" cannot be made: with clusters of ${clusterBytes} bytes that is too large`,
    );

  const layout = new Layout(geometry, l1Entries);
  const table = new Uint8Array(layout.tableClusters * clusterBytes);
  const firstBlock = 1 + layout.tableClusters;
  for (let block = 0; block < layout.blocks; block++)
    write64(viewOf(table), block * 8, (firstBlock + block) * clusterBytes);
  const counts = new Uint8Array(layout.blocks * clusterBytes);
  // Blocks are whole clusters: entry n of all of them together counts cluster n.
  for (let cluster = 0; cluster < layout.clusters; cluster++) setRefcount(counts, cluster, 1, refcountOrder);
  const header = newHeader(file, options, { clusterBits, refcountOrder, sizeBytes, l1Entries, layout });
  await file.write(clusterBytes, [table, counts]);
  // The L1 table is empty: it is enough that the file reaches to its end.
  await file.write(layout.clusters * clusterBytes - 1, [new Uint8Array(1)]);
  await file.flush();
  await file.write(0, [header]);
  await file.flush();
}

/** How many clusters everything takes; refcount blocks count themselves and the table too. */
class Layout {
  readonly tableClusters: number;
  readonly blocks: number;
  readonly clusters: number;

  constructor(geometry: Geometry, l1Entries: number) {
    const l1Clusters = geometry.clustersOf(l1Entries * 8);
    let blocks = 1;
    let tableClusters = 1;
    for (;;) {
      tableClusters = geometry.clustersOf(blocks * 8);
      const needed = Math.ceil((1 + tableClusters + blocks + l1Clusters) / geometry.refcountBlockEntries);
      if (needed <= blocks) break;
      blocks = needed;
    }
    this.blocks = blocks;
    this.tableClusters = tableClusters;
    this.clusters = 1 + tableClusters + blocks + l1Clusters;
  }

  get l1Cluster(): number {
    return 1 + this.tableClusters + this.blocks;
  }
}

interface Numbers {
  readonly clusterBits: number;
  readonly refcountOrder: number;
  readonly sizeBytes: number;
  readonly l1Entries: number;
  readonly layout: Layout;
}

function newHeader(
  file: ImageFile,
  { backing, compression = 'deflate', subclusters = false }: NewQcow2,
  numbers: Numbers,
): Uint8Array {
  const clusterBytes = 2 ** numbers.clusterBits;
  const { layout } = numbers;
  const bytes = new Uint8Array(clusterBytes);
  const view = viewOf(bytes);
  view.setUint32(0, QCOW2_MAGIC);
  view.setUint32(4, 3);
  view.setUint32(FIELD.clusterBits, numbers.clusterBits);
  write64(view, FIELD.size, numbers.sizeBytes);
  view.setUint32(FIELD.l1Entries, numbers.l1Entries);
  write64(view, FIELD.l1Offset, layout.l1Cluster * clusterBytes);
  write64(view, FIELD.refcountTableOffset, clusterBytes);
  view.setUint32(FIELD.refcountTableClusters, layout.tableClusters);
  const features =
    (compression === 'deflate' ? 0 : 1 << INCOMPATIBLE.COMPRESSION_TYPE) |
    (subclusters ? 1 << INCOMPATIBLE.EXTENDED_L2 : 0);
  view.setUint32(FIELD.incompatible + 4, features);
  view.setUint32(FIELD.refcountOrder, numbers.refcountOrder);
  view.setUint32(FIELD.headerBytes, FULL_HEADER_BYTES);
  view.setUint8(FIELD.compressionType, COMPRESSION_TYPES.indexOf(compression));
  if (backing === undefined) return bytes;

  const encoder = new TextEncoder();
  const format = encoder.encode(backing.format);
  const name = encoder.encode(backing.name);
  const nameAt = FULL_HEADER_BYTES + 8 + Math.ceil(format.length / 8) * 8 + 8;
  if (name.length === 0 || name.length > MAXIMUM_BACKING_NAME_BYTES || nameAt + name.length > clusterBytes)
    throw new BlockStoreError(
      'unsupported',
      `Disk "${file.name}" cannot be made: its backing file's name is too long for it`,
    );
  view.setUint32(FULL_HEADER_BYTES, EXTENSION.BACKING_FORMAT);
  view.setUint32(FULL_HEADER_BYTES + 4, format.length);
  bytes.set(format, FULL_HEADER_BYTES + 8);
  write64(view, FIELD.backingOffset, nameAt);
  view.setUint32(FIELD.backingBytes, name.length);
  bytes.set(name, nameAt);
  return bytes;
}
