/** The pages of a snapshot for another thread that executes the guest, too: it opens the same files. */

import { type PageSource, openSnapshot } from '@ringfence/core';
import { nodeSnapshotCodec } from './node-codec.ts';
import { SnapshotFolder } from './snapshot-folder.ts';

/** Plain data: where the files are. */
export interface SharedPages {
  /** The snapshot's own folder. */
  readonly folder: string;
  /** That of every pack, its own first. */
  readonly packs: readonly string[];
}

/** The page source of a snapshot that this process has opened before. Its files stay open as long as the thread lives. */
export function sharedPageSource({ folder, packs }: SharedPages): PageSource {
  let next = 1;
  return openSnapshot(new SnapshotFolder(folder), {
    codec: nodeSnapshotCodec,
    verify: false,
    // They are asked for in the order of the packs.
    parent: () => {
      const path = packs[next++];
      return path === undefined ? undefined : new SnapshotFolder(path);
    },
  }).source;
}
