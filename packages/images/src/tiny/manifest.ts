/** What the cache knows of an image: a JSON file beside the kernel and the initrd. It is read back as an allegation. */

import { ImageError } from '../image-error.ts';

export interface ManifestFile {
  /** Within the folder of the image. */
  readonly file: string;
  readonly size: number;
  readonly sha256: string;
}

export interface ManifestPackage {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
}

export interface Manifest {
  readonly format: 1;
  readonly name: string;
  /** The suite as it was asked for; `release` says what that was on the day. */
  readonly suite: string;
  /** Stands for how the image was made; another value means that this Ringfence would make another image of the same packages. */
  readonly recipe: string;
  readonly release: {
    readonly suite: string;
    readonly codename: string;
    readonly version: string | null;
    readonly date: string;
  };
  /** SHA-256 of the index the packages were chosen from. */
  readonly index: string;
  readonly kernelVersion: string;
  readonly packages: readonly ManifestPackage[];
  readonly kernel: ManifestFile;
  readonly initrd: ManifestFile;
  /** The root file system as a qcow2 image, of images that have one. */
  readonly disk?: ManifestFile | undefined;
  /** The packages that were asked for beside the image's own. */
  readonly wanted?: readonly string[] | undefined;
  /** Suites beside the image's own that were found sound, for apt in the guest: "trixie-security". */
  readonly suites?: readonly string[] | undefined;
  readonly pulledAt: string;
}

export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** The manifest in `text`, or an error that calls the image damaged. */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ImageError('damaged', 'the manifest is not JSON', cause);
  }
  const isSound =
    isObject(value) &&
    value['format'] === 1 &&
    ['name', 'suite', 'recipe', 'index', 'kernelVersion', 'pulledAt'].every((key) => typeof value[key] === 'string') &&
    isObject(value['release']) &&
    Array.isArray(value['packages']) &&
    isFile(value['kernel']) &&
    isFile(value['initrd']) &&
    (value['disk'] === undefined || isFile(value['disk'])) &&
    (value['wanted'] === undefined || isWords(value['wanted'])) &&
    (value['suites'] === undefined || isWords(value['suites']));
  if (!isSound) throw new ImageError('damaged', 'the manifest lacks something');
  return value as Record<keyof Manifest, unknown> as Manifest;
}

function isFile(value: unknown): boolean {
  return (
    isObject(value) &&
    typeof value['file'] === 'string' &&
    /^[\w.-]+$/.test(value['file']) &&
    Number.isSafeInteger(value['size']) &&
    typeof value['sha256'] === 'string' &&
    /^[0-9a-f]{64}$/.test(value['sha256'])
  );
}

function isWords(value: unknown): boolean {
  return Array.isArray(value) && value.every((word) => typeof word === 'string');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
