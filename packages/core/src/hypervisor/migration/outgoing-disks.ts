/**
 * Disks of a machine that leaves: what of them the other end has not got, as messages. They are followed from the beginning to the end of the migration,
 * and stay as they are here: when it fails, nothing has happened to them.
 */

import type { BlockStore } from '../../base/ports.ts';
import { DiskMirror } from '../../storage/disk-mirror.ts';
import { diskBody } from './disk-messages.ts';
import { MESSAGE, type MessageWriter } from './messages.ts';

/** A disk that tells what is written to it. */
export type MirroredStore = Pick<BlockStore, 'sizeBytes' | 'read' | 'heldRun'> & {
  set mirror(mirror: DiskMirror | undefined);
};

export interface OutgoingDisk {
  readonly store: MirroredStore;
  /** As DiskMirrorOptions have it; 0 when the other end has all of the disk, or reaches it itself. */
  readonly layers: number;
  readonly isBlank: boolean;
}

export class OutgoingDisks {
  readonly #disks: readonly OutgoingDisk[];
  readonly #sleep: (ms: number) => Promise<void>;
  #mirrors: { readonly disk: number; readonly mirror: DiskMirror }[] = [];
  #turn = 0;

  constructor(disks: readonly OutgoingDisk[], sleep: (ms: number) => Promise<void>) {
    this.#disks = disks;
    this.#sleep = sleep;
  }

  /** Whether something of them is sent. */
  get areSent(): boolean {
    return this.#disks.some(({ layers }) => layers > 0);
  }

  /** Only while no request is under way. */
  follow(): void {
    for (const [disk, { store, layers, isBlank }] of this.#disks.entries()) {
      if (layers === 0) continue;
      const mirror = new DiskMirror({ source: store, layers, isBlank, sleep: this.#sleep });
      store.mirror = mirror;
      this.#mirrors.push({ disk, mirror });
    }
  }

  end(): void {
    this.limitBytes = Infinity;
    for (const { disk } of this.#mirrors) {
      const store = this.#disks[disk]?.store;
      if (store) store.mirror = undefined;
    }
    this.#mirrors = [];
  }

  get leftBytes(): number {
    return this.#mirrors.reduce((sum, { mirror }) => sum + mirror.leftBytes, 0);
  }

  get areSwept(): boolean {
    return this.#mirrors.every(({ mirror }) => mirror.isSwept);
  }

  /** What may be left of each before its guest's writes wait. */
  set limitBytes(bytes: number) {
    for (const { mirror } of this.#mirrors) mirror.limitBytes = bytes;
  }

  /** The next messages; there may be none although something is left. */
  async next(writer: MessageWriter): Promise<Uint8Array[]> {
    const waiting = this.#mirrors.filter(({ mirror }) => mirror.leftBytes > 0);
    const next = waiting[this.#turn++ % Math.max(1, waiting.length)];
    if (next === undefined) return [];
    const pieces = await next.mirror.take();
    return pieces.map((piece) => writer.bytes(MESSAGE.DISK, diskBody(next.disk, piece)));
  }
}
