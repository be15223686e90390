/**
 * Finds the plain `Image` in what a distribution calls its kernel (Linux, Documentation/arch/riscv/boot-image-header.rst). It may be
 * the `Image` itself, one compressed with gzip, or an EFI "zboot" file with a compressed one inside (Linux,
 * drivers/firmware/efi/libstub/zboot-header.S). It is stored plain: a boot must not pay for unpacking.
 */

import { concatenate, textUntilNul, utf8Text } from '../archive/octets.ts';
import type { Compression, Decompress } from '../debian/deb.ts';
import { ImageError } from '../image-error.ts';
import { viewOf } from './elf.ts';

const IMAGE_HEADER_SIZE = 64;
/** "RSC\x05" at byte 56; the older magic "RISCV" at byte 48 is deprecated. */
const RISCV_MAGIC2 = 0x05435352;

/** A compressed kernel says how long it is inside only at its end, if at all; more than this is no kernel. */
const MAX_IMAGE_SIZE = 512 * 1024 * 1024;

const ZBOOT_COMPRESSIONS: Readonly<Record<string, Compression>> = {
  gzip: 'gzip',
  zstd22: 'zstd',
  zstd: 'zstd',
  xzkern: 'xz',
  xz: 'xz',
};

export function isImage(file: Uint8Array): boolean {
  return file.length >= IMAGE_HEADER_SIZE && viewOf(file).getUint32(56, true) === RISCV_MAGIC2;
}

/** The plain `Image` of `file`; `what` names it in errors. */
export async function plainImage(file: Uint8Array, what: string, decompress: Decompress): Promise<Uint8Array> {
  const image = await unpacked(file, what, decompress);
  if (!isImage(image)) throw new ImageError('bad-format', `${what} is not a kernel for 64-bit RISC-V.`);
  return image;
}

async function unpacked(file: Uint8Array, what: string, decompress: Decompress): Promise<Uint8Array> {
  if (file[0] === 0x1f && file[1] === 0x8b) return inflate('gzip', file, what, decompress);
  if (
    file.length < IMAGE_HEADER_SIZE ||
    utf8Text(file.subarray(0, 2)) !== 'MZ' ||
    utf8Text(file.subarray(4, 8)) !== 'zimg'
  )
    return file;
  const [offset, size] = [viewOf(file).getUint32(8, true), viewOf(file).getUint32(12, true)];
  const name = textUntilNul(file.subarray(24, 56));
  const compression = ZBOOT_COMPRESSIONS[name];
  if (compression === undefined)
    throw new ImageError('bad-format', `${what} is compressed in a way we do not know: ${name}.`);
  if (offset + size > file.length) throw new ImageError('bad-format', `${what} is cut short.`);
  return inflate(compression, file.subarray(offset, offset + size), what, decompress);
}

async function inflate(
  compression: Compression,
  file: Uint8Array,
  what: string,
  decompress: Decompress,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of decompress(compression, once(file))) {
    size += part.length;
    if (size > MAX_IMAGE_SIZE)
      throw new ImageError('bad-format', `${what} unpacks to more than ${MAX_IMAGE_SIZE} bytes.`);
    parts.push(part);
  }
  return concatenate(parts);
}

async function* once(file: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield file;
}
