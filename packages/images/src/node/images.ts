/** The images on this machine: open one, list them, remove one. */

import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ImageError } from '../image-error.ts';
import type { Manifest } from '../tiny/manifest.ts';
import {
  cacheFailure,
  cacheFolder,
  imageFolder,
  imageFolders,
  readFiles,
  readManifest,
  verifyFiles,
  type ImageFolder,
} from './cache.ts';
import { takeLock } from './lock.ts';
import { recipeOf } from './recipe.ts';
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

/** The cached image and what `take` made of its files; undefined when it has to be pulled. */
async function openedImage<Taken>(
  options: PullOptions,
  take: (folder: ImageFolder, manifest: Manifest) => Promise<Taken>,
): Promise<{ readonly image: TinyImage; readonly taken: Taken } | undefined> {
  const folder = imageFolder(
    cacheFolder(options.cacheDir, options.env ?? process.env),
    IMAGE_NAME,
    checkedSuite(options.suite),
  );
  if (options.signal?.aborted === true)
    throw new ImageError('aborted', `Opening the image ${folder.title} was stopped.`);
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

  async function takenFrom(current: Manifest): Promise<{ image: TinyImage; taken: Taken } | undefined> {
    const taken = await take(folder, current);
    return current.recipe === (await recipeOf()) ? { image: tinyImage(folder, current), taken } : undefined;
  }
}

export interface ListedImage {
  readonly name: string;
  readonly suite: string;
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
    if (manifest !== undefined || problem !== undefined) images.push({ name, suite, manifest, problem });
  }
  return images;
}

/** Removes an image from the cache; an error when it is not there. Waits for whoever is pulling it. */
export async function removeImage(
  name: string,
  options: CacheOptions & { readonly suite?: string | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  if (name !== IMAGE_NAME) throw new ImageError('bad-argument', `There is no image "${name}"; there is ${IMAGE_NAME}.`);
  const folder = imageFolder(
    cacheFolder(options.cacheDir, options.env ?? process.env),
    name,
    checkedSuite(options.suite),
  );
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
  } catch (error) {
    if (options.signal?.aborted === true)
      throw new ImageError('aborted', `Removing the image ${folder.title} was stopped.`, error);
    throw cacheFailure(error, folder.cache);
  }
}
