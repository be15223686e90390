/**
 * The numbers of one image that follow from its header: how addresses on the disk and in the file are cut (QEMU, docs/interop/qcow2,
 * "Cluster mapping", "Extended L2 Entries", "Host cluster management").
 *
 * The unit of allocation is the subcluster: a 32nd of a cluster with extended L2 entries, and the whole cluster, the only one of its
 * kind, without.
 */

import type { Qcow2Header } from './header.ts';

/** Subclusters of a cluster with extended L2 entries. */
const SUBCLUSTERS = 32;

export class Geometry {
  readonly clusterBits: number;
  readonly clusterBytes: number;
  readonly subclusters: number;
  readonly subclusterBytes: number;
  /** One bit for each subcluster, unsigned. */
  readonly allSubclusters: number;
  /** Bytes of an L2 entry. */
  readonly entryBytes: number;
  /** Entries of an L2 table. */
  readonly l2Entries: number;
  /** Bytes of the disk that one L2 table maps. */
  readonly l2CoverageBytes: number;
  readonly refcountOrder: number;
  /** Entries of a refcount block. */
  readonly refcountBlockEntries: number;

  constructor({
    clusterBits,
    hasExtendedL2,
    refcountOrder,
  }: Pick<Qcow2Header, 'clusterBits' | 'hasExtendedL2' | 'refcountOrder'>) {
    this.clusterBits = clusterBits;
    this.clusterBytes = 2 ** clusterBits;
    this.subclusters = hasExtendedL2 ? SUBCLUSTERS : 1;
    this.subclusterBytes = this.clusterBytes / this.subclusters;
    this.allSubclusters = 2 ** this.subclusters - 1;
    this.entryBytes = hasExtendedL2 ? 16 : 8;
    this.l2Entries = this.clusterBytes / this.entryBytes;
    this.l2CoverageBytes = this.l2Entries * this.clusterBytes;
    this.refcountOrder = refcountOrder;
    this.refcountBlockEntries = (this.clusterBytes * 8) / 2 ** refcountOrder;
  }

  /** The cluster in which byte `offset` lies, of the disk or of the file. */
  cluster(offset: number): number {
    return Math.floor(offset / this.clusterBytes);
  }

  clustersOf(bytes: number): number {
    return Math.ceil(bytes / this.clusterBytes);
  }

  /** Bits of the subclusters that the bytes from `from` to `to` of a cluster touch, unsigned. */
  touched(from: number, to: number): number {
    if (to <= from) return 0;
    return bitsBetween(Math.floor(from / this.subclusterBytes), Math.ceil(to / this.subclusterBytes));
  }

  /** Bits of the subclusters that lie wholly between `from` and `to`, unsigned. */
  covered(from: number, to: number): number {
    return bitsBetween(Math.ceil(from / this.subclusterBytes), Math.floor(to / this.subclusterBytes));
  }
}

/** Bits first to end - 1, unsigned; at most 32 of them. */
function bitsBetween(first: number, end: number): number {
  return end <= first ? 0 : 2 ** end - 2 ** first;
}
