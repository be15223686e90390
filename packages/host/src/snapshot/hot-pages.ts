/**
 * What a machine needs first when it goes on from a snapshot, in one file beside it: pages, as they are, which are read into the machine's memory
 * at once, so that nothing has to be unpacked, and the instructions in them that were executed, decoded. Machines that go on and need more add to it.
 *
 *     "RFhot004"   u64 checksum of the list   u64 of the pages   16 bytes id of the snapshot   64 bytes program
 *     u32 pages   u32 bytes of code   u32 pages of code   u32 runs   u32 bytes of the manifest   zeroes to 128
 *     the list:    u32 x pages: numbers   zeroes to the next 64   the code (kept-code.ts of core)   zeroes to the next 64
 *                  for each run of pages that the snapshot has: u32 first, u32 count   its manifest   zeroes to the next 64
 *     the pages, from the next 4096 on
 *
 * So that of a sound one nothing else has to be read, or hashed, before the machine runs.
 *
 * Decoded code is that of the program which decoded it, by its fingerprint. It is made of the snapshot's pages, not of the machine's.
 */

import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import type { Machine, OpenSnapshot, PageSource, Restorable, SnapshotManifest } from '@ringfence/core';
import { programFingerprint } from './program-fingerprint.ts';
import { isGone, SnapshotFolder } from './snapshot-folder.ts';

export const HOT_FILE = 'hot';
/** More pages are not worth it: 32 MiB, which are read in some 10 ms. */
export const MAXIMUM_HOT_PAGES = 8192;
/** So many pages that were loaded beside those in the file, or decoded, are worth writing it again: one that is loaded takes a millisecond. */
const WORTH_WRITING = 2;
const WORTH_WRITING_CODE = 16;
/** More code has no room among the code pages beside those that it becomes (`codeRoom` of core): then none of it is kept. */
const MAXIMUM_CODE_BYTES = 8 * 1024 * 1024;
const MAXIMUM_CODE_PAGES = 1000;

const MAGIC = 'RFhot004';
const LIST_SUM_AT = 8;
const PAGES_SUM_AT = 16;
const ID_AT = 24;
const ID_BYTES = 16;
const PROGRAM_AT = 40;
const PROGRAM_BYTES = 64;
const SIZES_AT = 104;
/** In this order. */
const SIZES = ['count', 'codeBytes', 'codePages', 'runs', 'manifestBytes'] as const;
const RUN_BYTES = 8;
const HEAD_BYTES = 128;
const ALIGNMENT = 64;
const PAGE_SIZE = 4096;

/** What a machine had from the beginning. */
export interface PlacedPages {
  readonly pages: Uint32Array;
  /** How many of them were decoded. */
  readonly codePages: number;
}

export const NOTHING_PLACED: PlacedPages = { pages: new Uint32Array(0), codePages: 0 };

/** What a machine goes on from, with a file of what it needs first beside it. */
export interface HotSnapshot extends Restorable {
  readonly source: PageSource & Pick<OpenSnapshot['source'], 'loaded'>;
  readonly pathOf: (file: string) => string;
}

/** Puts it into the memory of a blank machine: nothing when there is no such file, or it is not sound. */
export function placeHotPages(
  machine: Pick<Machine, 'pages'>,
  { manifest, pathOf }: Pick<HotSnapshot, 'manifest' | 'pathOf'>,
): PlacedPages {
  using file = HotFile.open(pathOf('.'));
  if (file === undefined || file.id !== manifest.id) return NOTHING_PLACED;
  using list = file.list(machine);
  return list?.place() ?? NOTHING_PLACED;
}

/** A file of what is needed first, that may be sound. */
export class HotFile implements Disposable {
  /** Of the snapshot. */
  readonly id: string;
  readonly #folder: SnapshotFolder;
  readonly #head: Head;

  private constructor(folder: SnapshotFolder, head: Head) {
    this.#folder = folder;
    this.#head = head;
    this.id = head.id;
  }

  /** That in the folder of a snapshot; undefined when there is none, or it is of another program. */
  static open(folder: string): HotFile | undefined {
    const files = new SnapshotFolder(folder);
    const head = attempt(() => readHead(files));
    if (head !== undefined) return new HotFile(files, head);
    files.close();
    return undefined;
  }

