/** A file that a capture of frames goes into. A disk that is slower than the network makes the capture leave frames out. */

import { createWriteStream, type WriteStream } from 'node:fs';
import { FrameCapture, type FramePort } from '@ringfence/core';
import { HostError, systemReason } from '../failure.ts';

/** Bytes that wait for the disk. */
const MAXIMUM_BACKLOG_BYTES = 32 * 1024 * 1024;

export interface CaptureFile {
  readonly port: FramePort;
  /** Writes the file to its end and says what it lacks, when it lacks something. */
  close(): Promise<string | undefined>;
}

/** Captures what goes over the cable that ends in `port`. */
export async function openCapture(path: string, port: FramePort): Promise<CaptureFile> {
  const stream = await openFile(path);
  let failure: unknown;
  stream.on('error', (error) => {
    failure ??= error;
  });
  const capture = new FrameCapture(port, {
    sink: { write: (bytes) => void stream.write(bytes) },
    nowUs: () => Math.round((performance.timeOrigin + performance.now()) * 1000),
    hasRoom: () => failure === undefined && stream.writableLength < MAXIMUM_BACKLOG_BYTES,
    name: 'eth0',
  });
  return {
    port: capture,
    async close() {
      if (failure === undefined) {
        capture.finish();
        await new Promise<void>((resolve) => {
          stream.once('close', resolve);
          stream.end();
        });
      }
      if (failure !== undefined) return `the capture "${path}" is not complete: ${systemReason(failure)}`;
      return capture.dropped === 0
        ? undefined
        : `the capture "${path}" lacks ${capture.dropped} frames, which came faster than they could be written`;
    },
  };
}

function openFile(path: string): Promise<WriteStream> {
  return new Promise((resolve, reject) => {
    const stream = createWriteStream(path);
    stream.once('open', () => resolve(stream));
    stream.once('error', (error) =>
      reject(new HostError('unavailable', `the capture cannot be written to "${path}": ${systemReason(error)}`, error)),
    );
  });
}
