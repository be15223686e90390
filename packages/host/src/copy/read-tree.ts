/**
 * A file or folder of this computer as the steps of a copy. Nothing but folders, files and symbolic links is copied. The folder may be one
 * that a guest shares: names are looked up in folders that are held open, so that a link which the guest puts in a folder's place while it
 * is read gives the guest nothing of this computer (held-folder.ts).
 */

import { type BigIntStats, constants, createReadStream } from 'node:fs';
import { lstat, open, readdir, readlink, realpath, stat } from 'node:fs/promises';
import type { AgentFileStatus, AgentTreeStep } from '@ringfence/core';
import { harmless, HostError, systemReason } from '../failure.ts';
import { HOLD_FOLDER, type HeldFolder, pathIn, placeIn, placeOf } from './held-folder.ts';
import type { Kind } from './where.ts';

/** Read at once. A whole one of zeroes becomes a hole. */
const CHUNK_BYTES = 64 * 1024;
const ZEROES = Buffer.alloc(CHUNK_BYTES);
const NOTHING = new Uint8Array(0);
/** A pipe that has taken the place of a file is not waited for. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** An entry: what system calls get, and what people are told. */
interface Entry {
  readonly place: string | Buffer;
  readonly path: Buffer;
}

export interface ReadTreeOptions {
  /** When the path itself is a symbolic link, what it leads to is read. */
  readonly follow?: boolean;
  /** Called with each path that is left out: sockets, devices, pipes. */
  readonly onLeftOut?: (path: string) => void;
}

export async function* readTree(path: string, options: ReadTreeOptions = {}): AsyncGenerator<AgentTreeStep> {
  const named = { place: path, path: Buffer.from(path) };
  const status = await statusOf(named, options.follow === true);
  const root = options.follow === true ? await realpath(path) : path;
  /** Files with several names: where each was first. */
  const seen = new Map<string, readonly Uint8Array[]>();
  yield* stepsOf({ place: root, path: Buffer.from(root) }, [], status, seen, options);
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

async function statusOf({ place, path }: Entry, follow: boolean): Promise<BigIntStats> {
  try {
    return follow ? await stat(place, { bigint: true }) : await lstat(place, { bigint: true });
  } catch (error) {
    throw cannotRead(path, error);
  }
}

async function* stepsOf(
  at: Entry,
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
      target: kind === 'symlink' ? await targetOf(at) : NOTHING,
    },
  });
  if (status.isDirectory()) {
    yield await entry('folder');
    const folder = await held(at);
    try {
      for (const name of await namesIn(folder)) {
        const below = { place: placeIn(folder, name), path: pathIn(folder, name) };
        yield* stepsOf(below, [...names, name], await statusOf(below, false), seen, options);
      }
    } finally {
      await folder.handle.close();
    }
  } else if (status.isSymbolicLink()) yield await entry('symlink');
  else if (status.isFile()) {
    const identity = identityOf(status);
    const first = status.nlink > 1n ? seen.get(identity) : undefined;
    if (first !== undefined) {
      yield { kind: 'hard-link', path: names, to: first };
      return;
    }
    if (status.nlink > 1n) seen.set(identity, names);
    yield await entry('file');
    yield* contentOf(at, status);
  } else options.onLeftOut?.(shown(at.path));
}

async function* contentOf({ place, path }: Entry, status: BigIntStats): AsyncGenerator<AgentTreeStep> {
  const sizeBytes = Number(status.size);
  if (sizeBytes === 0) return;
  try {
    const file = await open(place, READ);
    const opened = await file.stat({ bigint: true });
    if (identityOf(opened) !== identityOf(status)) {
      await file.close();
      throw new HostError('unavailable', `"${shown(path)}" became another file while it was copied`);
    }
    const stream = createReadStream('', { fd: file, start: 0, end: sizeBytes - 1, highWaterMark: CHUNK_BYTES });
    let offsetBytes = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (chunk.compare(ZEROES, 0, chunk.length) !== 0) yield { kind: 'data', offsetBytes, bytes: chunk };
      offsetBytes += chunk.length;
    }
    if (offsetBytes < sizeBytes)
      throw new HostError('unavailable', `"${shown(path)}" became shorter while it was copied`);
  } catch (error) {
    throw error instanceof HostError ? error : cannotRead(path, error);
  }
}

async function held({ place, path }: Entry): Promise<HeldFolder> {
  try {
    return { handle: await open(place, HOLD_FOLDER), path };
  } catch (error) {
    throw cannotRead(path, error);
  }
}

async function namesIn(folder: HeldFolder): Promise<Buffer[]> {
  try {
    const names = await readdir(placeOf(folder), { encoding: 'buffer' });
    return names.toSorted((a, b) => Buffer.compare(a, b));
  } catch (error) {
    throw cannotRead(folder.path, error);
  }
}

async function targetOf({ place, path }: Entry): Promise<Uint8Array> {
  try {
    return await readlink(place, { encoding: 'buffer' });
  } catch (error) {
    throw cannotRead(path, error);
  }
}

/** Which file it is, whatever it is called. */
function identityOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}

function shown(path: Buffer): string {
  return harmless(path.toString());
}

function cannotRead(path: Buffer, error: unknown): HostError {
  return new HostError('unavailable', `"${shown(path)}" cannot be read: ${systemReason(error)}`, error);
}
