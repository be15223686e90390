/** Snapshots in memory, for tests: each a map of files by its id. */

import { createHash, hash } from 'node:crypto';
import { promisify } from 'node:util';
import { crc32, zstdCompress, zstdDecompressSync } from 'node:zlib';
import type { Machine } from '../../../machine/machine.ts';
import { type OpenOptions, type OpenSnapshot, openSnapshot } from '../open-snapshot.ts';
import type { SnapshotCodec, SnapshotFiles, SnapshotSink } from '../ports.ts';
import { type SnapshotPoint, type SnapshotRequest, type TakenSnapshot, holdPoint } from '../take-snapshot.ts';

/** Node's, and what happens in its turns is the test's. */
export function testCodec(turn: () => Promise<void> = async () => {}): SnapshotCodec {
  return {
    digest: (bytes) => hash('sha256', bytes),
    digestBytes: (bytes) => hash('sha256', bytes, 'latin1'),
    checksum: (bytes) => crc32(bytes),
    hash() {
      const sum = createHash('sha256');
      return { update: (bytes) => void sum.update(bytes), digest: () => sum.digest('hex') };
    },
    async pack(plain) {
      const bytes = await promisify(zstdCompress)(plain);
      return { bytes, checksum: crc32(bytes) };
    },
    decompress: (frame, bytes) => zstdDecompressSync(frame, { maxOutputLength: bytes }),
    turn,
  };
}

export class MemoryFiles implements SnapshotFiles, SnapshotSink {
  readonly files = new Map<string, Buffer>();

  async append(file: string, ...parts: readonly Uint8Array[]): Promise<void> {
    this.files.set(file, Buffer.concat([this.files.get(file) ?? Buffer.alloc(0), ...parts]));
  }

  sizeOf(file: string): number | undefined {
    return this.files.get(file)?.length;
  }

  read(file: string, offsetBytes: number, into: Uint8Array): void {
    const bytes = this.files.get(file)?.subarray(offsetBytes, offsetBytes + into.length);
    if (bytes?.length !== into.length) throw new Error(`${file} ends too soon`);
    into.set(bytes);
  }
}

/** A runner that has its machine paused: between two calls of `run` it always is. */
export const STANDING: SnapshotRequest['runner'] = {
  isPaused: true,
  pause: () => Promise.resolve(true),
  resume: () => {},
};

export class MemorySnapshots {
  readonly byId = new Map<string, MemoryFiles>();
  #count = 0;

  /** Takes one of a machine that nobody runs meanwhile but `turn`. */
  async take(
    machine: Machine,
    options: { readonly parent?: OpenSnapshot | undefined; readonly turn?: () => Promise<void> } = {},
  ): Promise<TakenSnapshot> {
    const point = await this.hold(machine, options);
    return point.write();
  }

  async hold(
    machine: Machine,
    {
      parent,
      turn,
      ...more
    }: { parent?: OpenSnapshot | undefined; turn?: (() => Promise<void>) | undefined } & Partial<SnapshotRequest> = {},
  ): Promise<SnapshotPoint> {
    const id = (++this.#count).toString(16).padStart(32, '0');
    const sink = new MemoryFiles();
    this.byId.set(id, sink);
    return holdPoint({
      machine,
      runner: STANDING,
      clock: { monotonicNs: () => performance.now() * 1e6 },
      codec: testCodec(turn),
      sink,
      id,
      createdBy: 'a test',
      createdAt: new Date(0).toISOString(),
      parent,
      ...more,
    });
  }

  open(id: string, options: Partial<OpenOptions> = {}): OpenSnapshot {
    const files = this.byId.get(id);
    if (files === undefined) throw new Error(`there is no snapshot ${id}`);
    return openSnapshot(files, { codec: testCodec(), parent: (of) => this.byId.get(of), verify: true, ...options });
  }
}
