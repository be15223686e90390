/** What this package's callers give and get. */

import { join } from 'node:path';
import { ImageError } from '../image-error.ts';
import { TINY_KERNEL_PARAMETERS } from '../tiny/kernel-parameters.ts';
import type { Manifest } from '../tiny/manifest.ts';
import type { Environment } from './cache-folder.ts';
import type { ImageBytes, ImageFolder } from './cache.ts';

export const IMAGE_NAME = 'tiny';
const DEFAULT_SUITE = 'stable';

/** An image that is on this machine and was found sound. */
export interface TinyImage {
  readonly name: string;
  readonly suite: string;
  /** As `uname -r` says it. */
  readonly kernelVersion: string;
  /** A plain `Image`. */
  readonly kernelPath: string;
  /** An uncompressed cpio archive; others may be appended. */
  readonly initrdPath: string;
  /** Words for the kernel's command line that make it boot sooner. */
  readonly kernelParameters: readonly string[];
  readonly manifest: Manifest;
}

/** The image and the bytes of its files. */
export interface LoadedTiny extends TinyImage, ImageBytes {}

export interface CacheOptions {
  /** The cache's folder; RINGFENCE_CACHE, or `ringfence` in the user's cache folder, when it is not given. */
  readonly cacheDir?: string | undefined;
  /** Environment variables; this process's own when not given. */
  readonly env?: Environment | undefined;
}

export interface PullOptions extends CacheOptions {
  /** A suite or a code name; `stable` when it is not given. */
  readonly suite?: string | undefined;
  /** Root of a Debian archive; RINGFENCE_MIRROR, or what apt is set to, when it is not given. */
  readonly mirror?: string | undefined;
  /** A file of OpenPGP keys; the one that apt would use when it is not given. */
  readonly keyring?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /** How long the mirror may keep silent, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  /** How long to wait before a broken download is taken up again, in milliseconds. */
  readonly retryPauseMs?: number | undefined;
  /** Where apt's settings lie. */
  readonly aptFolder?: string | undefined;
}

export type PullProgress =
  /** Another process is pulling the same image. */
  | { readonly kind: 'waiting' }
  /** Comes with every chunk; `bytesTotal` is undefined when the server does not say it. */
  | {
      readonly kind: 'download';
      readonly item: string;
      readonly bytesDone: number;
      readonly bytesTotal: number | undefined;
    }
  /** A package is being read; it may be read more than once. */
  | { readonly kind: 'unpack'; readonly item: string; readonly bytesDone: number; readonly bytesTotal: number }
  /** Packages are being installed in a machine; each counts once for being unpacked and once for being configured. */
  | { readonly kind: 'install'; readonly item: string; readonly stepsDone: number; readonly stepsTotal: number };

/** The suite, fit to be part of a path and of an address. */
export function checkedSuite(suite: string = DEFAULT_SUITE): string {
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(suite)) {
    throw new ImageError(
      'bad-argument',
      `"${suite}" is no name of a suite. Debian's are stable, testing, sid and code names like trixie.`,
    );
  }
  return suite;
}

export function tinyImage(folder: ImageFolder, manifest: Manifest): TinyImage {
  return {
    name: manifest.name,
    suite: manifest.suite,
    kernelVersion: manifest.kernelVersion,
    kernelPath: join(folder.path, manifest.kernel.file),
    initrdPath: join(folder.path, manifest.initrd.file),
    kernelParameters: TINY_KERNEL_PARAMETERS,
    manifest,
  };
}
