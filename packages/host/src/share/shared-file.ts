/** A regular file of a shared folder that is open. Data goes straight from and to guest memory, by position, many requests at a time. */

import { fdatasync, fstat, fsync, ftruncate, readv, writev } from 'node:fs';
import { promisify } from 'node:util';
import {
  FileError,
  vectorAfter,
  vectorBytes,
  type FileAttributes,
  type OpenFile,
  type SeekTarget,
} from '@ringfence/core';
import { attributesOf } from './attributes.ts';
import type { Descriptor } from './descriptor.ts';
import type { SharedTree } from './shared-tree.ts';

const call = {
  fstat: promisify(fstat),
  readv: promisify(readv),
  writev: promisify(writev),
  ftruncate: promisify(ftruncate),
  fsync: promisify(fsync),
  fdatasync: promisify(fdatasync),
};

/** `whence` of lseek(2), which Node does not name. */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

export class SharedFile implements OpenFile {
  readonly #tree: SharedTree;
  readonly #descriptor: Descriptor;

  constructor(tree: SharedTree, descriptor: Descriptor) {
    this.#tree = tree;
    this.#descriptor = descriptor;
  }

  attributes(): Promise<FileAttributes> {
    return this.#descriptor.use(async (number) =>
      attributesOf(await call.fstat(number, { bigint: true }), this.#tree.owners, this.#tree.timeUnitNs),
    );
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<number> {
    const bytes = vectorBytes(into);
    return this.#descriptor.use(async (number) => {
      let done = 0;
      while (done < bytes) {
        const { bytesRead } = await call.readv(number, vectorAfter(into, done), offsetBytes + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    });
  }

  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    const bytes = vectorBytes(from);
    return this.#descriptor.use(async (number) => {
      for (let done = 0; done < bytes;)
        done += (await call.writev(number, vectorAfter(from, done), offsetBytes + done)).bytesWritten;
    });
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#descriptor.use((number) => call.ftruncate(number, sizeBytes));
  }

  sync(dataOnly: boolean): Promise<void> {
    return this.#descriptor.use((number) => (dataOnly ? call.fdatasync(number) : call.fsync(number)));
  }

  async allocate(mode: number, offsetBytes: number, bytes: number): Promise<void> {
    await this.#descriptor.use((number) =>
      this.#tree.systemCalls.call('fallocate', [number, mode, BigInt(offsetBytes), BigInt(bytes)]),
    );
  }

  async seek(offsetBytes: number, target: SeekTarget): Promise<number> {
    // The position that this moves is used by nobody: all transfers say theirs.
    const { value } = await this.#descriptor.use((number) =>
      this.#tree.systemCalls.call('lseek', [number, BigInt(offsetBytes), target === 'data' ? SEEK_DATA : SEEK_HOLE]),
    );
    return value;
  }

  async copy(fromBytes: number, to: OpenFile, toBytes: number, bytes: number): Promise<number> {
    if (!(to instanceof SharedFile)) throw new FileError('EXDEV');
    const offset = (at: number): Uint8Array => new Uint8Array(BigInt64Array.of(BigInt(at)).buffer);
    const { value } = await this.#descriptor.use((from) =>
      to.#descriptor.use((target) =>
        this.#tree.systemCalls.call('copy_file_range', [
          from,
          offset(fromBytes),
          target,
          offset(toBytes),
          BigInt(bytes),
          0,
        ]),
      ),
    );
    return value;
  }

  close(): Promise<void> {
    return this.#descriptor.close();
  }
}
