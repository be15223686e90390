/** The images on this machine: open one, list them, remove one. */

import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ImageError } from '../image-error.ts';
import type { Manifest } from '../tiny/manifest.ts';
import { cacheFolder } from './cache-folder.ts';
import {
  cacheFailure,
  imageFolder,
  imageFolders,
  readFiles,
  readManifest,
  verifyDiskSize,
  verifyFiles,
  type ImageBytes,
  type ImageFolder,
} from './cache.ts';
import {
  checkedPackages,
  DEBIAN_NAME,
  debianImage,
  type DebianOptions,
  type FoundDebian,
  type LoadedDebian,
} from './debian-image.ts';
import { guestApt } from './guest-apt.ts';
import { takeLock } from './lock.ts';
import { PackageCache } from './package-cache.ts';
import { recipeOf } from './recipe.ts';
import { readSystemFiles } from './system-files.ts';
import {
  checkedSuite,
  IMAGE_NAME,
  tinyImage,
  type CacheOptions,
  type LoadedTiny,
  type PullOptions,
  type TinyImage,
} from './tiny-image.ts';

/**
 * The image, from the cache or, when it is not there or was made by another version of Ringfence, pulled. No network is needed for a
 * cached one. A damaged one is an error: a person should know of it before something else is put in its place.
 */
export async function openTiny(options: PullOptions = {}): Promise<TinyImage> {
  const opened = await openedImage(options, verifyFiles);
  if (opened !== undefined) return opened.image;
  const { pullTiny } = await import('./pull.ts'); // signatures and decompressors are loaded only when they are needed
  return pullTiny(options);
}

/**
 * The cached image without a look at its files, whose names carry their hashes; undefined when it would have to be pulled. For who goes on from
 * something that was made of it.
 */
export async function findTiny(options: PullOptions = {}): Promise<TinyImage | undefined> {
  return (await openedImage(options, async () => undefined))?.image;
}

/** As openTiny, with what a machine is to boot: the very bytes whose hashes were compared, each in a buffer of its own. */
export async function loadTiny(options: PullOptions = {}): Promise<LoadedTiny> {
  let opened = await openedImage(options, readFiles);
  if (opened === undefined) {
    const { pullTiny } = await import('./pull.ts');
    await pullTiny(options);
    opened = await openedImage(options, readFiles);
  }
  if (opened === undefined) throw new ImageError('cache', 'The image that was just pulled is gone from the cache.');
  return { ...opened.image, ...opened.taken };
}

/**
 * The image `debian` from the cache, with the bytes of its kernel and initrd; made when it is not there, which takes a machine (option
 * `machine`) and some minutes.
 */
export async function loadDebian(options: DebianOptions = {}): Promise<LoadedDebian> {
  const take = async (folder: ImageFolder, manifest: Manifest): Promise<ImageBytes> => {
    await verifyDiskSize(folder, manifest);
    return readFiles(folder, manifest);
  };
  let opened = await openedDebian(options, take);
  if (opened === undefined) {
    const { pullDebian } = await import('./pull-debian.ts');
    await pullDebian(options);
    opened = await openedDebian(options, take);
  }
  if (opened === undefined) throw new ImageError('cache', 'The image that was just made is gone from the cache.');
  const { folder, manifest, taken } = opened;
  return { ...debianImage(folder, manifest), ...taken, apt: guestApt(options, manifest) };
}

/** What of an image in the cache stands for it, and what a guest's apt is to be set to; without a look at its files. Undefined when it would have to be made. */
export async function findDebian(options: DebianOptions = {}): Promise<FoundDebian | undefined> {
  const opened = await openedDebian(options, async () => undefined);
  if (opened === undefined) return undefined;
  const { folder, manifest } = opened;
  return { ...debianImage(folder, manifest), apt: guestApt(options, manifest) };
}

async function openedDebian<Taken>(
  options: DebianOptions,
  take: (folder: ImageFolder, manifest: Manifest) => Promise<Taken>,
): Promise<Opened<Taken> | undefined> {
  const cache = cacheFolder(options.cacheDir, options.env ?? process.env);
  const folder = imageFolder(cache, DEBIAN_NAME, checkedSuite(options.suite), checkedPackages(options.packages));
  return sound(folder, options.signal, async () => (await readSystemFiles()).recipe, take);
}

