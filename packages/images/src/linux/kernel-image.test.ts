import { gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { decompress } from '../node/decompress.ts';
import { testImage } from '../testing/kernel-parts.ts';
import { plainImage } from './kernel-image.ts';

const IMAGE = testImage('x'.repeat(1000));

/** An EFI zboot file with `payload` inside. */
function zboot(payload: Buffer, compression: string): Buffer {
  const header = Buffer.alloc(64);
  header.write('MZ\0\0zimg');
  header.writeUInt32LE(64, 8);
  header.writeUInt32LE(payload.length, 12);
  header.write(compression, 24);
  return Buffer.concat([header, payload, Buffer.alloc(100)]);
}

test('a kernel comes out plain, whatever it was packed in', async () => {
  for (const packed of [
    IMAGE,
    gzipSync(IMAGE),
    zboot(gzipSync(IMAGE), 'gzip'),
    zboot(zstdCompressSync(IMAGE), 'zstd22'),
  ]) {
    expect(Buffer.from(await plainImage(packed, 'vmlinuz', decompress)).equals(IMAGE)).toBe(true);
  }
});

test('what is no kernel for RISC-V is refused by name', async () => {
  await expect(plainImage(Buffer.alloc(1000), 'vmlinuz', decompress)).rejects.toThrow(
    'vmlinuz is not a kernel for 64-bit RISC-V.',
  );
  await expect(plainImage(Buffer.from('x'), 'vmlinuz', decompress)).rejects.toThrow('vmlinuz is not a kernel');
  await expect(plainImage(gzipSync(Buffer.alloc(1000)), 'vmlinuz', decompress)).rejects.toThrow(
    'vmlinuz is not a kernel',
  );
  await expect(plainImage(zboot(gzipSync(IMAGE), 'lzo'), 'vmlinuz', decompress)).rejects.toThrow(
    'compressed in a way we do not know: lzo.',
  );
  await expect(plainImage(zboot(gzipSync(IMAGE), 'gzip').subarray(0, 80), 'vmlinuz', decompress)).rejects.toThrow(
    'vmlinuz is cut short.',
  );
});
