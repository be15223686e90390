/** Something that the server has: bytes in memory or in an open file, and what a client may do with them. */

import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { extname } from 'node:path';
import { Readable } from 'node:stream';
import type { ByteRange } from './byte-range.ts';

export interface Resource {
  readonly contentType: string;
  readonly sizeBytes: number;
  /** A strong validator, with its quotes (RFC 9110, 8.8.3). */
  readonly etag: string;
  /** The name stands for the content, which never changes. */
  readonly isImmutable: boolean;
  content(range: ByteRange): Readable;
}

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
};
const UNKNOWN_TYPE = 'application/octet-stream';

/** Bytes in memory; their type is that of files called like `name`. */
export function bytesResource(name: string, bytes: Uint8Array, isImmutable: boolean): Resource {
  return {
    contentType: CONTENT_TYPES[extname(name)] ?? UNKNOWN_TYPE,
    sizeBytes: bytes.length,
    etag: `"${createHash('sha256').update(bytes).digest('base64url')}"`,
    isImmutable,
    content: ({ first, last }) => Readable.from([bytes.subarray(first, last + 1)]),
  };
}

/** A file that stays open, so that nobody takes it away while it is served. */
export interface FileResource extends Resource {
  close(): Promise<void>;
}

export async function fileResource(path: string, sizeBytes: number, sha256: string): Promise<FileResource> {
  const file: FileHandle = await open(path);
  return {
    contentType: UNKNOWN_TYPE,
    sizeBytes,
    etag: `"${sha256}"`,
    isImmutable: true,
    content: ({ first, last }) => file.createReadStream({ start: first, end: last, autoClose: false }),
    close: () => file.close(),
  };
}
