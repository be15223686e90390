/** The thread that packs the frames of snapshots: for who started it (frame-packer.ts). */

import { parentPort } from 'node:worker_threads';
import { giveUp } from '../machine/permissions.ts';
import { withdraw } from '../machine/withdrawal.ts';
import type { PackAnswer, PackRequest } from './frame-packer.ts';
import { checksumOf, packNow } from './zstd-frames.ts';

giveUp('worker', 'child', 'net', 'inspector', 'fs.write', 'fs.read');
withdraw();
let memory = new SharedArrayBuffer(0);
parentPort?.on('message', ({ memory: shown = memory, offset, bytes }: PackRequest) => {
  memory = shown;
  let answer: PackAnswer;
  try {
    const packed = packNow(new Uint8Array(memory, offset, bytes));
    new Uint8Array(memory, offset, packed.length).set(packed);
    answer = { bytes: packed.length, checksum: checksumOf(packed) };
  } catch (error) {
    answer = { failed: error };
  }
  parentPort?.postMessage(answer);
});
// It is there: who started it may wait for it from now on.
parentPort?.postMessage('ready');
