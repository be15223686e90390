/** Makes the image `tiny` of a suite: index, signature, packages, hashes, kernel and initrd, cache. */

import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { busyboxWithLibraries, isImagePackage, kernelPackages, staticBusybox } from '../debian/choose-packages.ts';
import { readPackages, type Package } from '../debian/packages.ts';
import type { IndexFile, Release } from '../debian/release.ts';
import { ImageError } from '../image-error.ts';
import type { Manifest } from '../tiny/manifest.ts';
import {
  archiveSettings,
  fetchIndex,
  fetchPackages,
  fetchRelease,
  refuseReplay,
  packagesIndex,
  type ArchiveSettings,
} from './archive.ts';
import { buildImage } from './build-image.ts';
import { cacheFolder } from './cache-folder.ts';
import {
  cacheFailure,
  imageFolder,
  makeWorkFolder,
  readManifest,
  removeWorkFolder,
  storeImage,
  storeManifest,
  verifyFiles,
  type ImageFolder,
} from './cache.ts';
import { readAgent } from './guest-agent.ts';
import { takeLock, type Lock } from './lock.ts';
import type { LocalPackage } from './package-files.ts';
import { readInit, recipeOf } from './recipe.ts';
import { checkedSuite, IMAGE_NAME, tinyImage, type PullOptions, type TinyImage } from './tiny-image.ts';

/** Fetches what the suite has now and makes the image of it, unless the cached one is just that. */
export async function pullTiny(options: PullOptions = {}): Promise<TinyImage> {
  const { signal, env = process.env } = options;
  const folder = imageFolder(cacheFolder(options.cacheDir, env), IMAGE_NAME, checkedSuite(options.suite));
  try {
    signal?.throwIfAborted();
    const startedAt = new Date();
    await mkdir(dirname(folder.lockPath), { recursive: true });
    const lock = await takeLock(folder.lockPath, signal, () => options.onProgress?.({ kind: 'waiting' }));
    try {
      const manifest =
        (await pulledMeanwhile(lock, folder, startedAt)) ?? (await pull(folder, archiveSettings(options, env)));
      return tinyImage(folder, manifest);
    } finally {
      lock.release();
    }
  } catch (error) {
    if (signal?.aborted === true)
      throw new ImageError('aborted', `Pulling the image ${folder.title} was stopped.`, error);
    throw cacheFailure(error, folder.cache);
  }
}

/** The image that another process made while this one waited for it. */
async function pulledMeanwhile(lock: Lock, folder: ImageFolder, startedAt: Date): Promise<Manifest | undefined> {
  if (!lock.waited) return undefined;
  const manifest = await soundManifest(folder);
  return manifest !== undefined && new Date(manifest.pulledAt) >= startedAt ? manifest : undefined;
}

async function pull(folder: ImageFolder, wanted: ArchiveSettings): Promise<Manifest> {
  const work = await makeWorkFolder(folder);
  try {
    const release = await fetchRelease(wanted, work);
    await refuseReplay(folder, release);
    const index = packagesIndex(release);
    const [cached, recipe] = [await soundManifest(folder), await recipeOf()];
    const reusable = cached?.recipe === recipe ? cached : undefined;
    if (reusable?.index === index.sha256) return await refresh(folder, work, reusable, release, index);

    const { kernelVersion, kernel, busybox } = await choosePackages(wanted, release, index, work);
    const packages = [...kernel, ...busybox].map(({ name, version, sha256 }) => ({ name, version, sha256 }));
    if (reusable !== undefined && JSON.stringify(reusable.packages) === JSON.stringify(packages)) {
      return await refresh(folder, work, reusable, release, index);
    }

    const all = [...kernel, ...busybox];
    const local: LocalPackage[] = all.map(({ name }, at) => ({ name, path: join(work, `${at}.deb`) }));
    await fetchPackages(wanted, all, (_package, at) => local[at]?.path ?? '');
    const files = await buildImage({
      kernelVersion,
      kernelPackages: local.slice(0, kernel.length),
      busyboxPackages: local.slice(kernel.length),
      init: await readInit(),
      agent: await readAgent(),
      title: `Debian ${release.version ?? release.codename}`,
      modifiedAt: Math.floor(release.date / 1000),
      signal: wanted.http.signal,
      onBytes: (item, bytesDone, bytesTotal) => wanted.onProgress({ kind: 'unpack', item, bytesDone, bytesTotal }),
    });
    wanted.http.signal?.throwIfAborted();
    return await storeImage(folder, work, files, (kernelFile, initrdFile) => ({
      format: 1,
      name: IMAGE_NAME,
      suite: wanted.suite,
      recipe,
      release: describe(release),
      index: index.sha256,
      kernelVersion,
      packages,
      kernel: kernelFile,
      initrd: initrdFile,
      pulledAt: new Date().toISOString(),
    }));
  } finally {
    await removeWorkFolder(folder, work);
  }
}

/** The cached image is still the one that the suite gives: only what is said of it is new. */
async function refresh(
  folder: ImageFolder,
  work: string,
  cached: Manifest,
  release: Release,
  index: IndexFile,
): Promise<Manifest> {
  const manifest = { ...cached, release: describe(release), index: index.sha256, pulledAt: new Date().toISOString() };
  await storeManifest(folder, work, manifest);
  return manifest;
}

function describe({ suite, codename, version, date }: Release): Manifest['release'] {
  return { suite, codename, version: version ?? null, date: new Date(date).toISOString() };
}

/** The cached manifest if the files are what it says; a damaged image counts as none, for it is about to be made anew. */
async function soundManifest(folder: ImageFolder): Promise<Manifest | undefined> {
  try {
    const manifest = await readManifest(folder);
    if (manifest !== undefined) await verifyFiles(folder, manifest);
    return manifest;
  } catch (error) {
    if (error instanceof ImageError && error.code === 'damaged') return undefined;
    throw error;
  }
}

interface ChosenPackages {
  readonly kernelVersion: string;
  readonly kernel: readonly Package[];
  readonly busybox: readonly Package[];
}

async function choosePackages(
  wanted: ArchiveSettings,
  release: Release,
  index: IndexFile,
  work: string,
): Promise<ChosenPackages> {
  const stream = await fetchIndex(wanted, release, index, work);
  const packages = await readPackages(stream(), isImagePackage);
  const { kernelVersion, packages: kernel } = kernelPackages(packages, wanted.suite);
  const busybox = staticBusybox(packages);
  return {
    kernelVersion,
    kernel,
    busybox:
      busybox === undefined ? busyboxWithLibraries(await readPackages(stream(), () => true), wanted.suite) : [busybox],
  };
}
