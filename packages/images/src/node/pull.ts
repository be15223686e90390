/** Makes the image `tiny` of a suite: index, signature, packages, hashes, kernel and initrd, cache. */

import { createReadStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { busyboxWithLibraries, isImagePackage, kernelPackages, staticBusybox } from '../debian/choose-packages.ts';
import { compressionOf } from '../debian/deb.ts';
import { readPackages, type Package } from '../debian/packages.ts';
import { checkRelease, chooseIndex, parseRelease, type IndexFile, type Release } from '../debian/release.ts';
import { ImageError } from '../image-error.ts';
import type { Manifest } from '../tiny/manifest.ts';
import { APT_FOLDER, readAptSettings, type AptSettings } from './apt.ts';
import { buildImage, type LocalPackage } from './build-image.ts';
import {
  cacheFailure,
  cacheFolder,
  imageFolder,
  makeWorkFolder,
  readManifest,
  removeWorkFolder,
  storeImage,
  storeManifest,
  verifyFiles,
  type Environment,
  type ImageFolder,
} from './cache.ts';
import { decompress } from './decompress.ts';
import { download, type Download } from './download.ts';
import { readAgent } from './guest-agent.ts';
import type { HttpSettings } from './http.ts';
import { takeLock, type Lock } from './lock.ts';
import { chooseMirror, type Mirror } from './mirror.ts';
import { readInit, recipeOf } from './recipe.ts';
import { findKeyring, verifiedText, type Keyring } from './signature.ts';
import { checkedSuite, IMAGE_NAME, tinyImage, type PullOptions, type TinyImage } from './tiny-image.ts';

const ARCHITECTURE = 'riscv64';
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_RETRY_PAUSE_MS = 500;
/** Indexes are checked against the signed sizes; only the signed file itself has no size known before. */
const MAX_RELEASE_SIZE = 16 * 1024 * 1024;
const PARALLEL_DOWNLOADS = 3;

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
      const manifest = (await pulledMeanwhile(lock, folder, startedAt)) ?? (await pull(folder, settings(options, env)));
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

interface Settings {
  readonly suite: string;
  readonly mirror: Mirror;
  readonly keyring: Keyring;
  readonly apt: AptSettings;
  readonly http: HttpSettings;
  readonly onProgress: NonNullable<PullOptions['onProgress']>;
}

function settings(options: PullOptions, env: Environment): Settings {
  const aptFolder = options.aptFolder ?? APT_FOLDER;
  const apt = readAptSettings(aptFolder);
  const mirror = chooseMirror(options.mirror, env, apt, aptFolder);
  return {
    suite: checkedSuite(options.suite),
    mirror,
    keyring: findKeyring(options.keyring, mirror.signedBy),
    apt,
    http: {
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      retryPauseMs: options.retryPauseMs ?? DEFAULT_RETRY_PAUSE_MS,
      apt: apt.configuration,
      env,
    },
    onProgress: options.onProgress ?? (() => undefined),
  };
}

async function pull(folder: ImageFolder, wanted: Settings): Promise<Manifest> {
  const work = await makeWorkFolder(folder);
  try {
    const release = await fetchRelease(wanted, work);
    const index = chooseIndex(release, `main/binary-${ARCHITECTURE}/Packages`, ['.xz', '.gz']);
    const [cached, recipe] = [await soundManifest(folder), await recipeOf()];
    const reusable = cached?.recipe === recipe ? cached : undefined;
    if (reusable?.index === index.sha256) return await refresh(folder, work, reusable, release, index);

    const { kernelVersion, kernel, busybox } = await choosePackages(wanted, release, index, work);
    const packages = [...kernel, ...busybox].map(({ name, version, sha256 }) => ({ name, version, sha256 }));
    if (reusable !== undefined && JSON.stringify(reusable.packages) === JSON.stringify(packages)) {
      return await refresh(folder, work, reusable, release, index);
    }

    const local = await fetchPackages(wanted, [...kernel, ...busybox], work);
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

async function fetchRelease(wanted: Settings, work: string): Promise<Release> {
  const path = join(work, 'InRelease');
  const url = `${wanted.mirror.url}/dists/${wanted.suite}/InRelease`;
  await fetchOne(
    wanted,
    { item: `index of ${wanted.suite}`, urls: [url], expected: undefined, maxSize: MAX_RELEASE_SIZE },
    path,
  );
  const now = new Date();
  const release = parseRelease(await verifiedText(await readFile(path, 'utf8'), wanted.keyring, now));
  const { configuration } = wanted.apt;
  checkRelease(release, {
    suite: wanted.suite,
    architecture: ARCHITECTURE,
    now: now.getTime(),
    checkValidUntil: wanted.mirror.checkValidUntil ?? configuration.flag('Acquire::Check-Valid-Until') ?? true,
    checkDate: configuration.flag('Acquire::Check-Date') ?? true,
  });
  return release;
}

interface ChosenPackages {
  readonly kernelVersion: string;
  readonly kernel: readonly Package[];
  readonly busybox: readonly Package[];
}

async function choosePackages(
  wanted: Settings,
  release: Release,
  index: IndexFile,
  work: string,
): Promise<ChosenPackages> {
  const folder = `${wanted.mirror.url}/dists/${wanted.suite}`;
  const plain = `${folder}/${index.path}`;
  const byHash = `${folder}/${dirname(index.path)}/by-hash/SHA256/${index.sha256}`;
  const path = join(work, 'Packages');
  const { size, sha256 } = index;
  const urls = release.acquireByHash ? [byHash, plain] : [plain];
  await fetchOne(
    wanted,
    { item: `packages of ${wanted.suite}`, urls, expected: { size, sha256 }, maxSize: size },
    path,
  );

  const read = (isWanted: (name: string) => boolean): Promise<ReadonlyMap<string, Package>> =>
    readPackages(decompress(compressionOf(index.path) ?? 'none', createReadStream(path)), isWanted);
  const packages = await read(isImagePackage);
  const { kernelVersion, packages: kernel } = kernelPackages(packages, wanted.suite);
  const busybox = staticBusybox(packages);
  return {
    kernelVersion,
    kernel,
    busybox: busybox === undefined ? busyboxWithLibraries(await read(() => true), wanted.suite) : [busybox],
  };
}

/** All packages, a few at a time. When one fails the others are stopped, and nothing is left running. */
async function fetchPackages(wanted: Settings, packages: readonly Package[], work: string): Promise<LocalPackage[]> {
  const stop = new AbortController();
  const { signal } = wanted.http;
  const http = { ...wanted.http, signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]) };
  const local = packages.map(({ name }, at) => ({ name, path: join(work, `${at}.deb`) }));
  const queue = [...packages.entries()];
  let failure: unknown;
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined && failure === undefined; next = queue.shift()) {
      const [at, { name, version, path, size, sha256 }] = next;
      const wantedFile: Download = {
        item: `${name} ${version}`,
        urls: [`${wanted.mirror.url}/${path.split('/').map(encodeURIComponent).join('/')}`],
        expected: { size, sha256 },
        maxSize: size,
      };
      try {
        await fetchOne({ ...wanted, http }, wantedFile, local[at]?.path ?? '');
      } catch (error) {
        failure ??= error;
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_DOWNLOADS }, worker));
  if (failure !== undefined) throw failure;
  return local;
}

function fetchOne({ http, onProgress }: Settings, wanted: Download, path: string): Promise<void> {
  return download(wanted, path, http, (bytesDone, bytesTotal) =>
    onProgress({ kind: 'download', item: wanted.item, bytesDone, bytesTotal }),
  );
}
