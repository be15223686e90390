/** The daemon's log: a line of JSON for each thing that is worth knowing, in files of a bounded size and number. */

import { type Logger, pino, stdTimeFunctions } from 'pino';
import { createStream } from 'rotating-file-stream';

const FILE = 'daemon.log';
export interface LogBounds {
  /** Of one file, as rotating-file-stream has it. */
  readonly size: `${number}K` | `${number}M`;
  /** Older ones that are kept. */
  readonly files: number;
}

const BOUNDS: LogBounds = { size: '4M', files: 4 };

export interface DaemonLog {
  readonly log: Logger;
  close(): Promise<void>;
}

/** In the folder; a log that cannot be written is none, and stops nothing. */
export function openLog(folder: string, { size, files }: LogBounds = BOUNDS): DaemonLog {
  const stream = createStream((index) => (typeof index === 'number' ? `${FILE}.${index}` : FILE), {
    path: folder,
    size,
    // With numbers instead of times the newest of the older files is 1.
    rotate: files,
    mode: 0o600,
  });
  stream.on('error', () => undefined);
  stream.on('warning', () => undefined);
  const log = pino({ base: { pid: process.pid }, timestamp: stdTimeFunctions.isoTime }, stream);
  return { log, close: () => new Promise((resolve) => stream.end(() => resolve())) };
}
