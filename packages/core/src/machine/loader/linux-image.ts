/**
 * The RISC-V Linux boot image (Linux, Documentation/arch/riscv/boot-image-header.rst): a 64-byte header in front of the kernel, which is
 * at once the beginning of a PE/COFF file, for it is an EFI application too.
 */

import { MiB, hex } from '../../base/numbers.ts';
import { LoadError } from './payload.ts';
import type { Payload } from './payload.ts';

const HEADER_BYTES = 64;
/** Offsets of the header's fields. */
const TEXT_OFFSET = 8;
const IMAGE_SIZE = 16;
const FLAGS = 24;
const VERSION = 32;
const MAGIC2 = 56;
const PE_OFFSET = 60;

/** `magic2`, "RSC\x05". What stands there in an arm64 kernel is told apart, for it is the likeliest mistake. */
const RISCV_MAGIC2 = 0x0543_5352;
const ARM64_MAGIC2 = 0x644d_5241;
const FLAG_BIG_ENDIAN = 1n;
/** Kernels must be at a multiple of this. */
export const KERNEL_ALIGNMENT = 2 * MiB;
/** Larger ones than this are refused. */
export const MAXIMUM_KERNEL_BYTES = 512 * MiB;

const PE_SIGNATURE = 0x0000_4550;
const PE_HEADER_BYTES = 24;
const PE_SECTION_BYTES = 40;

export interface LinuxImage {
  readonly payload: Payload;
  /** Where the kernel wants to be, from the start of RAM. */
  readonly textOffset: number;
  /** Memory it uses before it has looked around, what it clears for itself included. */
  readonly memorySize: number;
}

/** Reads the header; undefined for a file that is no Linux image. Throws LoadError for one that is, and cannot be booted. */
export function parseLinuxImage(payload: Payload): LinuxImage | undefined {
  const { bytes } = payload;
  if (bytes.length < HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(MAGIC2, true);
  if (magic === ARM64_MAGIC2)
    throw new LoadError('wrong-machine', payload, 'it is a Linux kernel for arm64, and this machine is RISC-V');
  if (magic !== RISCV_MAGIC2) return undefined;

  const version = view.getUint32(VERSION, true);
  if (version >>> 16 !== 0)
    throw new LoadError(
      'unsupported',
      payload,
      `its boot image header is of version ${version >>> 16}.${version & 0xffff}, and known are 0.x`,
    );
  if ((view.getBigUint64(FLAGS, true) & FLAG_BIG_ENDIAN) !== 0n)
    throw new LoadError('wrong-machine', payload, 'it is a big-endian kernel');
  const textOffset = view.getBigUint64(TEXT_OFFSET, true);
  const imageSize = view.getBigUint64(IMAGE_SIZE, true);
  if (textOffset % BigInt(KERNEL_ALIGNMENT) !== 0n || textOffset > MAXIMUM_KERNEL_BYTES)
    throw new LoadError(
      'malformed',
      payload,
      `its header says it wants to be ${hex(textOffset)} behind the start of memory`,
    );
  if (imageSize > MAXIMUM_KERNEL_BYTES)
    throw new LoadError(
      'too-large',
      payload,
      `its header says it uses ${imageSize} bytes, more than ${MAXIMUM_KERNEL_BYTES / MiB} MiB`,
    );
  const fileSize = peFileSize(view);
  if (fileSize !== undefined && fileSize > bytes.length)
    throw new LoadError(
      'truncated',
      payload,
      `the file has ${bytes.length} bytes and should have ${fileSize}; is it complete?`,
    );
  return { payload, textOffset: Number(textOffset), memorySize: Math.max(Number(imageSize), bytes.length) };
}

/** How long the file must be to hold every section of its PE/COFF side; undefined when it has no such side. */
function peFileSize(view: DataView): number | undefined {
  const start = view.getUint32(PE_OFFSET, true);
  if (start < HEADER_BYTES || start + PE_HEADER_BYTES > view.byteLength || view.getUint32(start, true) !== PE_SIGNATURE)
    return undefined;
  const count = view.getUint16(start + 6, true);
  const sections = start + PE_HEADER_BYTES + view.getUint16(start + 20, true);
  let size = sections + count * PE_SECTION_BYTES;
  for (let index = 0; index < count && sections + (index + 1) * PE_SECTION_BYTES <= view.byteLength; index++) {
    const section = sections + index * PE_SECTION_BYTES;
    size = Math.max(size, view.getUint32(section + 16, true) + view.getUint32(section + 20, true));
  }
  return size;
}
