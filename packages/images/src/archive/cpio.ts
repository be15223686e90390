/**
 * The cpio "newc" archive that Linux unpacks into its first root file system (Linux,
 * Documentation/driver-api/early-userspace/buffer-format.rst): a header of 110 ASCII bytes per entry, name and content each padded to 4.
 *
 * Names under which one file is known more than once become hard links: the first carries the content, the others the same inode
 * number and no content.
 */

import { ImageError } from '../image-error.ts';
import { concatenate, textUntilNul, utf8Octets, utf8Text } from './octets.ts';

export type CpioEntry =
  | { readonly kind: 'file'; readonly names: readonly string[]; readonly mode: number; readonly content: Uint8Array }
  | { readonly kind: 'folder'; readonly name: string; readonly mode: number }
  | { readonly kind: 'symbolic-link'; readonly name: string; readonly target: string }
  | {
      readonly kind: 'character-device';
      readonly name: string;
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

const MAGIC = '070701';
const HEADER_SIZE = 110;
const TRAILER = 'TRAILER!!!';
/** GNU cpio pads to blocks of this size, and archives that follow one another in memory stay aligned. */
const BLOCK_SIZE = 512;

const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;
const S_IFMT = 0o170000;

/** The archive of `entries` in their order; a folder has to come before what is in it. All times are `modifiedAt`, in seconds. */
export function cpioArchive(entries: readonly CpioEntry[], modifiedAt: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  const add = (part: Uint8Array): void => {
    parts.push(part);
    length += part.length;
    const rest = length % 4;
    if (rest !== 0) {
      parts.push(new Uint8Array(4 - rest));
      length += 4 - rest;
    }
  };
  const member = (fields: Partial<Fields> & { mode: number }, name: string, content: Uint8Array): void => {
    add(header({ nlink: 1, major: 0, minor: 0, ino: 0, ...fields, mtime: modifiedAt, size: content.length }, name));
    add(content);
  };

  const nothing = new Uint8Array(0);
  let ino = 0;
  for (const entry of entries) {
    ino++;
    switch (entry.kind) {
      case 'file':
        for (const [at, name] of entry.names.entries()) {
          member(
            { ino, mode: S_IFREG | entry.mode, nlink: entry.names.length },
            name,
            at === 0 ? entry.content : nothing,
          );
        }
        break;
      case 'folder':
        member({ ino, mode: S_IFDIR | entry.mode, nlink: 2 }, entry.name, nothing);
        break;
      case 'symbolic-link':
        member({ ino, mode: S_IFLNK | 0o777 }, entry.name, utf8Octets(entry.target));
        break;
      case 'character-device':
        member({ ino, mode: S_IFCHR | entry.mode, major: entry.major, minor: entry.minor }, entry.name, nothing);
        break;
    }
  }
  member({ mode: 0 }, TRAILER, nothing);
  parts.push(new Uint8Array((BLOCK_SIZE - (length % BLOCK_SIZE)) % BLOCK_SIZE));
  return concatenate(parts);
}

interface Fields {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly mtime: number;
  readonly size: number;
  readonly major: number;
  readonly minor: number;
}

function header(fields: Fields, name: string): Uint8Array {
  const nameOctets = utf8Octets(`${name}\0`);
  const numbers = [
    fields.ino,
    fields.mode,
    0,
    0,
    fields.nlink,
    fields.mtime,
    fields.size,
    0,
    0,
    fields.major,
    fields.minor,
    nameOctets.length,
    0,
  ];
  return concatenate([
    utf8Octets(MAGIC + numbers.map((value) => value.toString(16).padStart(8, '0')).join('')),
    nameOctets,
  ]);
}

/** What an archive holds, for looking at one: every member as it stands, up to the trailer. */
export function cpioMembers(
  archive: Uint8Array,
): { name: string; mode: number; ino: number; content: Uint8Array; kind: number }[] {
  const members = [];
  for (let at = 0; ;) {
    const fields = utf8Text(archive.subarray(at, at + HEADER_SIZE));
    if (fields.length < HEADER_SIZE || !fields.startsWith(MAGIC))
      throw new ImageError('bad-format', 'This is not a cpio archive of the newc kind.');
    const field = (index: number): number => Number.parseInt(fields.slice(6 + 8 * index, 14 + 8 * index), 16);
    const nameAt = at + HEADER_SIZE;
    const contentAt = align(nameAt + field(11));
    const name = textUntilNul(archive.subarray(nameAt, nameAt + field(11)));
    if (name === TRAILER) return members;
    const mode = field(1);
    members.push({
      name,
      mode: mode & ~S_IFMT,
      kind: mode & S_IFMT,
      ino: field(0),
      content: archive.subarray(contentAt, contentAt + field(6)),
    });
    at = align(contentAt + field(6));
  }
}

function align(offset: number): number {
  return (offset + 3) & ~3;
}
