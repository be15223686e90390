/**
 * Makes the image `debian` of a suite, and images with more packages in it:
 *
 *     release, index --> which packages --> fetched, checked --> laid out --> installed in a machine --> cached
 *
 * An image with more packages starts from a copy of the suite's own, which is brought up to date first, so that both are of one index.
 */

import { constants } from 'node:fs';
import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cpioArchive } from '../archive/cpio.ts';
import { concatenate, utf8Octets } from '../archive/octets.ts';
import { isImagePackage, kernelPackages, staticBusybox, type KernelPackages } from '../debian/choose-packages.ts';
import { PackageIndex } from '../debian/package-index.ts';
import { readPackages, type Package } from '../debian/packages.ts';
import type { IndexFile, Release } from '../debian/release.ts';
import { resolve, wantedPackage } from '../debian/resolve.ts';
import { ImageError } from '../image-error.ts';
import { BASE_PACKAGES, FORMATTING_PACKAGE } from '../system/base.ts';
import { DEBIAN_KERNEL_PARAMETERS } from '../system/kernel-parameters.ts';
import { initramfs } from '../tiny/initramfs.ts';
import type { Manifest, ManifestPackage } from '../tiny/manifest.ts';
import {
  archiveSettings,
  fetchIndex,
  fetchRelease,
  packagesIndex,
  refuseReplay,
  type ArchiveSettings,
} from './archive.ts';
import { buildDisk, type DiskPlan } from './build-disk.ts';
import type { BuildMachine } from './build-machine.ts';
import { cacheFolder } from './cache-folder.ts';
import {
  cacheFailure,
  imageFolder,
  makeWorkFolder,
  readFiles,
  readManifest,
  removeWorkFolder,
  storeImage,
  storeManifest,
  verifyDiskSize,
  verifyFiles,
  type ImageFolder,
} from './cache.ts';
import { checkedPackages, DEBIAN_NAME, debianImage, type DebianImage, type DebianOptions } from './debian-image.ts';
import { otherSources } from './guest-apt.ts';
import { readKernelTree } from './kernel-tree.ts';
import { takeLock } from './lock.ts';
import { PackageCache } from './package-cache.ts';
import { packageFiles } from './package-files.ts';
import { readAgent } from './guest-agent.ts';
import { readSystemFiles, type SystemFiles } from './system-files.ts';
import { checkedSuite } from './tiny-image.ts';

/** Fetches what the suite has now and makes the image of it, unless the cached one is just that. */
export async function pullDebian(options: DebianOptions): Promise<DebianImage> {
  const { signal, env = process.env } = options;
  const cache = cacheFolder(options.cacheDir, env);
  const suite = checkedSuite(options.suite);
  const packages = checkedPackages(options.packages);
  const folder = imageFolder(cache, DEBIAN_NAME, suite, packages);
  try {
    signal?.throwIfAborted();
    const pull = new Pull(options, archiveSettings(options, env), cache, await readSystemFiles());
    return debianImage(folder, await pull.image(folder, packages));
  } catch (error) {
    if (signal?.aborted === true)
      throw new ImageError('aborted', `Pulling the image ${folder.title} was stopped.`, error);
    throw cacheFailure(error, cache);
  }
}

/** What the suite's index says, as far as an image needs it. */
interface Suite {
  readonly release: Release;
  readonly index: IndexFile;
  readonly packages: PackageIndex;
  readonly kernel: KernelPackages;
  readonly busybox: Package;
}

class Pull {
  readonly #options: DebianOptions;
  readonly #archive: ArchiveSettings;
  readonly #cache: string;
  readonly #packages: PackageCache;
  readonly #system: SystemFiles;
  readonly #startedAt = new Date();
  #release: Release | undefined;
  #suite: Suite | undefined;

  constructor(options: DebianOptions, archive: ArchiveSettings, cache: string, system: SystemFiles) {
    this.#options = options;
    this.#archive = archive;
    this.#cache = cache;
    this.#packages = new PackageCache(cache);
    this.#system = system;
  }

