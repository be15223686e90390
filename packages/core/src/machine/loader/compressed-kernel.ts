/**
 * Kernels that come compressed: EFI zboot images (Linux, drivers/firmware/efi/libstub/zboot-header.S), and plain gzip or zstd files. Core
 * has no decompressor of its own; whoever assembles a machine hands one in.
 */

import { LoadError } from './payload.ts';
import type { Payload } from './payload.ts';
import { MAXIMUM_KERNEL_BYTES } from './linux-image.ts';

export type CompressionFormat = 'gzip' | 'zstd';

export interface Decompressor {
  /** All that `bytes` unpacks to; rejects when they are damaged, incomplete or unpack to more than `maximumBytes`. Ignores what follows. */
  decompress(format: CompressionFormat, bytes: Uint8Array, maximumBytes: number): Promise<Uint8Array>;
}

/** Fields of the zboot header. */
const ZBOOT_PAYLOAD_OFFSET = 8;
const ZBOOT_PAYLOAD_SIZE = 12;
const ZBOOT_COMPRESSION = 24;
const ZBOOT_COMPRESSION_BYTES = 32;
const ZBOOT_HEADER_BYTES = 64;

/** Kernels within wrappings within wrappings: zboot holds one kernel. */
const MAXIMUM_WRAPPINGS = 2;

/** The kernel itself: `payload` unpacked when it is wrapped in a way we know, else as it is. Throws LoadError. */
export async function unwrapKernel(payload: Payload, decompressor: Decompressor): Promise<Payload> {
  let current = payload;
  for (let layer = 0; layer < MAXIMUM_WRAPPINGS; layer++) {
    const wrapped = wrapping(current);
    if (wrapped === undefined) return current;
    current = { ...current, bytes: await unpack(payload, wrapped, decompressor) };
  }
  if (wrapping(current) !== undefined)
    throw new LoadError('not-a-kernel', payload, 'it is compressed several times over');
  return current;
}

interface Wrapped {
  readonly format: CompressionFormat;
  readonly bytes: Uint8Array;
}

function wrapping(payload: Payload): Wrapped | undefined {
  const { bytes } = payload;
  if (startsWith(bytes, 0, 0x1f, 0x8b)) return { format: 'gzip', bytes };
  if (startsWith(bytes, 0, 0x28, 0xb5, 0x2f, 0xfd)) return { format: 'zstd', bytes };
  // "MZ" and "zimg"
  if (startsWith(bytes, 0, 0x4d, 0x5a) && startsWith(bytes, 4, 0x7a, 0x69, 0x6d, 0x67)) return zboot(payload);
  return undefined;
}

function zboot(payload: Payload): Wrapped {
  const { bytes } = payload;
  if (bytes.length < ZBOOT_HEADER_BYTES)
    throw new LoadError('truncated', payload, 'the file ends in the middle of its header; is it complete?');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const offset = view.getUint32(ZBOOT_PAYLOAD_OFFSET, true);
  const size = view.getUint32(ZBOOT_PAYLOAD_SIZE, true);
  if (offset + size > bytes.length)
    throw new LoadError(
      'truncated',
      payload,
      `the file has ${bytes.length} bytes and should have at least ${offset + size}; is it complete?`,
    );
  const text = String.fromCharCode(...bytes.subarray(ZBOOT_COMPRESSION, ZBOOT_COMPRESSION + ZBOOT_COMPRESSION_BYTES));
  const format = text.split('\0')[0] ?? '';
  // Linux calls its zstd setting by level, as zstd22.
  const known = format === 'gzip' ? 'gzip' : /^zstd\d*$/.test(format) ? 'zstd' : undefined;
  if (known === undefined)
    throw new LoadError(
      'unsupported',
      payload,
      `it is compressed with "${format.replaceAll(/[^ -~]/g, '?')}", and known are gzip and zstd`,
    );
  return { format: known, bytes: bytes.subarray(offset, offset + size) };
}

async function unpack(payload: Payload, { format, bytes }: Wrapped, decompressor: Decompressor): Promise<Uint8Array> {
  let unpacked;
  try {
    unpacked = await decompressor.decompress(format, bytes, MAXIMUM_KERNEL_BYTES);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new LoadError('decompression', payload, `its ${format} data cannot be unpacked (${reason})`, cause);
  }
  if (unpacked.length > MAXIMUM_KERNEL_BYTES)
    throw new LoadError(
      'too-large',
      payload,
      `it unpacks to ${unpacked.length} bytes, more than ${MAXIMUM_KERNEL_BYTES}`,
    );
  return unpacked;
}

function startsWith(bytes: Uint8Array, offset: number, ...expected: readonly number[]): boolean {
  return expected.every((byte, index) => bytes[offset + index] === byte);
}

/** The kernel as it is, or unwrapped where there is what unwraps it. */
export function unwrapped(kernel: Payload, decompressor: Decompressor | undefined): Payload | Promise<Payload> {
  return decompressor === undefined ? kernel : unwrapKernel(kernel, decompressor);
}
