/** What a virtual machine boots: the images `tiny` and `debian`, made of Debian's packages, and what goes with them. */

export { ImageError, type ImageErrorCode } from './image-error.ts';
export type { BuildEnd, BuildJob, BuildMachine } from './node/build-machine.ts';
export type { DebianImage, DebianOptions, LoadedDebian } from './node/debian-image.ts';
export { readAgent, readAgentUnit } from './node/guest-agent.ts';
export {
  findDebian,
  findTiny,
  listImages,
  loadDebian,
  loadTiny,
  openTiny,
  removeImage,
  type ListedImage,
} from './node/images.ts';
export type { CacheOptions, LoadedTiny, PullOptions, PullProgress, TinyImage } from './node/tiny-image.ts';
export { debianArchive, type DebianGuest } from './system/guest-archive.ts';
export type { GuestData, NoCloud } from './system/no-cloud.ts';
export { commandArchive, type GuestCommand } from './tiny/command-archive.ts';
export type { Manifest, ManifestFile, ManifestPackage } from './tiny/manifest.ts';

import type { GuestData, NoCloud } from './system/no-cloud.ts';
import type { DebianImage, DebianOptions } from './node/debian-image.ts';
import type { PullOptions, TinyImage } from './node/tiny-image.ts';

/** Fetches what the suite has now and makes the image of it, unless the cached one is just that. */
export async function pullTiny(options: PullOptions = {}): Promise<TinyImage> {
  const { pullTiny: pull } = await import('./node/pull.ts'); // brings signatures and decompressors, which a cached image does not need
  return pull(options);
}

/** Fetches what the suite has now and makes the image `debian` of it, unless the cached one is just that. */
export async function pullDebian(options: DebianOptions): Promise<DebianImage> {
  const { pullDebian: pull } = await import('./node/pull-debian.ts');
  return pull(options);
}

/** Reads what cloud-init's data source NoCloud has; throws an ImageError that says what is wrong with it. */
export async function readNoCloud(data: NoCloud): Promise<GuestData> {
  const { readNoCloud: read } = await import('./system/no-cloud.ts'); // brings YAML
  return read(data);
}
