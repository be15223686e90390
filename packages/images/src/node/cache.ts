/**
 * The images on this machine. Each image of each suite has a folder; its manifest names the kernel and the initrd, whose file names
 * carry their hashes. A new manifest is renamed over the old one: that is the moment at which an image is there, or is another one.
 * Whatever is written before lies in a folder `.partial-*`, which the next pull removes if its writer died.
 *
 *     CACHE/images/tiny-stable/{manifest.json,kernel-HASH,initrd-HASH}                 CACHE/locks/tiny-stable
 *     CACHE/images/debian-stable/{manifest.json,kernel-HASH,initrd-HASH,disk-HASH}     CACHE/locks/debian-stable
 *     CACHE/images/debian-stable.KEY/...                                               with more packages; KEY stands for their names
 */

import { createHash, hash } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '../image-error.ts';
import { imageFileName } from './cache-folder.ts';
import { manifestText, parseManifest, type Manifest, type ManifestFile } from '../tiny/manifest.ts';

const MANIFEST = 'manifest.json';
const PARTIAL = '.partial-';
const HASH_BUFFER_SIZE = 512 * 1024;

export interface ImageFolder {
  readonly name: string;
  readonly suite: string;
  /** Stands for the packages that were asked for beside the image's own; empty when there are none. */
  readonly key: string;
  readonly cache: string;
  readonly path: string;
  readonly lockPath: string;
  /** For people: "tiny (stable)". */
  readonly title: string;
  /** The command that makes the image anew. */
  readonly cure: string;
}

export function imageFolder(cache: string, name: string, suite: string, packages: readonly string[] = []): ImageFolder {
  const words = packages.toSorted(byOctets).join(',');
  return folderOf(cache, name, suite, words === '' ? '' : hash('sha256', words).slice(0, KEY_LENGTH), words);
}

const KEY_LENGTH = 12;

function folderOf(cache: string, name: string, suite: string, key: string, packages: string): ImageFolder {
  const folder = `${name}-${suite}${key === '' ? '' : `.${key}`}`;
  return {
    name,
    suite,
    key,
    cache,
    path: join(cache, 'images', folder),
    lockPath: join(cache, 'locks', folder),
    title: `${name} (${suite})${packages === '' ? '' : ` with ${packages}`}`,
    cure: `ringfence image pull ${name}${suite === 'stable' ? '' : ` --suite ${suite}`}${packages === '' ? '' : ` --packages ${packages}`}`,
  };
}

/** Folders of the images there are, whole or not. */
export async function imageFolders(cache: string): Promise<ImageFolder[]> {
  const names = await readdir(join(cache, 'images')).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw cacheFailure(error, cache);
  });
  return names.toSorted(byOctets).flatMap((folder) => {
    const [, name, suite, key = ''] = /^([a-z]+)-([a-z][a-z0-9-]*)(?:\.([0-9a-f]{12}))?$/.exec(folder) ?? [];
    // Which packages the key stands for, the manifest says.
    const packages = key === '' ? '' : `packages of key ${key}`;
    return name === undefined || suite === undefined ? [] : [folderOf(cache, name, suite, key, packages)];
  });
}

