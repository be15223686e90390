/** What a virtual machine boots: the image `tiny`, made of Debian's packages, and the command that goes with it. */

export { ImageError, type ImageErrorCode } from './image-error.ts';
export { readAgent, readAgentUnit } from './node/guest-agent.ts';
export { listImages, loadTiny, openTiny, removeImage, type ListedImage } from './node/images.ts';
export type { CacheOptions, LoadedTiny, PullOptions, PullProgress, TinyImage } from './node/tiny-image.ts';
export { commandArchive, type GuestCommand } from './tiny/command-archive.ts';
export type { Manifest, ManifestFile, ManifestPackage } from './tiny/manifest.ts';

import type { PullOptions, TinyImage } from './node/tiny-image.ts';

/** Fetches what the suite has now and makes the image of it, unless the cached one is just that. */
export async function pullTiny(options: PullOptions = {}): Promise<TinyImage> {
  const { pullTiny: pull } = await import('./node/pull.ts'); // brings signatures and decompressors, which a cached image does not need
  return pull(options);
}
