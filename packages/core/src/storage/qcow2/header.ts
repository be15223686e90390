/**
 * The header of a qcow2 image, version 2 and 3, with its extensions (QEMU, docs/interop/qcow2, "Header" to "Feature name table"). What is
 * read here is an allegation: everything that could make us allocate, loop or look outside the file is checked, and has a limit.
 *
 *     first cluster:  header | extension ... | end of extensions | backing file's name
 */

import { BlockStoreError } from '../../base/block-store-error.ts';
import { MiB } from '../../base/numbers.ts';
import { read64, viewOf } from './big-endian.ts';

export const QCOW2_MAGIC = 0x5146_49fb;
export const V2_HEADER_BYTES = 72;
export const V3_HEADER_BYTES = 104;
/** With the compression type and its padding. */
export const FULL_HEADER_BYTES = 112;
/** 512 bytes to 2 MiB, as QEMU takes them. */
export const MINIMUM_CLUSTER_BITS = 9;
export const MAXIMUM_CLUSTER_BITS = 21;
/** Of the images with extended L2 entries. */
export const MINIMUM_EXTENDED_CLUSTER_BITS = 14;
/** QEMU's limits too. */
export const MAXIMUM_L1_BYTES = 32 * MiB;
export const MAXIMUM_REFCOUNT_TABLE_BYTES = 8 * MiB;
export const MAXIMUM_BACKING_NAME_BYTES = 1023;
const MAXIMUM_FORMAT_NAME_BYTES = 15;
const MAXIMUM_SNAPSHOTS = 65_536;
const MAXIMUM_REFCOUNT_ORDER = 6;
const V2_REFCOUNT_ORDER = 4;

/** Where fields lie that are also written alone. */
export const FIELD = {
  backingOffset: 8,
  backingBytes: 16,
  clusterBits: 20,
  size: 24,
  cryptMethod: 32,
  l1Entries: 36,
  l1Offset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  snapshots: 60,
  snapshotsOffset: 64,
  incompatible: 72,
  compatible: 80,
  autoclear: 88,
  refcountOrder: 96,
  headerBytes: 100,
  compressionType: 104,
} as const;

/** Bits of `incompatible_features`. */
export const INCOMPATIBLE = { DIRTY: 0, CORRUPT: 1, EXTERNAL_DATA: 2, COMPRESSION_TYPE: 3, EXTENDED_L2: 4 } as const;

/** Types of header extensions. */
export const EXTENSION = {
  END: 0,
  BACKING_FORMAT: 0xe279_2aca,
  FEATURE_NAMES: 0x6803_f857,
  EXTERNAL_DATA_FILE: 0x4441_5441,
} as const;
const EXTENSION_HEADER_BYTES = 8;
const FEATURE_NAME_BYTES = 48;

/** Values of `compression_type`. */
export const COMPRESSION_TYPES = ['deflate', 'zstd'] as const;
export type CompressionType = (typeof COMPRESSION_TYPES)[number];

export interface BackingName {
  /** As it stands in the image. */
  readonly name: string;
  /** As it stands in the image; undefined where it does not say. */
  readonly format: string | undefined;
}

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly headerBytes: number;
  readonly clusterBits: number;
  readonly sizeBytes: number;
  readonly backing: BackingName | undefined;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly refcountOrder: number;
  readonly compression: CompressionType;
  readonly isDirty: boolean;
  readonly isCorrupt: boolean;
  readonly hasExtendedL2: boolean;
  /** Some bit of `autoclear_features` is set: they are cleared before the first change, as we keep none of what they promise. */
  readonly hasAutoclear: boolean;
}

/** Reads the header from the image's first bytes: its first cluster, or the whole file where that is shorter. */
export function readHeader(bytes: Uint8Array, name: string): Qcow2Header {
  return new HeaderReader(bytes, name).read();
}

class HeaderReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #name: string;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#name = name;
  }

  read(): Qcow2Header {
    if (this.#bytes.length < V2_HEADER_BYTES) this.#corrupt('ends within its header');
    if (this.#view.getUint32(0) !== QCOW2_MAGIC) this.#unsupported('is no qcow2 image');
    const version = this.#view.getUint32(4);
    if (version !== 2 && version !== 3) this.#unsupported(`is a qcow2 image of version ${version}; 2 and 3 are known`);
    const headerBytes = version === 2 ? V2_HEADER_BYTES : this.#headerLength();
    const clusterBits = this.#view.getUint32(FIELD.clusterBits);
    if (clusterBits < MINIMUM_CLUSTER_BITS || clusterBits > MAXIMUM_CLUSTER_BITS)
      this.#corrupt(
        `says its clusters have 2^${clusterBits} bytes; 2^${MINIMUM_CLUSTER_BITS} to 2^${MAXIMUM_CLUSTER_BITS} may be`,
      );
    const clusterBytes = 2 ** clusterBits;
    if (headerBytes > clusterBytes) this.#corrupt(`says its header has ${headerBytes} bytes, more than a cluster`);
    const extensions = this.#extensions(headerBytes, clusterBytes);
    if (version === 3) this.#refuseFeatures(extensions.get(EXTENSION.FEATURE_NAMES));
    if (this.#view.getUint32(FIELD.cryptMethod) !== 0) this.#unsupported('is encrypted, which is not supported');
    const hasExtendedL2 = version === 3 && this.#incompatible(INCOMPATIBLE.EXTENDED_L2);
    if (hasExtendedL2 && clusterBits < MINIMUM_EXTENDED_CLUSTER_BITS)
      this.#corrupt(`has extended L2 entries with clusters of ${clusterBytes} bytes, which is too little`);
    return {
      version,
      headerBytes,
      clusterBits,
      hasExtendedL2,
      sizeBytes: this.#size(),
      backing: this.#backing(headerBytes, clusterBytes, extensions.get(EXTENSION.BACKING_FORMAT)),
      ...this.#l1(clusterBytes, hasExtendedL2),
      ...this.#refcountTable(clusterBytes),
      refcountOrder: version === 2 ? V2_REFCOUNT_ORDER : this.#refcountOrder(),
      compression: this.#compression(version, headerBytes),
      isDirty: version === 3 && this.#incompatible(INCOMPATIBLE.DIRTY),
      isCorrupt: version === 3 && this.#incompatible(INCOMPATIBLE.CORRUPT),
      hasAutoclear:
        version === 3 &&
        (this.#view.getUint32(FIELD.autoclear) !== 0 || this.#view.getUint32(FIELD.autoclear + 4) !== 0),
    };
  }

  #headerLength(): number {
    if (this.#bytes.length < V3_HEADER_BYTES) this.#corrupt('ends within its header');
    const length = this.#view.getUint32(FIELD.headerBytes);
    if (length < V3_HEADER_BYTES || length % 8 !== 0) this.#corrupt(`says its header has ${length} bytes`);
    return length;
  }

  #size(): number {
    const size = read64(this.#view, FIELD.size);
    if (!Number.isSafeInteger(size)) this.#unsupported('says it is a disk of more than 8 PiB');
    return size;
  }

  #incompatible(bit: number): boolean {
    return ((this.#view.getUint32(FIELD.incompatible + 4) >>> bit) & 1) === 1;
  }

  /** "An implementation must fail to open an image if an unknown bit is set." */
  #refuseFeatures(names: Uint8Array | undefined): void {
    if (this.#incompatible(INCOMPATIBLE.EXTERNAL_DATA))
      this.#unsupported(
        'keeps its data in another file, which is not supported; qemu-img convert makes one file of it',
      );
    const known = Object.values(INCOMPATIBLE).reduce<number>((bits, bit) => bits | (1 << bit), 0);
    const words = [this.#view.getUint32(FIELD.incompatible + 4) & ~known, this.#view.getUint32(FIELD.incompatible)];
    for (const [index, word] of words.entries()) {
      if (word === 0) continue;
      const bit = index * 32 + (31 - Math.clz32(word & -word));
      this.#unsupported(`needs a feature that is not known: ${featureName(names, bit) ?? `incompatible bit ${bit}`}`);
    }
  }

  /** The extensions' data by type; of a type that appears twice the first. */
  #extensions(headerBytes: number, clusterBytes: number): Map<number, Uint8Array> {
    const found = new Map<number, Uint8Array>();
    const end = Math.min(clusterBytes, this.#bytes.length, this.#backingOffset() || Infinity);
    for (let at = headerBytes; at + EXTENSION_HEADER_BYTES <= end;) {
      const type = this.#view.getUint32(at);
      if (type === EXTENSION.END) break;
      const length = this.#view.getUint32(at + 4);
      const data = at + EXTENSION_HEADER_BYTES;
      if (data + length > end) this.#corrupt('has a header extension that goes beyond its place');
      if (!found.has(type)) found.set(type, this.#bytes.subarray(data, data + length));
      at = data + Math.ceil(length / 8) * 8;
    }
    return found;
  }

  #backingOffset(): number {
    return read64(this.#view, FIELD.backingOffset);
  }

  #backing(headerBytes: number, clusterBytes: number, format: Uint8Array | undefined): BackingName | undefined {
    const offset = this.#backingOffset();
    if (offset === 0) return undefined;
    const length = this.#view.getUint32(FIELD.backingBytes);
    if (length === 0) return undefined;
    if (length > MAXIMUM_BACKING_NAME_BYTES)
      this.#corrupt(`says its backing file's name has ${length} bytes; ${MAXIMUM_BACKING_NAME_BYTES} may be`);
    if (offset < headerBytes || offset + length > Math.min(clusterBytes, this.#bytes.length))
      this.#corrupt("has its backing file's name outside its first cluster");
    if (format !== undefined && format.length > MAXIMUM_FORMAT_NAME_BYTES)
      this.#corrupt(`says its backing file's format has a name of ${format.length} bytes`);
    return {
      name: this.#text(this.#bytes.subarray(offset, offset + length), "backing file's name"),
      format: format === undefined || format.length === 0 ? undefined : this.#text(format, "backing file's format"),
    };
  }

  #text(bytes: Uint8Array, what: string): string {
    try {
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
      if (!text.includes('\0')) return text;
    } catch {
      // As below.
    }
    return this.#corrupt(`has a ${what} that is no text`);
  }

  #l1(clusterBytes: number, hasExtendedL2: boolean): Pick<Qcow2Header, 'l1Entries' | 'l1Offset'> {
    const entries = this.#view.getUint32(FIELD.l1Entries);
    const offset = read64(this.#view, FIELD.l1Offset);
    if (entries * 8 > MAXIMUM_L1_BYTES)
      this.#unsupported(`says its L1 table has ${entries} entries; ${MAXIMUM_L1_BYTES / 8} may be`);
    const coverage = clusterBytes * (clusterBytes / (hasExtendedL2 ? 16 : 8));
    if (entries < Math.ceil(this.#size() / coverage)) this.#corrupt('has an L1 table that is too small for its size');
    this.#place('L1 table', offset, clusterBytes);
    return { l1Entries: entries, l1Offset: offset };
  }

  #refcountTable(clusterBytes: number): Pick<Qcow2Header, 'refcountTableOffset' | 'refcountTableClusters'> {
    const clusters = this.#view.getUint32(FIELD.refcountTableClusters);
    const offset = read64(this.#view, FIELD.refcountTableOffset);
    if (clusters * clusterBytes > MAXIMUM_REFCOUNT_TABLE_BYTES)
      this.#unsupported(`says its refcount table has ${clusters} clusters, which is too much`);
    if (clusters === 0) this.#corrupt('has no refcount table');
    this.#place('refcount table', offset, clusterBytes);
    const snapshots = this.#view.getUint32(FIELD.snapshots);
    if (snapshots > MAXIMUM_SNAPSHOTS)
      this.#unsupported(`says it holds ${snapshots} snapshots; ${MAXIMUM_SNAPSHOTS} may be`);
    return { refcountTableOffset: offset, refcountTableClusters: clusters };
  }

  #place(what: string, offset: number, clusterBytes: number): void {
    if (!Number.isSafeInteger(offset) || offset === 0 || offset % clusterBytes !== 0)
      this.#corrupt(`has its ${what} where none can be`);
  }

  #refcountOrder(): number {
    const order = this.#view.getUint32(FIELD.refcountOrder);
    if (order > MAXIMUM_REFCOUNT_ORDER) this.#corrupt(`says its refcounts have 2^${order} bits; 2^6 may be`);
    return order;
  }

  #compression(version: number, headerBytes: number): CompressionType {
    const isThere = version === 3 && headerBytes > FIELD.compressionType;
    const type = isThere && this.#bytes.length > FIELD.compressionType ? this.#view.getUint8(FIELD.compressionType) : 0;
    const compression = COMPRESSION_TYPES[type];
    if (compression === undefined) return this.#unsupported(`is compressed in a way that is not known, type ${type}`);
    if (version === 3 && this.#incompatible(INCOMPATIBLE.COMPRESSION_TYPE) !== (type !== 0))
      this.#corrupt('contradicts itself about its compression');
    return compression;
  }

  #corrupt(problem: string): never {
    throw new BlockStoreError('corrupt', `Disk "${this.#name}" is damaged: it ${problem}`);
  }

  #unsupported(problem: string): never {
    throw new BlockStoreError('unsupported', `Disk "${this.#name}" cannot be used: it ${problem}`);
  }
}

/** What the image itself calls incompatible feature `bit`. Shown to people: printable ASCII only. */
function featureName(names: Uint8Array | undefined, bit: number): string | undefined {
  for (let at = 0; names !== undefined && at + FEATURE_NAME_BYTES <= names.length; at += FEATURE_NAME_BYTES) {
    if (names[at] !== 0 || names[at + 1] !== bit) continue;
    const printable = [...names.subarray(at + 2, at + FEATURE_NAME_BYTES)].filter(
      (byte) => byte >= 0x20 && byte < 0x7f,
    );
    return printable.length === 0 ? undefined : `"${String.fromCharCode(...printable)}"`;
  }
  return undefined;
}