/** The manifest, not yet compared with the files; undefined when there is no image. */
export async function readManifest(folder: ImageFolder): Promise<Manifest | undefined> {
  let text: string;
  try {
    text = await readFile(join(folder.path, MANIFEST), 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw cacheFailure(error, folder.cache);
  }
  try {
    return parseManifest(text);
  } catch (error) {
    throw damaged(folder, error instanceof Error ? error.message : 'the manifest cannot be read', error);
  }
}

/** Throws unless the image's files are, byte for byte, what was made. It reads them whole; 40 MB take some 30 ms. */
export async function verifyFiles(folder: ImageFolder, manifest: Manifest): Promise<void> {
  const { kernel, initrd, disk } = manifest;
  await Promise.all([kernel, initrd, ...(disk === undefined ? [] : [disk])].map((made) => verifyFile(folder, made)));
}

/** Throws unless the disk is there with the size it was made with. Its bytes are too many to be read at every start. */
export async function verifyDiskSize(folder: ImageFolder, { disk }: Manifest): Promise<void> {
  if (disk === undefined) return;
  const { size } = await stat(join(folder.path, disk.file)).catch((error: unknown) => {
    throw unreadable(folder, disk, error);
  });
  if (size !== disk.size) throw damaged(folder, `${disk.file} has ${size} bytes instead of ${disk.size}`);
}

async function verifyFile(folder: ImageFolder, made: ManifestFile): Promise<void> {
  const found = await readHash(join(folder.path, made.file)).catch((error: unknown) => {
    throw unreadable(folder, made, error);
  });
  check(folder, made, found);
}

function unreadable(folder: ImageFolder, { file }: ManifestFile, error: unknown): unknown {
  return codeOf(error) === 'ENOENT' ? damaged(folder, `${file} is missing`, error) : cacheFailure(error, folder.cache);
}

function check(folder: ImageFolder, { file, size, sha256 }: ManifestFile, found: FileHash): void {
  if (found.size !== size) throw damaged(folder, `${file} has ${found.size} bytes instead of ${size}`);
  if (found.sha256 !== sha256) throw damaged(folder, `${file} has changed`);
}

interface FileHash {
  readonly size: number;
  readonly sha256: string;
}

/** Reads through one buffer. */
async function readHash(path: string): Promise<FileHash> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(HASH_BUFFER_SIZE);
    const sum = createHash('sha256');
    let size = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, HASH_BUFFER_SIZE);
      if (bytesRead === 0) return { size, sha256: sum.digest('hex') };
      sum.update(buffer.subarray(0, bytesRead));
      size += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** The bytes of kernel and initrd, which are what was made. As verifyFiles, for whoever wants them afterwards: they are read once. */
export async function readFiles(folder: ImageFolder, manifest: Manifest): Promise<ImageBytes> {
  const [kernel, initrd] = await Promise.all([readFound(folder, manifest.kernel), readFound(folder, manifest.initrd)]);
  return { kernel, initrd };
}

export interface ImageBytes {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
}

async function readFound(folder: ImageFolder, made: ManifestFile): Promise<Uint8Array> {
  const bytes = await readAtOnce(join(folder.path, made.file), made.size).catch((error: unknown) => {
    throw unreadable(folder, made, error);
  });
  check(folder, made, { size: bytes.length, sha256: hash('sha256', bytes) });
  return bytes;
}

/** As much of a file as there should be, in a buffer of its own. Node's readFile takes it in 512 KiB at a time, with a turn for each. */
async function readAtOnce(path: string, sizeExpected: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    // One more than it should have: a longer file is damaged, too.
    const { size } = await file.stat();
    const bytes = new Uint8Array(Math.min(size, sizeExpected + 1));
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, at);
      if (bytesRead === 0) return bytes.subarray(0, at);
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

function damaged(folder: ImageFolder, how: string, cause?: unknown): ImageError {
  return new ImageError(
    'damaged',
    `The cached image ${folder.title} is damaged: ${how}. Make it anew with \`${folder.cure}\`.`,
    cause,
  );
}

/** A folder to work in. What earlier writers left is removed: the caller holds the lock, so they are dead. */
export async function makeWorkFolder(folder: ImageFolder): Promise<string> {
  await mkdir(folder.path, { recursive: true });
  for (const name of await readdir(folder.path)) {
    if (name.startsWith(PARTIAL)) await rm(join(folder.path, name), { recursive: true, force: true });
  }
  return mkdtemp(join(folder.path, PARTIAL));
}

/** What an image is made of. */
export interface ImageFiles {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  /** Path of the disk within the work folder; it is moved. */
  readonly disk?: string;
}

