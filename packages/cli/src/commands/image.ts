/** `ringfence image`: the cached images - list, pull, remove. */

import process from 'node:process';
import { formatSize } from '@ringfence/core/sizes';
import {
  ImageError,
  listImages,
  pullDebian,
  pullTiny,
  removeImage,
  type ListedImage,
  type Manifest,
} from '@ringfence/images';
import { EXIT, exitCodeOfSignal } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { listenForSignals } from '../node/interruption.ts';
import { packageNames } from '../package-names.ts';
import { textTable } from '../text-table.ts';
import { withProgress } from './pull-progress.ts';
import { say } from './say.ts';

interface OutputOptions {
  readonly json?: boolean | undefined;
}

export interface ListOptions extends OutputOptions {
  readonly verify?: boolean | undefined;
}

export interface RemoveOptions extends OutputOptions {
  readonly suite?: string | undefined;
  /** Names, separated by commas. */
  readonly packages?: string | undefined;
}

export interface PullOptions extends RemoveOptions {
  readonly mirror?: string | undefined;
}

export async function imageList({ json, verify }: ListOptions): Promise<number> {
  const images = await listImages({ verify: verify === true });
  if (json === true) print(images.map(imageJson));
  else if (images.length === 0)
    say('no image is cached yet; "ringfence image pull tiny" fetches one, and so does "ringfence run"');
  else process.stdout.write(textTable(['IMAGE', 'SUITE', 'LINUX', 'SIZE', 'PULLED', 'WITH'], images.map(imageRow)));
  const problems = images.flatMap(({ problem }) => problem ?? []);
  for (const problem of problems) say(problem);
  return problems.length > 0 ? EXIT.FAILED : EXIT.OK;
}

export async function imagePull(image: string, { suite, mirror, json, packages: words }: PullOptions): Promise<number> {
  const isDebian = isDebianImage(image, words);
  const packages = packageNames(words);
  const interruption = listenForSignals();
  try {
    const { signal } = interruption;
    const { manifest } = await withProgress(async (onProgress) => {
      const options = { suite, mirror, signal, onProgress };
      if (!isDebian) return pullTiny(options);
      const { buildMachine: machine } = await import('@ringfence/host');
      return pullDebian({ ...options, packages, machine });
    });
    const { name, suite: pulled, kernelVersion, release } = manifest;
    if (json === true) print(imageJson({ name, suite: pulled, packages, manifest, problem: undefined }));
    else {
      const debian = `Debian ${release.version ?? release.codename}`;
      process.stdout.write(
        `${name} (${pulled}): ${debian}, Linux ${kernelVersion}, ${formatSize(imageBytes(manifest))}${withWords(packages)}\n`,
      );
    }
    return EXIT.OK;
  } catch (error) {
    if (interruption.number === undefined) throw error;
    if (error instanceof ImageError) say(error.message);
    return exitCodeOfSignal(interruption.number);
  }
}

export async function imageRemove(image: string, { suite, json, packages: words }: RemoveOptions): Promise<number> {
  isDebianImage(image, words);
  const packages = packageNames(words);
  const interruption = listenForSignals();
  try {
    await removeImage(image, { suite, packages, signal: interruption.signal });
    const removed = { name: image, suite: suite ?? 'stable', packages };
    if (json === true) print({ removed });
    else process.stdout.write(`${removed.name} (${removed.suite})${withWords(packages)} is removed\n`);
    return EXIT.OK;
  } catch (error) {
    if (interruption.number === undefined) throw error;
    return exitCodeOfSignal(interruption.number);
  }
}

/** Whether the image is the one that packages can be added to; refused when there is no such image. */
function isDebianImage(image: string, packages: string | undefined): boolean {
  if (image === 'debian') return true;
  if (image !== 'tiny') throw new CliError(`there is no image "${image}", only tiny and debian`, EXIT.FAILED);
  if (packages !== undefined) throw new CliError('--packages goes with the image debian only', EXIT.FAILED);
  return false;
}

function withWords(packages: readonly string[]): string {
  return packages.length === 0 ? '' : ` with ${packages.join(', ')}`;
}

function imageRow({ name, suite, packages, manifest }: ListedImage): string[] {
  if (manifest === undefined) return [name, suite, '?', '?', 'damaged', ''];
  const pulledAt = manifest.pulledAt.slice(0, 'yyyy-mm-ddThh:mm'.length).replace('T', ' ');
  return [name, suite, manifest.kernelVersion, formatSize(imageBytes(manifest)), pulledAt, packages.join(',')];
}

/** What programs may rely on. */
function imageJson({ name, suite, packages, manifest, problem }: ListedImage): object {
  return {
    name,
    suite,
    kernelVersion: manifest?.kernelVersion ?? null,
    release: manifest?.release ?? null,
    sizeBytes: manifest === undefined ? null : imageBytes(manifest),
    pulledAt: manifest?.pulledAt ?? null,
    with: packages,
    packages: manifest?.packages ?? [],
    problem: problem ?? null,
  };
}

function imageBytes({ kernel, initrd, disk }: Manifest): number {
  return kernel.size + initrd.size + (disk?.size ?? 0);
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