  /** The manifest of the image with `packages` beside its own, made or found. */
  async image(folder: ImageFolder, packages: readonly string[]): Promise<Manifest> {
    await mkdir(dirname(folder.lockPath), { recursive: true });
    const { signal } = this.#options;
    const lock = await takeLock(folder.lockPath, signal, () => this.#archive.onProgress({ kind: 'waiting' }));
    try {
      // Another process may have made it while this one waited.
      const cached = await this.#usable(folder);
      if (lock.waited && cached !== undefined && new Date(cached.pulledAt) >= this.#startedAt) return cached;
      const work = await makeWorkFolder(folder);
      try {
        return await this.#pull(folder, packages, cached, work);
      } finally {
        await removeWorkFolder(folder, work);
      }
    } finally {
      lock.release();
    }
  }

  async #pull(
    folder: ImageFolder,
    packages: readonly string[],
    cached: Manifest | undefined,
    work: string,
  ): Promise<Manifest> {
    this.#release ??= await fetchRelease(this.#archive, work);
    await refuseReplay(folder, this.#release);
    const index = packagesIndex(this.#release);
    if (cached?.index === index.sha256) return refresh(folder, work, cached, this.#release, index);
    const suite = (this.#suite ??= await this.#readSuite(this.#release, index, work));
    const base = resolve(
      suite.packages,
      { wanted: [...suite.packages.required(), ...this.#wanted(suite, BASE_PACKAGES)] },
      folder.suite,
    );
    const more = resolve(suite.packages, { installed: base, wanted: this.#wanted(suite, packages) }, folder.suite);
    const all = [...suite.kernel.packages, suite.busybox, ...base, ...more].map(manifestPackage);
    if (cached !== undefined && JSON.stringify(cached.packages) === JSON.stringify(all))
      return refresh(folder, work, cached, suite.release, index);
    const made =
      packages.length === 0
        ? await this.#makeBase(folder, suite, base, work)
        : await this.#makeDerived(folder, more, work);
    this.#options.signal?.throwIfAborted();
    const suites = await this.#otherSuites(suite.release, work);
    const manifest = await storeImage(folder, work, made, (kernel, initrd, disk) => ({
      format: 1,
      name: DEBIAN_NAME,
      suite: folder.suite,
      recipe: this.#system.recipe,
      release: describe(suite.release),
      index: index.sha256,
      kernelVersion: suite.kernel.kernelVersion,
      packages: all,
      kernel,
      initrd,
      disk,
      wanted: packages,
      suites,
      pulledAt: new Date().toISOString(),
    }));
    await this.#packages.prune();
    return manifest;
  }

  /** Suites that a guest's apt can use beside the image's own: their indexes are signed, there, and what their releases say. */
  async #otherSuites(release: Release, work: string): Promise<string[]> {
    const { url } = this.#archive.mirror;
    const sound: string[] = [];
    for (const other of otherSources(url, this.#archive.apt, describe(release))) {
      const folder = join(work, other.suite);
      await mkdir(folder);
      const archive = { ...this.#archive, suite: other.suite, mirror: { ...this.#archive.mirror, url: other.url } };
      try {
        const found = await fetchRelease(archive, folder);
        await fetchIndex(archive, found, packagesIndex(found), folder);
        sound.push(other.suite);
      } catch (error) {
        this.#options.signal?.throwIfAborted();
        if (!(error instanceof ImageError)) throw error;
      }
    }
    return sound;
  }

  /** The cached manifest if it is of this recipe and its files are what it says; a damaged image is about to be made anew. */
  async #usable(folder: ImageFolder): Promise<Manifest | undefined> {
    try {
      const manifest = await readManifest(folder);
      if (manifest?.disk === undefined || manifest.recipe !== this.#system.recipe) return undefined;
      await verifyDiskSize(folder, manifest);
      await verifyFiles(folder, manifest);
      return manifest;
    } catch (error) {
      if (error instanceof ImageError && error.code === 'damaged') return undefined;
      throw error;
    }
  }

  async #readSuite(release: Release, index: IndexFile, work: string): Promise<Suite> {
    const { suite } = this.#archive;
    const stream = await fetchIndex(this.#archive, release, index, work);
    const packages = await PackageIndex.read(stream());
    const boot = await readPackages(stream(), isImagePackage);
    const busybox = staticBusybox(boot);
    if (busybox === undefined) throw new ImageError('no-package', `Suite ${suite} has no package busybox-static.`);
    return { release, index, packages, kernel: kernelPackages(boot, suite), busybox };
  }

  #wanted({ packages }: Suite, names: readonly string[]): Package[] {
    return names.map((name) => wantedPackage(packages, name, this.#archive.suite));
  }

  async #makeBase(
    folder: ImageFolder,
    suite: Suite,
    base: readonly Package[],
    work: string,
  ): Promise<{ kernel: Uint8Array; initrd: Uint8Array; disk: string }> {
    this.#requireMachine(folder);
    const { kernel: kernelParts, busybox, packages } = suite;
    await this.#packages.fetch(this.#archive, [...kernelParts.packages, busybox, ...base], work);
    const reading = {
      signal: this.#options.signal,
      onBytes: (item: string, bytesDone: number, bytesTotal: number) =>
        this.#archive.onProgress({ kind: 'unpack', item, bytesDone, bytesTotal }),
    };
    const local = (found: Package): { name: string; path: string } => ({
      name: found.name,
      path: this.#packages.pathOf(found),
    });
    const tree = await readKernelTree(kernelParts.packages.map(local), kernelParts.kernelVersion, reading);
    let busyboxFile: Uint8Array | undefined;
    for await (const entry of packageFiles([local(busybox)], reading))
      if (/^(?:usr\/)?bin\/busybox$/.test(entry.name)) busyboxFile = await entry.read();
    if (busyboxFile === undefined) throw new ImageError('bad-format', 'The package of busybox holds no busybox.');
    const initrd = initramfs({
      kernelVersion: kernelParts.kernelVersion,
      busybox: busyboxFile,
      agent: await readAgent(),
      libraries: [],
      modules: tree.bootModules,
      init: this.#system.boot,
      title: `Debian ${suite.release.version ?? suite.release.codename}`,
      modifiedAt: Math.floor(suite.release.date / 1000),
    });
    // What dpkg, its scripts and the maker of file systems need to run.
    const seeds = new Set(
      resolve(
        packages,
        {
          wanted: [
            ...packages.required().filter(({ isEssential }) => isEssential),
            ...this.#wanted(suite, [FORMATTING_PACKAGE]),
          ],
        },
        folder.suite,
      ).map(({ name }) => name),
    );
    const disk = join(work, 'disk.qcow2');
    await this.#build(folder, work, {
      disk,
      base: {
        essential: base.filter(({ name }) => seeds.has(name)),
        kernelVersion: kernelParts.kernelVersion,
        modules: tree.files,
      },
      packages: base.filter(({ name }) => !seeds.has(name)),
      kernel: tree.kernel,
      initrd,
    });
    return { kernel: tree.kernel, initrd, disk };
  }

  async #makeDerived(
    folder: ImageFolder,
    packages: readonly Package[],
    work: string,
  ): Promise<{ kernel: Uint8Array; initrd: Uint8Array; disk: string }> {
    this.#requireMachine(folder);
    const baseFolder = imageFolder(this.#cache, DEBIAN_NAME, folder.suite);
    const base = await this.image(baseFolder, []);
    const { kernel, initrd } = await readFiles(baseFolder, base);
    await this.#packages.fetch(this.#archive, packages, work);
    const disk = join(work, 'disk.qcow2');
    await copyFile(join(baseFolder.path, base.disk?.file ?? ''), disk, constants.COPYFILE_FICLONE);
    await chmod(disk, 0o644);
    await this.#build(folder, work, { disk, base: undefined, packages, kernel, initrd });
    return { kernel, initrd, disk };
  }

  #requireMachine(folder: ImageFolder): BuildMachine {
    const { machine } = this.#options;
    if (machine !== undefined) return machine;
    throw new ImageError(
      'not-cached',
      `The image ${folder.title} is not in the cache, and there is no machine to make it with. Make it with \`${folder.cure}\`.`,
    );
  }

  #build(
    folder: ImageFolder,
    work: string,
    parts: Pick<DiskPlan, 'disk' | 'base' | 'packages' | 'kernel' | 'initrd'>,
  ): Promise<void> {
    return buildDisk({
      ...parts,
      // A machine may take the bytes for its own. Of two /init in an initrd the later one counts.
      kernel: parts.kernel.slice(),
      initrd: concatenate([
        parts.initrd,
        cpioArchive([{ kind: 'file', names: ['init'], mode: 0o755, content: utf8Octets(this.#system.stage) }], 0),
      ]),
      title: folder.title,
      pathOf: (found) => this.#packages.pathOf(found),
      system: this.#system,
      kernelParameters: DEBIAN_KERNEL_PARAMETERS,
      work,
      machine: this.#requireMachine(folder),
      signal: this.#options.signal,
      onProgress: this.#archive.onProgress,
    });
  }
}

function manifestPackage({ name, version, sha256 }: Package): ManifestPackage {
  return { name, version, sha256 };
}

function describe({ suite, codename, version, date }: Release): Manifest['release'] {
  return { suite, codename, version: version ?? null, date: new Date(date).toISOString() };
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
