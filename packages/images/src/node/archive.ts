/** A suite of a Debian archive: its signed release, its index of packages, the packages; each checked before it is used. */

import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { compressionOf } from '../debian/deb.ts';
import {
  checkRelease,
  chooseIndex,
  parseRelease,
  refuseOlder,
  type IndexFile,
  type Release,
} from '../debian/release.ts';
import type { Package } from '../debian/packages.ts';
import { APT_FOLDER, readAptSettings, type AptSettings } from './apt.ts';
import type { Environment } from './cache-folder.ts';
import { readManifest, type ImageFolder } from './cache.ts';
import { decompress } from './decompress.ts';
import { download, type Download } from './download.ts';
import type { HttpSettings } from './http.ts';
import { chooseMirror, type Mirror } from './mirror.ts';
import { findKeyring, verifiedText, type Keyring } from './signature.ts';
import { checkedSuite, type PullOptions } from './tiny-image.ts';

export const ARCHITECTURE = 'riscv64';
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_RETRY_PAUSE_MS = 500;
/** Indexes are checked against the signed sizes; only the signed file itself has no size known before. */
const MAX_RELEASE_SIZE = 16 * 1024 * 1024;
const PARALLEL_DOWNLOADS = 3;

export interface ArchiveSettings {
  readonly suite: string;
  readonly mirror: Mirror;
  readonly keyring: Keyring;
  readonly apt: AptSettings;
  readonly http: HttpSettings;
  readonly onProgress: NonNullable<PullOptions['onProgress']>;
}

export function archiveSettings(options: PullOptions, env: Environment): ArchiveSettings {
  const aptFolder = options.aptFolder ?? APT_FOLDER;
  const apt = readAptSettings(aptFolder);
  const mirror = chooseMirror(options.mirror, env, apt, aptFolder);
  return {
    suite: checkedSuite(options.suite),
    mirror,
    keyring: findKeyring(options.keyring, mirror.signedBy),
    apt,
    http: {
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      retryPauseMs: options.retryPauseMs ?? DEFAULT_RETRY_PAUSE_MS,
      apt: apt.configuration,
      env,
    },
    onProgress: options.onProgress ?? (() => undefined),
  };
}

/** What the suite says of itself, its signature and dates checked. `work` is a folder for the file. */
export async function fetchRelease(wanted: ArchiveSettings, work: string): Promise<Release> {
  const path = join(work, 'InRelease');
  const url = `${wanted.mirror.url}/dists/${wanted.suite}/InRelease`;
  await fetchOne(
    wanted,
    { item: `index of ${wanted.suite}`, urls: [url], expected: undefined, maxSize: MAX_RELEASE_SIZE },
    path,
  );
  const now = new Date();
  const release = parseRelease(await verifiedText(await readFile(path, 'utf8'), wanted.keyring, now));
  const { configuration } = wanted.apt;
  checkRelease(release, {
    suite: wanted.suite,
    architecture: ARCHITECTURE,
    now: now.getTime(),
    checkValidUntil: wanted.mirror.checkValidUntil ?? configuration.flag('Acquire::Check-Valid-Until') ?? true,
    checkDate: configuration.flag('Acquire::Check-Date') ?? true,
  });
  return release;
}

/** Throws when the suite's image was made of a newer release, whatever has become of the image since. */
export async function refuseReplay(folder: ImageFolder, release: Release): Promise<void> {
  const made = await readManifest(folder).catch(() => undefined);
  if (made !== undefined) refuseOlder(release, Date.parse(made.release.date), folder.suite);
}

/** The suite's index of packages as `release` names it. */
export function packagesIndex(release: Release): IndexFile {
  return chooseIndex(release, `main/binary-${ARCHITECTURE}/Packages`, ['.xz', '.gz']);
}

/** Fetches the index into `work`; gives what reads it, as often as it is asked to. */
export async function fetchIndex(
  wanted: ArchiveSettings,
  release: Release,
  index: IndexFile,
  work: string,
): Promise<() => AsyncIterable<Uint8Array>> {
  const folder = `${wanted.mirror.url}/dists/${wanted.suite}`;
  const plain = `${folder}/${index.path}`;
  const byHash = `${folder}/${dirname(index.path)}/by-hash/SHA256/${index.sha256}`;
  const path = join(work, 'Packages');
  const { size, sha256 } = index;
  const urls = release.acquireByHash ? [byHash, plain] : [plain];
  await fetchOne(
    wanted,
    { item: `packages of ${wanted.suite}`, urls, expected: { size, sha256 }, maxSize: size },
    path,
  );
  return () => decompress(compressionOf(index.path) ?? 'none', createReadStream(path));
}

/**
 * All packages, a few at a time, each to its path, and `onFetched` when it is there and is what the index says. When one fails the others
 * are stopped, and nothing is left running.
 */
export async function fetchPackages(
  wanted: ArchiveSettings,
  packages: readonly Package[],
  pathOf: (wanted: Package, index: number) => string,
  onFetched: (fetched: Package) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const stop = new AbortController();
  const { signal } = wanted.http;
  const http = { ...wanted.http, signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]) };
  const queue = [...packages.entries()];
  let failure: unknown;
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined && failure === undefined; next = queue.shift()) {
      const [at, found] = next;
      const { name, version, path, size, sha256 } = found;
      const wantedFile: Download = {
        item: `${name} ${version}`,
        urls: [`${wanted.mirror.url}/${path.split('/').map(encodeURIComponent).join('/')}`],
        expected: { size, sha256 },
        maxSize: size,
      };
      try {
        await fetchOne({ ...wanted, http }, wantedFile, pathOf(found, at));
        await onFetched(found);
      } catch (error) {
        failure ??= error;
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_DOWNLOADS }, worker));
  if (failure !== undefined) throw failure;
}

function fetchOne({ http, onProgress }: ArchiveSettings, wanted: Download, path: string): Promise<void> {
  return download(wanted, path, http, (bytesDone, bytesTotal) =>
    onProgress({ kind: 'download', item: wanted.item, bytesDone, bytesTotal }),
  );
}
