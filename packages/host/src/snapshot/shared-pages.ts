/** The pages of a snapshot for another thread that executes the guest, too: it opens the same files. */

import { type PageSource, SnapshotError, openSnapshot } from '@ringfence/core';
import { nodeSnapshotCodec } from './node-codec.ts';
import { SnapshotFolder } from './snapshot-folder.ts';

/** Plain data: which snapshot it is, and where its files are. */
export interface SharedPages {
  readonly id: string;
  /** The snapshot's own folder. */
  readonly folder: string;
  /** That of every pack, its own first. */
  readonly packs: readonly string[];
}

/**
 * The page source of a snapshot that this process has opened before. Its files stay open as long as the thread lives. Throws a SnapshotError when
 * another one is there by now.
 */
export function sharedPageSource({ id, folder, packs }: SharedPages): PageSource {
  let next = 1;
  const { manifest, source } = openSnapshot(new SnapshotFolder(folder), {
    codec: nodeSnapshotCodec,
    verify: false,
    // They are asked for in the order of the packs.
    parent: () => {
      const path = packs[next++];
      return path === undefined ? undefined : new SnapshotFolder(path);
    },
  });
  if (manifest.id !== id) throw new SnapshotError('broken', 'another snapshot is in its place by now');
  return source;
}
