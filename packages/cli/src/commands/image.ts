/** `ringfence image`: the cached images - list, pull, remove. */

import process from 'node:process';
import { formatSize } from '@ringfence/core/sizes';
import { ImageError, listImages, pullTiny, removeImage, type ListedImage, type Manifest } from '@ringfence/images';
import { EXIT, exitCodeOfSignal } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { listenForSignals } from '../node/interruption.ts';
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
}

export interface PullOptions extends RemoveOptions {
  readonly mirror?: string | undefined;
}

export async function imageList({ json, verify }: ListOptions): Promise<number> {
  const images = await listImages({ verify: verify === true });
  if (json === true) print(images.map(imageJson));
  else if (images.length === 0)
    say('no image is cached yet; "ringfence image pull tiny" fetches one, and so does "ringfence run"');
  else process.stdout.write(textTable(['IMAGE', 'SUITE', 'LINUX', 'SIZE', 'PULLED'], images.map(imageRow)));
  const problems = images.flatMap(({ problem }) => problem ?? []);
  for (const problem of problems) say(problem);
  return problems.length > 0 ? EXIT.FAILED : EXIT.OK;
}

export async function imagePull(image: string, { suite, mirror, json }: PullOptions): Promise<number> {
  requireTiny(image);
  const interruption = listenForSignals();
  try {
    const { manifest } = await withProgress((onProgress) =>
      pullTiny({ suite, mirror, signal: interruption.signal, onProgress }),
    );
    const { name, suite: pulled, kernelVersion, release } = manifest;
    if (json === true) print(imageJson({ name, suite: pulled, manifest, problem: undefined }));
    else {
      const debian = `Debian ${release.version ?? release.codename}`;
      process.stdout.write(
        `${name} (${pulled}): ${debian}, Linux ${kernelVersion}, ${formatSize(imageBytes(manifest))}\n`,
      );
    }
    return EXIT.OK;
  } catch (error) {
    if (interruption.number === undefined) throw error;
    if (error instanceof ImageError) say(error.message);
    return exitCodeOfSignal(interruption.number);
  }
}

export async function imageRemove(image: string, { suite, json }: RemoveOptions): Promise<number> {
  requireTiny(image);
  const interruption = listenForSignals();
  try {
    await removeImage(image, { suite, signal: interruption.signal });
    const removed = { name: image, suite: suite ?? 'stable' };
    if (json === true) print({ removed });
    else process.stdout.write(`${removed.name} (${removed.suite}) is removed\n`);
    return EXIT.OK;
  } catch (error) {
    if (interruption.number === undefined) throw error;
    return exitCodeOfSignal(interruption.number);
  }
}

function requireTiny(image: string): void {
  if (image !== 'tiny') throw new CliError(`there is no image "${image}", only tiny`, EXIT.FAILED);
}

function imageRow({ name, suite, manifest }: ListedImage): string[] {
  if (manifest === undefined) return [name, suite, '?', '?', 'damaged'];
  const pulledAt = manifest.pulledAt.slice(0, 'yyyy-mm-ddThh:mm'.length).replace('T', ' ');
  return [name, suite, manifest.kernelVersion, formatSize(imageBytes(manifest)), pulledAt];
}

/** What programs may rely on. */
function imageJson({ name, suite, manifest, problem }: ListedImage): object {
  return {
    name,
    suite,
    kernelVersion: manifest?.kernelVersion ?? null,
    release: manifest?.release ?? null,
    sizeBytes: manifest === undefined ? null : imageBytes(manifest),
    pulledAt: manifest?.pulledAt ?? null,
    packages: manifest?.packages ?? [],
    problem: problem ?? null,
  };
}

function imageBytes({ kernel, initrd }: Manifest): number {
  return kernel.size + initrd.size;
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
