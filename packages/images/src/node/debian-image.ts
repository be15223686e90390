/** What callers of the image `debian` give and get. */

import { join } from 'node:path';
import { ImageError } from '../image-error.ts';
import { DISK_BYTES } from '../system/base.ts';
import { DEBIAN_KERNEL_PARAMETERS } from '../system/kernel-parameters.ts';
import type { Manifest } from '../tiny/manifest.ts';
import type { BuildMachine } from './build-machine.ts';
import type { ImageBytes, ImageFolder } from './cache.ts';
import type { PullOptions } from './tiny-image.ts';

export const DEBIAN_NAME = 'debian';

export interface DebianOptions extends PullOptions {
  /** Packages to have beside the image's own; an image with them is made of it and cached like it. */
  readonly packages?: readonly string[] | undefined;
  /** Runs the machine that installs packages; without it an image that is not cached cannot be made. */
  readonly machine?: BuildMachine | undefined;
}

/** An image that is on this machine and was found sound. */
export interface DebianImage {
  readonly name: string;
  readonly suite: string;
  readonly kernelVersion: string;
  /** A plain `Image`. */
  readonly kernelPath: string;
  /** An uncompressed cpio archive; `guestArchive` may be appended. */
  readonly initrdPath: string;
  /** The root file system, a qcow2 image that nobody writes to: a machine's changes go to an image in front of it. */
  readonly diskPath: string;
  /** Of the disk as the guest sees it. */
  readonly diskBytes: number;
  /** Words for the kernel's command line. */
  readonly kernelParameters: readonly string[];
  readonly manifest: Manifest;
}

export interface FoundDebian extends DebianImage {
  /** What a guest's apt is to be set to: files below /etc. */
  readonly apt: ReadonlyMap<string, string>;
}

/** The image and the bytes of its kernel and its initrd. */
export interface LoadedDebian extends FoundDebian, ImageBytes {}

const MAX_PACKAGES = 200;

/** Names of packages, each once and in order, fit to be asked for. */
export function checkedPackages(packages: readonly string[] = []): string[] {
  const bad = packages.find((name) => !/^[a-z0-9][a-z0-9.+-]{0,127}$/.test(name));
  if (bad !== undefined) throw new ImageError('bad-argument', `"${bad}" is no name of a Debian package.`);
  const names = [...new Set(packages)].toSorted();
  if (names.length > MAX_PACKAGES)
    throw new ImageError('bad-argument', `More than ${MAX_PACKAGES} packages cannot be asked for by name.`);
  return names;
}

export function debianImage(folder: ImageFolder, manifest: Manifest): DebianImage {
  return {
    name: manifest.name,
    suite: manifest.suite,
    kernelVersion: manifest.kernelVersion,
    kernelPath: join(folder.path, manifest.kernel.file),
    initrdPath: join(folder.path, manifest.initrd.file),
    diskPath: join(folder.path, manifest.disk?.file ?? ''),
    diskBytes: DISK_BYTES,
    kernelParameters: DEBIAN_KERNEL_PARAMETERS,
    manifest,
  };
}