  /** What it has beside the pages, in the memory of a blank machine until it is disposed of; undefined when it is not sound. */
  list(machine: Pick<Machine, 'pages'>): HotList | undefined {
    const { listBytes } = placesOf(this.#head);
    const room = machine.pages.codeRoom(this.#head.codePages, listBytes);
    if (room === undefined) return undefined;
    const isSound = attempt(() => {
      this.#folder.read(HOT_FILE, HEAD_BYTES, room);
      return machine.pages.checksum(seedOf(this.#head), room) === this.#head.listSum;
    });
    if (isSound === true) return new HotList(machine, this.#folder, this.#head, room);
    room.fill(0);
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#folder.close();
  }
}

export class HotList implements Disposable {
  readonly #machine: Pick<Machine, 'pages'>;
  readonly #folder: SnapshotFolder;
  readonly #head: Head;
  readonly #room: Uint8Array;

  constructor(machine: Pick<Machine, 'pages'>, folder: SnapshotFolder, head: Head, room: Uint8Array) {
    this.#machine = machine;
    this.#folder = folder;
    this.#head = head;
    this.#room = room;
  }

  /** The snapshot's manifest, which was found right when this was written. */
  get manifest(): SnapshotManifest {
    const { manifestAt } = placesOf(this.#head);
    const bytes = this.#room.slice(manifestAt, manifestAt + this.#head.manifestBytes);
    return JSON.parse(new TextDecoder().decode(bytes)) as SnapshotManifest;
  }

  /** Its pages, neighbours together. */
  *runs(): Generator<readonly [number, number], void, undefined> {
    const { runsAt } = placesOf(this.#head);
    const words = new Uint32Array(this.#room.slice(runsAt, runsAt + RUN_BYTES * this.#head.runs).buffer);
    for (let at = 0; at < words.length; at += 2) yield [words[at] ?? 0, words[at + 1] ?? 0];
  }

  /** Reads the pages to where the machine has them; nothing when they are not sound, or there is no place where they could be side by side. */
  place(): PlacedPages {
    const { pages } = this.#machine;
    const { count, codeBytes, pagesSum } = this.#head;
    const { codeAt, pagesAt } = placesOf(this.#head);
    const numbers = new Uint32Array(this.#room.slice(0, 4 * count).buffer);
    const placed = pages.place(numbers);
    if (placed === undefined) return NOTHING_PLACED;
    const isSound = attempt(() => {
      this.#folder.read(HOT_FILE, pagesAt, placed);
      return pages.checksum(0n, placed) === pagesSum;
    });
    if (isSound !== true) {
      // Nobody has seen them: they come one by one.
      pages.lose([...numbers]);
      return NOTHING_PLACED;
    }
    return { pages: numbers, codePages: pages.placeCode(this.#room.subarray(codeAt, codeAt + codeBytes)) };
  }

  [Symbol.dispose](): void {
    this.#room.fill(0);
  }
}

/** What cannot be read only makes things slower. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** As `keepHotPages`; where that cannot be done, the next machine loads its pages one by one as well. */
export function keepHotPagesIfPossible(...of: Parameters<typeof keepHotPages>): void {
  attempt(() => keepHotPages(...of));
}

/** Adds what was loaded, and decoded, to what was there, as long as there is room: what was loaded first is needed first. */
export function keepHotPages(machine: Pick<Machine, 'pages'>, snapshot: HotSnapshot, placed: PlacedPages): void {
  const { source } = snapshot;
  const wanted = [...new Set([...placed.pages, ...source.loaded])].slice(0, MAXIMUM_HOT_PAGES);
  const more = wanted.length - placed.pages.length;
  if (more < WORTH_WRITING && machine.pages.codePages - placed.codePages < WORTH_WRITING_CODE) return;
  const numbers = Uint32Array.from(wanted).toSorted();
  const pages = pagesOf(source, numbers);
  const positions = new Map(Array.from(numbers, (page, n) => [page, n]));
  const all = machine.pages.keepCode((page, into) => {
    const n = positions.get(page);
    if (n !== undefined) into.set(pages.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE));
    return n !== undefined;
  });
  const [allPages = 0] = new Uint32Array(all.buffer, 0, 1);
  const isKept = all.length <= MAXIMUM_CODE_BYTES && allPages <= MAXIMUM_CODE_PAGES;
  const [code, codePages] = isKept ? [all, allPages] : [new Uint8Array(0), 0];
  const manifest = new TextEncoder().encode(JSON.stringify(snapshot.manifest));
  const runs = Uint32Array.from([...snapshot.runs()].flat());
  const sizes = {
    id: snapshot.manifest.id,
    count: numbers.length,
    codeBytes: code.length,
    codePages,
    runs: runs.length / 2,
    manifestBytes: manifest.length,
  };
  const { codeAt, runsAt, manifestAt, listBytes, pagesAt } = placesOf(sizes);
  const file = new Uint8Array(pagesAt + pages.length);
  const list = file.subarray(HEAD_BYTES, HEAD_BYTES + listBytes);
  list.set(new Uint8Array(numbers.buffer));
  list.set(code, codeAt);
  list.set(new Uint8Array(runs.buffer), runsAt);
  list.set(manifest, manifestAt);
  file.set(pages, pagesAt);
  file.set(
    writeHead({
      ...sizes,
      listSum: machine.pages.checksum(seedOf(sizes), list),
      pagesSum: machine.pages.checksum(0n, pages),
    }),
  );
  const unfinished = snapshot.pathOf(`${HOT_FILE}.${process.pid}`);
  removeAbandoned(snapshot);
  try {
    writeFileSync(unfinished, file, { mode: 0o600 });
    // Another one may have been kept there since.
    using there = new SnapshotFolder(snapshot.pathOf('.'));
    if (there.head?.id === snapshot.manifest.id) renameSync(unfinished, snapshot.pathOf(HOT_FILE));
  } finally {
    // Where it has no place, or there was no space for all of it.
    rmSync(unfinished, { force: true });
  }
}

/** What processes left that were killed as they wrote it. */
function removeAbandoned(snapshot: HotSnapshot): void {
  for (const name of readdirSync(snapshot.pathOf('.')))
    if (name.startsWith(`${HOT_FILE}.`) && isGone(Number(name.slice(HOT_FILE.length + 1))))
      rmSync(snapshot.pathOf(name), { force: true });
}

interface Sizes {
  /** Pages, and of the code bytes and pages. */
  readonly count: number;
  readonly codeBytes: number;
  readonly codePages: number;
  readonly runs: number;
  readonly manifestBytes: number;
}

interface Head extends Sizes {
  readonly id: string;
  readonly listSum: bigint;
  readonly pagesSum: bigint;
}

function writeHead({ id, listSum, pagesSum, ...sizes }: Head): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(MAGIC, 'latin1');
  head.writeBigUInt64LE(listSum, LIST_SUM_AT);
  head.writeBigUInt64LE(pagesSum, PAGES_SUM_AT);
  for (const [n, size] of SIZES.entries()) head.writeUInt32LE(sizes[size], SIZES_AT + 4 * n);
  head.write(id, ID_AT, ID_BYTES, 'hex');
  head.write(programFingerprint(), PROGRAM_AT, PROGRAM_BYTES, 'latin1');
  return head;
}

/** So that the checksum is of what is where, too. */
function seedOf(sizes: Sizes): bigint {
  return SIZES.reduce((seed, size) => BigInt.asUintN(64, seed * 0x1_0000_01b3n + BigInt(sizes[size])), 0n);
}

/** Undefined when there is none, or it is of another program, or has another size. */
function readHead(files: SnapshotFolder): Head | undefined {
  const size = files.sizeOf(HOT_FILE);
  if (size === undefined || size < HEAD_BYTES) return undefined;
  const bytes = Buffer.alloc(HEAD_BYTES);
  files.read(HOT_FILE, 0, bytes);
  const [count = 0, codeBytes = 0, codePages = 0, runs = 0, manifestBytes = 0] = SIZES.map((_size, n) =>
    bytes.readUInt32LE(SIZES_AT + 4 * n),
  );
  const head: Head = {
    id: bytes.toString('hex', ID_AT, ID_AT + ID_BYTES),
    count,
    codeBytes,
    codePages,
    runs,
    manifestBytes,
    listSum: bytes.readBigUInt64LE(LIST_SUM_AT),
    pagesSum: bytes.readBigUInt64LE(PAGES_SUM_AT),
  };
  const isOurs = writeHead(head).equals(bytes) && count <= MAXIMUM_HOT_PAGES && codeBytes <= MAXIMUM_CODE_BYTES;
  return isOurs && size === placesOf(head).pagesAt + count * PAGE_SIZE ? head : undefined;
}

/** Where in the list the code begins, the runs and the manifest, how long that is, and where the pages begin in the file. */
function placesOf({ count, codeBytes, runs, manifestBytes }: Sizes): {
  readonly codeAt: number;
  readonly runsAt: number;
  readonly manifestAt: number;
  readonly listBytes: number;
  readonly pagesAt: number;
} {
  const aligned = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;
  const codeAt = aligned(4 * count, ALIGNMENT);
  const runsAt = aligned(codeAt + codeBytes, ALIGNMENT);
  const manifestAt = runsAt + RUN_BYTES * runs;
  const listBytes = aligned(manifestAt + manifestBytes, ALIGNMENT);
  return { codeAt, runsAt, manifestAt, listBytes, pagesAt: aligned(HEAD_BYTES + listBytes, PAGE_SIZE) };
}

function pagesOf(source: PageSource, numbers: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(numbers.length * PAGE_SIZE);
  for (const [n, page] of numbers.entries()) source.load(page, bytes.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE));
  return bytes;
}