/** Puts an image into its folder, whole or not at all. The caller holds the lock and gives its work folder. */
export async function storeImage(
  folder: ImageFolder,
  work: string,
  files: ImageFiles,
  describe: (kernel: ManifestFile, initrd: ManifestFile, disk: ManifestFile | undefined) => Manifest,
): Promise<Manifest> {
  // Everything is on the disk before anything is in its place.
  const kernel = await writeFile(work, 'kernel', files.kernel);
  const initrd = await writeFile(work, 'initrd', files.initrd);
  const disk = files.disk === undefined ? undefined : await nameDisk(work, files.disk);
  const manifest = describe(kernel, initrd, disk);
  await writeManifest(work, manifest);
  for (const { file } of [kernel, initrd, ...(disk === undefined ? [] : [disk])])
    await rename(join(work, file), join(folder.path, file));
  await replaceManifest(folder, work, manifest);
  return manifest;
}

/** Says something new of the image that is there. */
export async function storeManifest(folder: ImageFolder, work: string, manifest: Manifest): Promise<void> {
  await writeManifest(work, manifest);
  await replaceManifest(folder, work, manifest);
}

/** Removes the work folder, and the image's folder if there is no image. */
export async function removeWorkFolder(folder: ImageFolder, work: string): Promise<void> {
  await rm(work, { recursive: true, force: true });
  await rmdir(folder.path).catch(() => undefined); // it is not empty: there is an image
}

async function writeManifest(work: string, manifest: Manifest): Promise<void> {
  await writeDurably(join(work, MANIFEST), Buffer.from(manifestText(manifest)));
}

async function replaceManifest(folder: ImageFolder, work: string, manifest: Manifest): Promise<void> {
  await syncFolder(folder.path); // the files before the word that they are there
  await rename(join(work, MANIFEST), join(folder.path, MANIFEST));
  await syncFolder(folder.path);
  const kept = [MANIFEST, manifest.kernel.file, manifest.initrd.file, manifest.disk?.file];
  for (const name of await readdir(folder.path)) {
    if (!kept.includes(name) && !name.startsWith(PARTIAL)) {
      await rm(join(folder.path, name), { recursive: true, force: true });
    }
  }
}

async function writeFile(work: string, kind: string, content: Uint8Array): Promise<ManifestFile> {
  const sha256 = hash('sha256', content);
  const file = imageFileName(kind, sha256);
  await writeDurably(join(work, file), content);
  return { file, size: content.length, sha256 };
}

/** Gives the disk in the work folder its lasting name, and makes it durable and read-only. */
async function nameDisk(work: string, path: string): Promise<ManifestFile> {
  const { size, sha256 } = await readHash(path);
  const made = await open(path, 'r');
  try {
    await made.chmod(0o444);
    await made.sync();
  } finally {
    await made.close();
  }
  const file = imageFileName('disk', sha256);
  await rename(path, join(work, file));
  return { file, size, sha256 };
}

async function writeDurably(path: string, content: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o644);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** A failure of the cache's disk as a sentence; other errors as they are. */
export function cacheFailure(error: unknown, cache: string): unknown {
  if (error instanceof ImageError) return error;
  const code = codeOf(error);
  const sqlite =
    error instanceof Error && 'errcode' in error && typeof error.errcode === 'number'
      ? error.errcode & 0xff
      : undefined;
  const other = 'Or choose another folder with RINGFENCE_CACHE.';
  if (code === 'ENOSPC' || code === 'EDQUOT' || sqlite === SQLITE_FULL) {
    return new ImageError(
      'no-space',
      `The disk of the cache ${cache} is full. Making an image takes some 200 MB there for a moment, one with a disk some 2 GB. ${other}`,
      error,
    );
  }
  if (code !== undefined && CACHE_CODES.has(code)) {
    return new ImageError(
      'cache',
      `The cache ${cache} cannot be used: ${messageOf(error)}. Mend its permissions. ${other}`,
      error,
    );
  }
  if (sqlite !== undefined)
    return new ImageError(
      'cache',
      `A lock in the cache ${cache} cannot be taken: ${messageOf(error)}. ${other}`,
      error,
    );
  return error;
}

const SQLITE_FULL = 13;
const CACHE_CODES = new Set([
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOTDIR',
  'EEXIST',
  'EISDIR',
  'EIO',
  'ENAMETOOLONG',
  'ELOOP',
]);

function byOctets(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
