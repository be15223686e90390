/** A regular file of a shared folder that is open. Data goes straight from and to guest memory, by position, many requests at a time. */

import { fdatasync, fstat, fsync, ftruncate, readv, writev } from 'node:fs';
import { promisify } from 'node:util';
import { vectorAfter, vectorBytes, type FileAttributes, type OpenFile } from '@ringfence/core';
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

  close(): Promise<void> {
    return this.#descriptor.close();
  }
}
