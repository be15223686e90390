/**
 * The manifest of a snapshot: everything but the pages. JSON on one line, and its last member is the SHA-256 of all that is before it, so
 * that no byte of it can change unnoticed:
 *
 *     {"format":"ringfence-snapshot","version":1, ... ,"digest":"<64 hexadecimal digits>"}
 */

import { MAXIMUM_CHAIN_LENGTH } from '../../storage/open-disk.ts';
import type { SnapshotCodec } from './ports.ts';
import type { Json } from './saved-json.ts';
import { MAXIMUM_PACKS } from './page-index.ts';
import { SnapshotError } from './snapshot-error.ts';

export const SNAPSHOT_FORMAT = 'ringfence-snapshot';
/** Counts up when an older program could not read what a newer one writes. */
export const SNAPSHOT_VERSION = 4;
/**
 * The first one is the same but for what it says of disks, and has none; in that and the second the digest of a pack is that of its bytes; up to the third
 * frames are known by their SHA-256.
 */
const READ_VERSIONS: readonly unknown[] = [1, 2, 3, SNAPSHOT_VERSION];

export const MANIFEST_FILE = 'manifest.json';
export const INDEX_FILE = 'index';
export const PAGES_FILE = 'pages';

/** Pages that a snapshot's own file holds, or that of one it builds on. */
export interface PackDescription {
  /** Whose. */
  readonly snapshot: string;
  readonly bytes: number;
  /** Of the sums of its frames, one behind the other, as its own index has them; or of its bytes, where nothing says what it is of. */
  readonly sha256: string;
  readonly of?: 'frames';
}

/** A disk as it was at that point. */
export interface DiskPoint {
  readonly serial: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly bus: 'pci' | 'mmio';
  readonly cache: 'writeback' | 'writethrough';
  /** The qcow2 image beside the manifest that has its content; null of a disk that is only read, which is the first of `behind`. */
  readonly file: string | null;
  readonly bytes: number;
  readonly sha256: string | null;
  /** The images that stand behind the file, its own backing file first. */
  readonly behind: readonly ImageBehind[];
}

/** An image that a snapshot needs and does not hold. */
export interface ImageBehind {
  /** Absolute, or as the snapshot's folder sees it. */
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  readonly bytes: number;
  readonly sha256: string;
}

export interface SnapshotManifest {
  /** 32 hexadecimal digits. */
  readonly id: string;
  /** Program and version. */
  readonly createdBy: string;
  /** As Date's toISOString has it. */
  readonly createdAt: string;
  /** SHA-256 of Machine.stateLayout. */
  readonly stateLayout: string;
  /** The snapshot that this one builds on: what it has in common with it is only there. */
  readonly parent: string | null;
  readonly machine: { readonly memoryBytes: number; readonly harts: number };
  readonly memory: {
    readonly guestPages: number;
    readonly storedPages: number;
    readonly index: { readonly bytes: number; readonly sha256: string };
    /** The snapshot's own first. */
    readonly packs: readonly PackDescription[];
  };
  readonly disks: readonly DiskPoint[];
  /** What whoever took it wants to know of its machine. */
  readonly about: { readonly [key: string]: Json };
  /** What Machine.save gave, as saved-json.ts writes it. */
  readonly state: Json;
}

const TAIL = /,"digest":"([0-9a-f]{64})"\}\n$/;
const TAIL_BYTES = ',"digest":""}\n'.length + 64;

export function writeManifest(manifest: SnapshotManifest, codec: Pick<SnapshotCodec, 'digest'>): Uint8Array {
  const text = JSON.stringify({ format: SNAPSHOT_FORMAT, version: SNAPSHOT_VERSION, ...manifest }).slice(0, -1);
  const digest = codec.digest(new TextEncoder().encode(text));
  return new TextEncoder().encode(`${text},"digest":"${digest}"}\n`);
}

/** Throws a SnapshotError with what is wrong. */
export function readManifest(bytes: Uint8Array, codec: Pick<SnapshotCodec, 'digest'>): SnapshotManifest {
  const at = bytes.length - TAIL_BYTES;
  const said = TAIL.exec(new TextDecoder().decode(bytes.subarray(Math.max(at, 0))))?.[1];
  const value = parsed(bytes);
  // Another version may end otherwise: it says so itself.
  if (isObject(value) && value['format'] === SNAPSHOT_FORMAT && !READ_VERSIONS.includes(value['version']))
    throw new SnapshotError(
      'version',
      `it has version ${JSON.stringify(value['version'])} of the format, and this Ringfence reads versions up to ${SNAPSHOT_VERSION}`,
    );
  if (at < 0 || said === undefined || said !== codec.digest(bytes.subarray(0, at)))
    throw new SnapshotError('broken', 'its manifest is not what was written');
  if (!isObject(value) || value['format'] !== SNAPSHOT_FORMAT || !isManifest(value))
    throw new SnapshotError('broken', 'its manifest says what cannot be');
  return value;
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

type Members = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isSha256 = (value: unknown): boolean => isText(value) && /^[0-9a-f]{64}$/.test(value);
const isId = (value: unknown): boolean => isText(value) && /^[0-9a-f]{32}$/.test(value);
const isFileName = (value: unknown): boolean => isText(value) && /^[a-z0-9][a-z0-9.-]{0,62}$/.test(value);

/** The digest is right, so that what follows was written by a Ringfence: only the members that are used without another look. */
function isManifest(value: Members): value is Members & SnapshotManifest {
  const { machine, memory, disks } = value;
  return (
    isId(value['id']) &&
    [value['createdBy'], value['createdAt'], value['stateLayout']].every(isText) &&
    (value['parent'] === null || isId(value['parent'])) &&
    isObject(machine) &&
    [machine['memoryBytes'], machine['harts']].every(isCount) &&
    isObject(memory) &&
    isMemory(memory) &&
    Array.isArray(disks) &&
    disks.every(isDiskPoint) &&
    isObject(value['about']) &&
    value['state'] !== undefined
  );
}

function isMemory({ guestPages, storedPages, index, packs }: Members): boolean {
  return (
    isCount(guestPages) &&
    isCount(storedPages) &&
    isObject(index) &&
    isCount(index['bytes']) &&
    isSha256(index['sha256']) &&
    Array.isArray(packs) &&
    packs.length > 0 &&
    packs.length <= MAXIMUM_PACKS &&
    packs.every(
      (pack) => isObject(pack) && isId(pack['snapshot']) && isCount(pack['bytes']) && isSha256(pack['sha256']),
    )
  );
}

function isDiskPoint(disk: unknown): boolean {
  return (
    isObject(disk) &&
    isText(disk['serial']) &&
    isCount(disk['sizeBytes']) &&
    typeof disk['readOnly'] === 'boolean' &&
    ['pci', 'mmio'].includes(disk['bus'] as string) &&
    ['writeback', 'writethrough'].includes(disk['cache'] as string) &&
    isCount(disk['bytes']) &&
    (disk['file'] === null ? disk['sha256'] === null : isFileName(disk['file']) && isSha256(disk['sha256'])) &&
    Array.isArray(disk['behind']) &&
    disk['behind'].length <= MAXIMUM_CHAIN_LENGTH &&
    disk['behind'].every(isImageBehind)
  );
}

function isImageBehind(image: unknown): boolean {
  return (
    isObject(image) &&
    isText(image['path']) &&
    ['raw', 'qcow2'].includes(image['format'] as string) &&
    isCount(image['bytes']) &&
    isSha256(image['sha256'])
  );
}
