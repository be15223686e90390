/**
 * The `Release` file of a suite (Debian wiki, "DebianRepository/Format", "Release" files): what the suite is, how long this word of it
 * holds, and size and SHA-256 of every index. Its text is to be trusted only after its signature was checked.
 */

import { ImageError } from '../image-error.ts';
import { parseStanza, type Stanza } from './deb822.ts';

export interface IndexFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

export interface Release {
  readonly suite: string;
  readonly codename: string;
  readonly version: string | undefined;
  readonly architectures: readonly string[];
  /** Milliseconds since 1970. */
  readonly date: number;
  readonly validUntil: number | undefined;
  readonly acquireByHash: boolean;
  readonly files: ReadonlyMap<string, IndexFile>;
}

export function parseRelease(text: string): Release {
  const stanza = parseStanza(text);
  const date = parseDate(stanza, 'Date');
  if (date === undefined) throw new ImageError('bad-release', 'The Release file of the archive has no date.');
  return {
    suite: stanza.get('Suite') ?? '',
    codename: stanza.get('Codename') ?? '',
    version: stanza.get('Version'),
    architectures: stanza.words('Architectures'),
    date,
    validUntil: parseDate(stanza, 'Valid-Until'),
    acquireByHash: stanza.flag('Acquire-By-Hash') === true,
    files: indexFiles(stanza.get('SHA256') ?? ''),
  };
}

export interface ReleaseDemands {
  /** The suite or code name that was asked for. */
  readonly suite: string;
  readonly architecture: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** apt's Acquire::Check-Valid-Until: whether a Release file can grow too old. */
  readonly checkValidUntil: boolean;
  /** apt's Acquire::Check-Date: whether a Release file from the future is refused. */
  readonly checkDate: boolean;
}

/** How far ahead the clock of the archive may be (apt.conf(5), Acquire::Max-FutureTime). */
const MAX_FUTURE_MS = 10_000;

/** Throws unless `release` is the suite that was asked for and can be relied on now. */
export function checkRelease(
  release: Release,
  { suite, architecture, now, checkValidUntil, checkDate }: ReleaseDemands,
): void {
  if (release.suite !== suite && release.codename !== suite) {
    throw new ImageError(
      'bad-release',
      `The mirror gave suite ${release.suite} (${release.codename}) when it was asked for ${suite}. Choose another mirror with --mirror.`,
    );
  }
  if (checkDate && release.date > now + MAX_FUTURE_MS) {
    throw new ImageError(
      'bad-release',
      `The mirror's index of ${suite} is dated ${day(release.date)}, which is in the future. Is this machine's clock right?`,
    );
  }
  if (checkValidUntil && release.validUntil !== undefined && release.validUntil < now) {
    throw new ImageError(
      'bad-release',
      `The mirror's index of ${suite} was valid until ${day(release.validUntil)} only: the mirror is no longer kept up, or this machine's ` +
        `clock is wrong. Choose another mirror with --mirror.`,
    );
  }
  if (!release.architectures.includes(architecture)) {
    throw new ImageError(
      'no-package',
      `Suite ${suite} has no packages for ${architecture}. Choose a newer one with --suite.`,
    );
  }
}

/** Throws when `release` is older than the one, made at `usedAt`, that an image was made of: a signature does not wear off, so it could be a replay. */
export function refuseOlder(release: Release, usedAt: number, suite: string): void {
  if (!(release.date < usedAt)) return;
  throw new ImageError(
    'bad-release',
    `The mirror's index of ${suite} is of ${day(release.date)}, and the image in the cache was made of the one of ${day(usedAt)}. It is not ` +
      `used: the mirror is behind, or somebody replays an old index. Try again later or with another --mirror, or remove the image first.`,
  );
}

/** The best compressed form of an index among `extensions`, the first being the best liked. */
export function chooseIndex(release: Release, path: string, extensions: readonly string[]): IndexFile {
  for (const extension of extensions) {
    const file = release.files.get(path + extension);
    if (file !== undefined) return file;
  }
  throw new ImageError(
    'bad-release',
    `The signed index of suite ${release.suite} does not name ${path} with a SHA256 sum.`,
  );
}

function indexFiles(table: string): Map<string, IndexFile> {
  const files = new Map<string, IndexFile>();
  for (const line of table.split('\n')) {
    const match = /^([0-9a-fA-F]{64})\s+(\d+)\s+(\S+)$/.exec(line.trim());
    const [, sha256, size, path] = match ?? [];
    if (sha256 !== undefined && path !== undefined)
      files.set(path, { path, size: Number(size), sha256: sha256.toLowerCase() });
  }
  return files;
}

function parseDate(stanza: Stanza, field: string): number | undefined {
  const text = stanza.get(field);
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new ImageError('bad-release', `The Release file of the archive has a ${field} that is no date: ${text}`);
  return time;
}

function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}
