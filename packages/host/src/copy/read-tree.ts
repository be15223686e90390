/** A file or folder of this computer as the steps of a copy. Nothing but folders, files and symbolic links is copied. */

import { type BigIntStats, constants, createReadStream } from 'node:fs';
import { lstat, open, readdir, readlink, realpath, stat } from 'node:fs/promises';
import type { AgentFileStatus, AgentTreeStep } from '@ringfence/core';
import { HostError, systemReason } from '../failure.ts';
import type { Kind } from './where.ts';

/** Read at once. A whole one of zeroes becomes a hole. */
const CHUNK_BYTES = 64 * 1024;
const ZEROES = Buffer.alloc(CHUNK_BYTES);
const NOTHING = new Uint8Array(0);

export interface ReadTreeOptions {
  /** When the path itself is a symbolic link, what it leads to is read. */
  readonly follow?: boolean;
  /** Called with each path that is left out: sockets, devices, pipes. */
  readonly onLeftOut?: (path: string) => void;
}

export async function* readTree(path: string, options: ReadTreeOptions = {}): AsyncGenerator<AgentTreeStep> {
  const status = await statusOf(path, options.follow === true);
  const root = options.follow === true ? await realpath(path) : path;
  /** Files with several names: where each was first. */
  const seen = new Map<string, readonly Uint8Array[]>();
  yield* stepsOf(Buffer.from(root), [], status, seen, options);
}

/** What a path of this computer is, or what a link there leads to; undefined when there is nothing. */
export async function hostKind(path: string, follow: boolean): Promise<Kind | undefined> {
  try {
    return (follow ? await stat(path) : await lstat(path)).isDirectory() ? 'folder' : 'other';
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new HostError('unavailable', `"${path}" cannot be used: ${systemReason(error)}`, error);
  }
}

async function statusOf(path: string | Buffer, follow: boolean): Promise<BigIntStats> {
  try {
    return follow ? await stat(path, { bigint: true }) : await lstat(path, { bigint: true });
  } catch (error) {
    throw cannotRead(path, error);
  }
}

async function* stepsOf(
  path: Buffer,
  names: readonly Uint8Array[],
  status: BigIntStats,
  seen: Map<string, readonly Uint8Array[]>,
  options: ReadTreeOptions,
): AsyncGenerator<AgentTreeStep> {
  const entry = async (kind: AgentFileStatus['kind']): Promise<AgentTreeStep> => ({
    kind: 'entry',
    path: names,
    status: {
      kind,
      mode: Number(status.mode & 0o7777n),
      uid: Number(status.uid),
      gid: Number(status.gid),
      mtimeNs: status.mtimeNs,
      sizeBytes: kind === 'file' ? Number(status.size) : 0,
      device: { major: 0, minor: 0 },
      target: kind === 'symlink' ? await targetOf(path) : NOTHING,
    },
  });
  if (status.isDirectory()) {
    yield await entry('folder');
    for (const name of await namesIn(path)) {
      const below = Buffer.concat([path, Buffer.from('/'), name]);
      yield* stepsOf(below, [...names, name], await statusOf(below, false), seen, options);
    }
  } else if (status.isSymbolicLink()) yield await entry('symlink');
  else if (status.isFile()) {
    const identity = `${status.dev}:${status.ino}`;
    const first = status.nlink > 1n ? seen.get(identity) : undefined;
    if (first !== undefined) {
      yield { kind: 'hard-link', path: names, to: first };
      return;
    }
    if (status.nlink > 1n) seen.set(identity, names);
    yield await entry('file');
    yield* contentOf(path, Number(status.size));
  } else options.onLeftOut?.(path.toString());
}

async function* contentOf(path: Buffer, sizeBytes: number): AsyncGenerator<AgentTreeStep> {
  if (sizeBytes === 0) return;
  try {
    // What has become a link since it was looked at is not followed.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const stream = createReadStream('', { fd: file, start: 0, end: sizeBytes - 1, highWaterMark: CHUNK_BYTES });
    let offsetBytes = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (chunk.compare(ZEROES, 0, chunk.length) !== 0) yield { kind: 'data', offsetBytes, bytes: chunk };
      offsetBytes += chunk.length;
    }
    if (offsetBytes < sizeBytes)
      throw new HostError('unavailable', `"${path.toString()}" became shorter while it was copied`);
  } catch (error) {
    throw error instanceof HostError ? error : cannotRead(path, error);
  }
}

async function namesIn(path: Buffer): Promise<Buffer[]> {
  try {
    const names = await readdir(path, { encoding: 'buffer' });
    return names.toSorted((a, b) => Buffer.compare(a, b));
  } catch (error) {
    throw cannotRead(path, error);
  }
}

async function targetOf(path: Buffer): Promise<Uint8Array> {
  try {
    return await readlink(path, { encoding: 'buffer' });
  } catch (error) {
    throw cannotRead(path, error);
  }
}

function cannotRead(path: string | Buffer, error: unknown): HostError {
  return new HostError('unavailable', `"${path.toString()}" cannot be read: ${systemReason(error)}`, error);
}
