/**
 * Fetches one file over HTTP into a file, and checks it on the way: what does not have the size and the SHA-256 that were demanded is
 * removed again. A connection that breaks off is taken up where it broke (RFC 9110, section 14), a few times.
 */

import { createHash } from 'node:crypto';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ImageError } from '../image-error.ts';
import { writeAll } from './write-all.ts';
import { request, Unreachable, type HttpSettings } from './http.ts';

export interface Download {
  /** For people: "linux-image-6.12". */
  readonly item: string;
  /** Addresses to try in this order when the ones before have no such file. */
  readonly urls: readonly string[];
  /** What the file has to be; undefined for the one file that is its own proof. */
  readonly expected: { readonly size: number; readonly sha256: string } | undefined;
  /** How much to accept when nothing is expected. */
  readonly maxSize: number;
}

export type OnBytes = (bytesDone: number, bytesTotal: number | undefined) => void;

const MAX_TRIES = 4;

/** Leaves the file at `path`, or no file. */
export async function download(wanted: Download, path: string, http: HttpSettings, onBytes: OnBytes): Promise<void> {
  try {
    const file = await open(path, 'wx');
    try {
      await fetchFirst(wanted, file, http, onBytes);
    } finally {
      await file.close();
    }
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

async function fetchFirst(wanted: Download, file: FileHandle, http: HttpSettings, onBytes: OnBytes): Promise<void> {
  for (const url of wanted.urls) {
    if (await fetchFrom(url, wanted, file, http, onBytes)) return;
  }
  throw new ImageError('not-found', `The mirror has no ${wanted.item}: ${wanted.urls.at(-1)} does not exist.`);
}

/** Whether the server has the file. */
async function fetchFrom(
  url: string,
  wanted: Download,
  file: FileHandle,
  http: HttpSettings,
  onBytes: OnBytes,
): Promise<boolean> {
  const limit = wanted.expected?.size ?? wanted.maxSize;
  let hash = createHash('sha256');
  let bytesDone = 0;
  for (let tries = 1; ; tries++) {
    try {
      const response = await request(url, bytesDone, http);
      if (response === undefined) return false;
      if (response.start !== bytesDone) {
        hash = createHash('sha256');
        bytesDone = 0;
      }
      const bytesTotal = wanted.expected?.size ?? response.bytesTotal;
      onBytes(bytesDone, bytesTotal);
      for await (const chunk of response.body) {
        if (bytesDone + chunk.length > limit) throw wrong(wanted, url, `is larger than ${limit} bytes`);
        await writeAll(file, chunk, bytesDone);
        hash.update(chunk);
        bytesDone += chunk.length;
        onBytes(bytesDone, bytesTotal);
      }
      if (response.bytesTotal !== undefined && bytesDone < response.bytesTotal)
        throw new Unreachable(`${url} broke off after ${bytesDone} bytes`);
      break;
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      if (tries === MAX_TRIES || !error.isPassing) throw new ImageError('unreachable', error.sentence(), error);
      await sleep(
        http.retryPauseMs * 2 ** (tries - 1),
        undefined,
        http.signal === undefined ? {} : { signal: http.signal },
      );
    }
  }
  await file.truncate(bytesDone); // a try that was begun anew may have left more
  if (wanted.expected !== undefined) {
    if (bytesDone !== wanted.expected.size)
      throw wrong(wanted, url, `has ${bytesDone} bytes instead of ${wanted.expected.size}`);
    if (hash.digest('hex') !== wanted.expected.sha256) throw wrong(wanted, url, 'has another SHA-256 sum');
  }
  return true;
}

function wrong({ item }: Download, url: string, how: string): ImageError {
  return new ImageError(
    'bad-hash',
    `${item} is not the file that the signed index names: it ${how} (${url}). It is not used. The mirror may be in the middle of an ` +
      `update, or somebody changes its files on the way; try again later or with another --mirror.`,
  );
}