/** The cached image and what `take` made of its files; undefined when it has to be pulled. */
async function openedImage<Taken>(
  options: PullOptions,
  take: (folder: ImageFolder, manifest: Manifest) => Promise<Taken>,
): Promise<{ readonly image: TinyImage; readonly taken: Taken } | undefined> {
  const cache = cacheFolder(options.cacheDir, options.env ?? process.env);
  const folder = imageFolder(cache, IMAGE_NAME, checkedSuite(options.suite));
  const found = await sound(folder, options.signal, recipeOf, take);
  return found && { image: tinyImage(folder, found.manifest), taken: found.taken };
}

interface Opened<Taken> {
  readonly folder: ImageFolder;
  readonly manifest: Manifest;
  readonly taken: Taken;
}

async function sound<Taken>(
  folder: ImageFolder,
  signal: AbortSignal | undefined,
  recipe: () => Promise<string>,
  take: (folder: ImageFolder, manifest: Manifest) => Promise<Taken>,
): Promise<Opened<Taken> | undefined> {
  if (signal?.aborted === true) throw new ImageError('aborted', `Opening the image ${folder.title} was stopped.`);
  const manifest = await readManifest(folder);
  if (manifest === undefined) return undefined;
  try {
    return await takenFrom(manifest);
  } catch (error) {
    // When a pull replaces the image in between, the new one counts.
    const newer = await readManifest(folder);
    if (
      newer === undefined ||
      newer.kernel.sha256 + newer.initrd.sha256 === manifest.kernel.sha256 + manifest.initrd.sha256
    )
      throw error;
    return takenFrom(newer);
  }

  async function takenFrom(current: Manifest): Promise<Opened<Taken> | undefined> {
    const taken = await take(folder, current);
    return current.recipe === (await recipe()) ? { folder, manifest: current, taken } : undefined;
  }
}

export interface ListedImage {
  readonly name: string;
  readonly suite: string;
  /** The packages that were asked for beside the image's own. */
  readonly packages: readonly string[];
  /** Undefined when the manifest cannot be read. */
  readonly manifest: Manifest | undefined;
  /** Why the image cannot be used, as a sentence; undefined when nothing was found, which without `verify` says little. */
  readonly problem: string | undefined;
}

/** The images there are. With `verify` their files are read and compared. */
export async function listImages(options: CacheOptions & { readonly verify?: boolean } = {}): Promise<ListedImage[]> {
  const folders = await imageFolders(cacheFolder(options.cacheDir, options.env ?? process.env));
  const images: ListedImage[] = [];
  for (const folder of folders) {
    const { name, suite } = folder;
    let manifest: Manifest | undefined;
    let problem: string | undefined;
    try {
      manifest = await readManifest(folder);
      if (manifest !== undefined && options.verify === true) await verifyFiles(folder, manifest);
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      problem = error.message;
    }
    if (manifest !== undefined || problem !== undefined)
      images.push({ name, suite, packages: manifest?.wanted ?? [], manifest, problem });
  }
  return images;
}

/** Removes an image from the cache; an error when it is not there. Waits for whoever is pulling it. */
export async function removeImage(
  name: string,
  options: CacheOptions & {
    readonly suite?: string | undefined;
    /** Of an image that was made with packages beside its own. */
    readonly packages?: readonly string[] | undefined;
    readonly signal?: AbortSignal | undefined;
  } = {},
): Promise<void> {
  if (name !== IMAGE_NAME && name !== DEBIAN_NAME)
    throw new ImageError('bad-argument', `There is no image "${name}"; there are ${IMAGE_NAME} and ${DEBIAN_NAME}.`);
  const packages = checkedPackages(options.packages);
  if (name !== DEBIAN_NAME && packages.length > 0)
    throw new ImageError('bad-argument', `The image ${name} is made of no packages that could be chosen.`);
  const cache = cacheFolder(options.cacheDir, options.env ?? process.env);
  const folder = imageFolder(cache, name, checkedSuite(options.suite), packages);
  const isThere = (await imageFolders(folder.cache)).some(({ path }) => path === folder.path);
  if (!isThere) throw new ImageError('not-cached', `The image ${folder.title} is not in the cache.`);
  try {
    await mkdir(dirname(folder.lockPath), { recursive: true });
    const lock = await takeLock(folder.lockPath, options.signal, () => undefined);
    try {
      await rm(folder.path, { recursive: true, force: true });
    } finally {
      lock.release();
    }
    // Fetched packages are kept for the next image of the same kind.
    if (!(await imageFolders(cache)).some((other) => other.name === DEBIAN_NAME)) await new PackageCache(cache).clear();
  } catch (error) {
    if (options.signal?.aborted === true)
      throw new ImageError('aborted', `Removing the image ${folder.title} was stopped.`, error);
    throw cacheFailure(error, folder.cache);
  }
}
