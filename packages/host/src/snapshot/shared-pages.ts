/** The pages of a snapshot for another thread that executes the guest, too: it opens the same files. */

import { type PageSource, SnapshotError, openSnapshot } from '@ringfence/core';
import { nodeSnapshotCodec } from './node-codec.ts';
import { type OpenFiles, SnapshotFolder } from './snapshot-folder.ts';

/** Plain data: which snapshot it is, and its files. */
export interface SharedPages {
  readonly id: string;
  /** Those of every pack, its own first, as they are open here: whoever removes them meanwhile takes nothing from a thread that begins. */
  readonly packs: readonly OpenFiles[];
}

/**
 * The page source of a snapshot that this process has opened before. What is open there is read and never closed. Throws a
 * SnapshotError when another one is there by now.
 */
export function sharedPageSource({ id, packs: [own, ...parents] }: SharedPages): PageSource {
  if (own === undefined) throw new Error('a snapshot has files of its own');
  let next = 0;
  const { manifest, source } = openSnapshot(SnapshotFolder.of(own), {
    codec: nodeSnapshotCodec,
    verify: false,
    // They are asked for in the order of the packs.
    parent: () => {
      const files = parents[next++];
      return files && SnapshotFolder.of(files);
    },
  });
  if (manifest.id !== id) throw new SnapshotError('broken', 'another snapshot is in its place by now');
  return source;
}
