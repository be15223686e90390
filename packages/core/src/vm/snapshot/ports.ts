/** What taking and restoring a snapshot asks of the host: files, a hash, and zstd (RFC 8878). */

export interface SnapshotCodec {
  /** SHA-256, as 64 hexadecimal digits. */
  digest(bytes: Uint8Array): string;
  /** The same as 32 characters, one for each byte: of thousands of pages, one after another. */
  digestBytes(bytes: Uint8Array): string;
  /** CRC-32 (RFC 1952, 8), which tells what was broken by accident, in a third of the time. */
  checksum(bytes: Uint8Array): number;
  /** The digest of what comes piece by piece. */
  hash(): { update(bytes: Uint8Array): void; digest(): string };
  /** A zstd frame of `plain`, which nobody changes until then. It may lie in the same memory, where that has room, so that what was there is gone. */
  pack(plain: Uint8Array): Promise<PackedFrame>;
  /** What a zstd frame holds, no more than `bytes`; throws when it is none. At once: a guest waits for it. */
  decompress(frame: Uint8Array, bytes: number): Uint8Array;
  /** Lets others have the thread. */
  turn(): Promise<void>;
}

export interface PackedFrame {
  readonly bytes: Uint8Array;
  /** Of the bytes. */
  readonly checksum: number;
}

/** The files of a snapshot that is being written. Nobody sees them before it is whole. */
export interface SnapshotSink {
  /** Adds parts to the end of a file, one behind the other. Calls do not overlap. */
  append(file: string, ...parts: readonly Uint8Array[]): Promise<void>;
}

/** The files of a snapshot. Read at once: a guest waits for them. */
export interface SnapshotFiles {
  /** Bytes of a file; undefined when there is none. */
  sizeOf(file: string): number | undefined;
  /** Fills all of `into` from a file that has so many bytes; throws when it cannot. */
  read(file: string, offsetBytes: number, into: Uint8Array): void;
}
