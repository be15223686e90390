/**
 * The port beneath disk images: one file of the host, or what stands for one in a browser. A format (raw, qcow2) makes a BlockStore of it.
 * Unlike a disk it grows by being written to.
 */

/** The least of a file that can be given back. */
export const HOLE_BYTES = 4096;

/**
 * Requests on one file may overlap in time; views are lists as in BlockStore, may lie in shared memory, and are not touched any more once
 * the promise is settled. No method throws; a promise rejects with a BlockStoreError.
 */
export interface ImageFile {
  /** As the user calls it, for sentences. */
  readonly name: string;
  readonly readOnly: boolean;
  /** As it is now. */
  readonly sizeBytes: number;
  /** Fills all of `into`; what lies behind the end reads as zero. */
  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void>;
  /** Writes all of `from`; behind the end the file grows, and a gap reads as zero. Durable only after a later `flush` resolved. */
  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void>;
  /**
   * Gives whole blocks of HOLE_BYTES back to whoever keeps the file; they read as zero then, durably so after a later `flush`. Gives false
   * where that turns out to be impossible: each block holds what it held, or zeroes. Missing where a file has no holes.
   */
  readonly punchHole?: ((offsetBytes: number, bytes: number) => Promise<boolean>) | undefined;
  /** Resolves when everything written before the call is durable. */
  flush(): Promise<void>;
  /** Waits for what is under way. */
  close(): Promise<void>;
}
