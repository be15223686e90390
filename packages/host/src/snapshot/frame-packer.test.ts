/** The thread that packs frames of snapshots, and what does it where there is none. */

import { randomBytes } from 'node:crypto';
import { crc32, zstdDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { FramePacker } from './frame-packer.ts';

const FRAME_BYTES = 64 * 4096;
const ROOM_BYTES = 256;
const ALIKE = [1, 2, 3, 4, 5, 6, 7, 8];

/** Memory as a PageWriter gives it, with room behind it. */
function frameOf(bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(new SharedArrayBuffer(bytes.length + ROOM_BYTES), 0, bytes.length);
  frame.set(bytes);
  return frame;
}

/** The same, side by side. */
function framesTogether(frames: readonly Uint8Array[]): Uint8Array[] {
  const each = FRAME_BYTES + ROOM_BYTES;
  const memory = new SharedArrayBuffer(frames.length * each);
  return frames.map((bytes, n) => {
    const frame = new Uint8Array(memory, n * each, bytes.length);
    frame.set(bytes);
    return frame;
  });
}

async function untilReady(packer: FramePacker): Promise<void> {
  await packer.pack(frameOf(new Uint8Array(4096)));
  await expect.poll(() => packer.isReady, { timeout: 20_000 }).toBe(true);
}

test('a packer packs on Node’s threads until its own is there, and on that from then on', async () => {
  const packer = new FramePacker();
  const plain = Buffer.alloc(FRAME_BYTES, 'what guests have in their memory ');
  const first = await packer.pack(frameOf(plain));
  await untilReady(packer);
  // In few pieces of memory.
  const frames = [plain, randomBytes(FRAME_BYTES), randomBytes(4096), ...ALIKE.map((byte) => Buffer.alloc(4096, byte))];
  const pieces = framesTogether(frames.slice(2));
  const packed = await Promise.all(
    frames.map((frame, n) => packer.pack(n < 2 ? frameOf(frame) : (pieces[n - 2] ?? frame))),
  );
  expect(Buffer.compare(zstdDecompressSync(first.bytes), plain)).toBe(0);
  expect(first.bytes.length).toBeLessThan(FRAME_BYTES / 100);
  for (const [n, { bytes, checksum }] of packed.entries()) {
    expect(Buffer.compare(zstdDecompressSync(bytes), frames[n] ?? plain)).toBe(0);
    expect(checksum).toBe(crc32(bytes));
  }
  await packer.close();
});

test('who waits hears that the thread has ended, and whoever comes later is served', async () => {
  const packer = new FramePacker();
  await untilReady(packer);
  const waiting = packer.pack(frameOf(randomBytes(FRAME_BYTES)));
  await Promise.all([expect(waiting).rejects.toThrow(/has ended/), packer.close()]);
  const { bytes } = await packer.pack(frameOf(new Uint8Array(4096)));
  expect(zstdDecompressSync(bytes).length).toBe(4096);
  await packer.close();
});
