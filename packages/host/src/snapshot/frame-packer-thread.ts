/** The thread that packs the frames of snapshots: for who started it (frame-packer.ts). */

import { hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { giveUp } from '../machine/permissions.ts';
import type { PackAnswer, PackRequest } from './frame-packer.ts';
import { packNow } from './zstd-frames.ts';

giveUp('worker', 'child', 'net', 'inspector', 'fs.write', 'fs.read');
parentPort?.on('message', (plain: PackRequest) => {
  let answer: PackAnswer;
  try {
    const packed = packNow(plain);
    const bytes = new Uint8Array(plain.buffer, plain.byteOffset, packed.length);
    bytes.set(packed);
    answer = { bytes, digest: hash('sha256', packed) };
  } catch (error) {
    answer = { failed: error };
  }
  parentPort?.postMessage(answer);
});
// It is there: who started it may wait for it from now on.
parentPort?.postMessage('ready');
