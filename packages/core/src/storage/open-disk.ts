/**
 * Opens a disk image of any format, with all that stands behind it. What stands behind is opened read-only: any number of machines may
 * share it.
 *
 *     disk.qcow2  --backing-->  base.qcow2  --backing-->  base.img        (written: the first one only)
 */

import { BlockStoreError } from '../base/block-store-error.ts';
import type { BlockStore } from '../base/ports.ts';
import type { ImageFile } from './image-file.ts';
import { FORMAT_MAGIC_BYTES, detectFormat } from './image-format.ts';
import type { ImageFormat } from './image-format.ts';
import { createQcow2, type NewQcow2 } from './qcow2/create-qcow2.ts';
import { Qcow2BlockStore, readQcow2Header } from './qcow2/qcow2-block-store.ts';
import type { BackingName } from './qcow2/header.ts';
import type { Decompress } from './qcow2/cluster-reader.ts';
import { RawBlockStore } from './raw-block-store.ts';

/** Images behind each other. */
export const MAXIMUM_CHAIN_LENGTH = 64;

/** Where image files come from: a folder of the host, or what stands for one. */
export interface ImageFiles {
  /** Rejects with a BlockStoreError. A file opened read-only may be opened by others so at the same time, and a writable one by nobody. */
  open(path: string, options: { readonly readOnly: boolean }): Promise<ImageFile>;
  /** The same for the same file, by whatever path it goes. Rejects likewise. */
  identify(path: string): Promise<string>;
  /** The path of the file that the image at `path` calls `name`: as it is when absolute, else from the image's folder. */
  resolve(name: string, path: string): string;
}

export interface OpenDiskOptions {
  /** Found out by the first bytes when absent; then a raw disk is guarded (RawBlockStore). */
  readonly format?: ImageFormat | undefined;
  readonly readOnly: boolean;
  readonly decompress?: Decompress | undefined;
}

export interface OpenDisk {
  readonly store: BlockStore;
  readonly format: ImageFormat;
  /** What the user should know, as sentences. */
  readonly notes: readonly string[];
  /** The images that it is made of, the one in front first. */
  readonly chain: readonly ChainedImage[];
}

export interface ChainedImage {
  readonly path: string;
  readonly format: ImageFormat;
}

/** Opens the disk image at `path`; rejects with a BlockStoreError whose message is a sentence about it. Closing the store closes all. */
export async function openDisk(files: ImageFiles, path: string, options: OpenDiskOptions): Promise<OpenDisk> {
  return new ChainOpener(files, options.decompress).open(path, options);
}

/**
 * Puts a new image in front of a disk: it takes what is written, the disk behind stays as it is. `file` is empty. Closing the store closes
 * both.
 */
export function openOverlay(file: ImageFile, backing: BlockStore): Promise<BlockStore> {
  return openNewImage(file, { sizeBytes: backing.sizeBytes }, backing);
}

/** Makes a qcow2 image and opens it, with `backing` behind it where there is one. `file` is empty. Closing the store closes both. */
export async function openNewImage(
  file: ImageFile,
  image: Pick<NewQcow2, 'sizeBytes' | 'backing'>,
  backing?: BlockStore,
): Promise<BlockStore> {
  try {
    // Subclusters: a guest's pages are written without a whole cluster being copied from behind.
    await createQcow2(file, { ...image, subclusters: true });
    return await Qcow2BlockStore.open({ file, header: await readQcow2Header(file), backing });
  } catch (error) {
    await file.close();
    throw error;
  }
}

class ChainOpener {
  readonly #files: ImageFiles;
  readonly #decompress: Decompress | undefined;
  /** Identities of the files that lead here. */
  readonly #above: string[] = [];

  constructor(files: ImageFiles, decompress: Decompress | undefined) {
    this.#files = files;
    this.#decompress = decompress;
  }

  async open(path: string, { format, readOnly }: Pick<OpenDiskOptions, 'format' | 'readOnly'>): Promise<OpenDisk> {
    // Before it is opened: our own lock would be in the way.
    const identity = await this.#files.identify(path);
    if (this.#above.includes(identity))
      throw new BlockStoreError('corrupt', `Disk "${path}" is an image that stands behind itself`);
    this.#above.push(identity);
    const file = await this.#files.open(path, { readOnly });
    try {
      const found = format ?? (await formatOf(file));
      if (found === 'raw') {
        const store = new RawBlockStore(file, { guarded: format === undefined && !readOnly });
        const notes = store.note === undefined ? [] : [store.note];
        return { store, format: found, notes, chain: [{ path, format: found }] };
      }
      return await this.#qcow2(file, path);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #qcow2(file: ImageFile, path: string): Promise<OpenDisk> {
    const header = await readQcow2Header(file);
    const backing = header.backing === undefined ? undefined : await this.#backing(file, path, header.backing);
    try {
      const store = await Qcow2BlockStore.open({ file, header, backing: backing?.store, decompress: this.#decompress });
      const chain = [{ path, format: 'qcow2' as const }, ...(backing?.chain ?? [])];
      return { store, format: 'qcow2', notes: backing?.notes ?? [], chain };
    } catch (error) {
      await backing?.store.close();
      throw error;
    }
  }

  async #backing(file: ImageFile, path: string, { name, format }: BackingName): Promise<OpenDisk> {
    const failed = (reason: string, error?: BlockStoreError): BlockStoreError =>
      new BlockStoreError(
        error?.code ?? 'unsupported',
        `Disk "${file.name}" cannot use its backing file "${name}": ${reason}`,
        error,
      );
    if (this.#above.length >= MAXIMUM_CHAIN_LENGTH)
      throw failed(`there are ${MAXIMUM_CHAIN_LENGTH} images in front of it already`);
    if (format !== undefined && format !== 'raw' && format !== 'qcow2')
      throw failed(`its format "${format}" is not supported; raw and qcow2 are`);
    const plain = name.startsWith('file:') ? name.slice('file:'.length) : name;
    if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(plain)) throw failed('it is no file');
    try {
      return await this.open(this.#files.resolve(plain, path), { format, readOnly: true });
    } catch (error) {
      throw error instanceof BlockStoreError ? failed(lowerFirst(error.message), error) : error;
    }
  }
}

/** The format by the file's first bytes; one that is known and not ours is refused. */
async function formatOf(file: ImageFile): Promise<ImageFormat> {
  const start = new Uint8Array(FORMAT_MAGIC_BYTES);
  await file.read(0, [start]);
  const format = detectFormat(start);
  if (format === 'raw' || format === 'qcow2') return format;
  throw new BlockStoreError(
    'unsupported',
    `Disk "${file.name}" is a ${format} image, which is not supported; "qemu-img convert -O qcow2" makes a qcow2 one of it`,
  );
}

function lowerFirst(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1);
}
