import { describe, expect, test } from 'vitest';
import { unwrapKernel } from './compressed-kernel.ts';
import type { Decompressor } from './compressed-kernel.ts';
import { parseLinuxImage } from './linux-image.ts';
import { LoadError } from './payload.ts';
import type { LoadErrorCode } from './payload.ts';
import { buildImage, kernel } from './testing/payloads.ts';
import type { ImageSpec } from './testing/payloads.ts';

async function codeOf(run: () => unknown): Promise<LoadErrorCode | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    if (error instanceof LoadError) return error.code;
    throw error;
  }
}

describe('the Linux image', () => {
  test('says where it wants to be and how much memory it uses', () => {
    expect(parseLinuxImage(kernel(buildImage()))).toMatchObject({ textOffset: 0x20_0000, memorySize: 0x10_0000 });
  });

  test('a file larger than it says uses its own size', () => {
    expect(parseLinuxImage(kernel(buildImage({ length: 5000, imageSize: 0n })))?.memorySize).toBe(5000);
  });

  test('anything else is none', () => {
    expect(parseLinuxImage(kernel(new Uint8Array(63)))).toBeUndefined();
    expect(parseLinuxImage(kernel(new Uint8Array(4096)))).toBeUndefined();
  });

  test.each<[string, ImageSpec, LoadErrorCode]>([
    ['for arm64', { magic2: 0x644d_5241 }, 'wrong-machine'],
    ['big-endian', { flags: 1n }, 'wrong-machine'],
    ['of a later header', { version: 0x1_0000 }, 'unsupported'],
    ['at an odd offset', { textOffset: 0x1000n }, 'malformed'],
    ['at an absurd offset', { textOffset: 1n << 62n }, 'malformed'],
    ['of an absurd size', { imageSize: 1n << 62n }, 'too-large'],
  ])('one %s is refused', async (_, spec, code) => {
    expect(await codeOf(() => parseLinuxImage(kernel(buildImage(spec))))).toBe(code);
  });

  /** An image that is a PE/COFF file too, with one section. */
  function withPe(sectionEnd: number): Uint8Array {
    const bytes = buildImage();
    const view = new DataView(bytes.buffer);
    bytes.fill(0, 64, 512);
    view.setUint32(60, 64, true);
    view.setUint32(64, 0x4550, true);
    view.setUint16(64 + 6, 1, true);
    view.setUint16(64 + 20, 112, true);
    view.setUint32(64 + 24 + 112 + 16, sectionEnd - 1024, true);
    view.setUint32(64 + 24 + 112 + 20, 1024, true);
    return bytes;
  }

  test('one that is cut off is told by its PE sections', async () => {
    expect(await codeOf(() => parseLinuxImage(kernel(withPe(4096))))).toBeUndefined();
    expect(await codeOf(() => parseLinuxImage(kernel(withPe(4097))))).toBe('truncated');
    expect(await codeOf(() => parseLinuxImage(kernel(withPe(4096).subarray(0, 200))))).toBe('truncated');
  });
});

describe('compressed kernels', () => {
  /** Turns `format:text` into the text's bytes, upper case. */
  const calls: string[] = [];
  const decompressor: Decompressor = {
    async decompress(format, bytes) {
      calls.push(format);
      if (bytes.length < 8) throw new Error('unexpected end of file');
      return new TextEncoder().encode(`unpacked ${bytes.length}`);
    },
  };

  function zboot(format: string, payload: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(64 + payload.length + 4);
    const view = new DataView(bytes.buffer);
    bytes.set(new TextEncoder().encode('MZ\0\0zimg'));
    view.setUint32(8, 64, true);
    view.setUint32(12, payload.length, true);
    bytes.set(new TextEncoder().encode(format), 24);
    bytes.set(payload, 64);
    return bytes;
  }

  async function unwrap(bytes: Uint8Array): Promise<string> {
    return new TextDecoder().decode((await unwrapKernel(kernel(bytes), decompressor)).bytes);
  }

  test('a plain kernel stays as it is', async () => {
    const payload = kernel(buildImage());
    expect(await unwrapKernel(payload, decompressor)).toBe(payload);
  });

  test('gzip and zstd files are unpacked', async () => {
    calls.length = 0;
    expect(await unwrap(Uint8Array.of(0x1f, 0x8b, 0, 0, 0, 0, 0, 0))).toBe('unpacked 8');
    expect(await unwrap(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0))).toBe('unpacked 8');
    expect(calls).toEqual(['gzip', 'zstd']);
  });

  test('an EFI zboot image is unpacked without its header and what follows', async () => {
    calls.length = 0;
    expect(await unwrap(zboot('gzip', new Uint8Array(100)))).toBe('unpacked 100');
    expect(await unwrap(zboot('zstd22', new Uint8Array(9)))).toBe('unpacked 9');
    expect(calls).toEqual(['gzip', 'zstd']);
  });

  test('other compressions, damaged data and cut-off files are refused', async () => {
    expect(await codeOf(() => unwrap(zboot('xzkern', new Uint8Array(10))))).toBe('unsupported');
    expect(await codeOf(() => unwrap(zboot('gzip', new Uint8Array(2))))).toBe('decompression');
    expect(await codeOf(() => unwrap(zboot('gzip', new Uint8Array(100)).subarray(0, 120)))).toBe('truncated');
    expect(await codeOf(() => unwrap(zboot('gzip', new Uint8Array(100)).subarray(0, 20)))).toBe('truncated');
    await expect(unwrap(zboot('gzip', new Uint8Array(2)))).rejects.toThrow(
      'Cannot load kernel "vmlinuz": its gzip data cannot be unpacked (unexpected end of file).',
    );
  });

  test('a file that unpacks to a packed file, over and over, is refused', async () => {
    const endless: Decompressor = { decompress: async () => Uint8Array.of(0x1f, 0x8b, 0, 0) };
    expect(await codeOf(() => unwrapKernel(kernel(Uint8Array.of(0x1f, 0x8b)), endless))).toBe('not-a-kernel');
  });
});
