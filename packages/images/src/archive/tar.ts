/**
 * Reads a tar stream: POSIX.1-1988 ustar, GNU long names ('L', 'K') and base-256 sizes, and the pax records `path`, `linkpath` and
 * `size` (POSIX.1-2001, pax(1), "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").
 */

import { ImageError } from '../image-error.ts';
import { OctetSource } from './octet-source.ts';
import { concatenate, textUntilNul, utf8Text } from './octets.ts';

const BLOCK_SIZE = 512;
/** Long names and pax records are held in memory. */
const MAX_EXTENSION_SIZE = 64 * 1024;

export type TarEntryKind = 'file' | 'hard-link' | 'symbolic-link' | 'folder' | 'other';

export interface TarEntry {
  /** Without a leading `./` or `/` and without a trailing `/`. */
  readonly name: string;
  readonly kind: TarEntryKind;
  readonly size: number;
  /** Where a link points, as it is written. */
  readonly target: string;
  /** The whole content; may be asked for once, and only before the next entry. */
  read(): Promise<Uint8Array>;
}

const KINDS: Readonly<Record<string, TarEntryKind>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  '1': 'hard-link',
  '2': 'symbolic-link',
  '5': 'folder',
};

/** The entries in their order. `what` names the archive in errors. */
export async function* tarEntries(
  stream: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<TarEntry, void, undefined> {
  const source = new OctetSource(stream, what);
  try {
    let longName: string | undefined;
    let longTarget: string | undefined;
    let longSize: number | undefined;
    for (;;) {
      const block = await source.next(BLOCK_SIZE);
      if (block === undefined || block.every((octet) => octet === 0)) return;
      const header = parseHeader(block, what);
      const size = longSize ?? header.size;
      let left = size + padding(size);
      const read = async (): Promise<Uint8Array> => {
        left = 0;
        const parts: Uint8Array[] = [];
        for await (const part of source.take(size)) parts.push(part);
        await source.skip(padding(size));
        return concatenate(parts);
      };

      if (header.type === 'L' || header.type === 'K' || header.type === 'x' || header.type === 'g') {
        if (header.size > MAX_EXTENSION_SIZE)
          throw new ImageError('bad-format', `${what} has a name of ${header.size} bytes.`);
        const extension = await read();
        if (header.type === 'L') longName = textUntilNul(extension);
        if (header.type === 'K') longTarget = textUntilNul(extension);
        if (header.type === 'x') {
          const records = paxRecords(utf8Text(extension));
          longName = records.get('path') ?? longName;
          longTarget = records.get('linkpath') ?? longTarget;
          const sizeText = records.get('size');
          if (sizeText !== undefined) longSize = decimal(sizeText, what);
        }
        continue;
      }

      yield {
        name: plainName(longName ?? header.name),
        kind: KINDS[header.type] ?? 'other',
        size,
        target: longTarget ?? header.target,
        read,
      };
      await source.skip(left);
      longName = longTarget = longSize = undefined;
    }
  } finally {
    await source.close();
  }
}

interface Header {
  readonly name: string;
  readonly size: number;
  readonly type: string;
  readonly target: string;
}

function parseHeader(block: Uint8Array, what: string): Header {
  const recorded = octal(block.subarray(148, 156), what);
  const sum = block.reduce((total, octet, at) => total + (at >= 148 && at < 156 ? 0x20 : octet), 0);
  if (recorded !== sum)
    throw new ImageError('bad-format', `${what} is not a tar archive, or is damaged: the sum of a header is wrong.`);
  const name = textUntilNul(block.subarray(0, 100));
  // Only POSIX ustar ("ustar" NUL) has a prefix there; old GNU ("ustar ") keeps times in its place.
  const prefix = utf8Text(block.subarray(257, 263)) === 'ustar\0' ? textUntilNul(block.subarray(345, 500)) : '';
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    size: numeric(block.subarray(124, 136), what),
    type: String.fromCharCode(block[156] ?? 0),
    target: textUntilNul(block.subarray(157, 257)),
  };
}

/** Octal text, or GNU's base-256 when the highest bit is set. */
function numeric(field: Uint8Array, what: string): number {
  if (((field[0] ?? 0) & 0x80) === 0) return octal(field, what);
  const value = field.reduce((total, octet, at) => total * 256 + (at === 0 ? octet & 0x7f : octet), 0);
  if (!Number.isSafeInteger(value)) throw new ImageError('bad-format', `${what} has an entry that is too large.`);
  return value;
}

function octal(field: Uint8Array, what: string): number {
  const text = textUntilNul(field).trim();
  if (!/^[0-7]*$/.test(text))
    throw new ImageError('bad-format', `${what} is not a tar archive: it has a broken header.`);
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function decimal(text: string, what: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new ImageError('bad-format', `${what} has a broken pax record.`);
  return value;
}

/** Records are `LENGTH KEY=VALUE\n`; LENGTH counts itself, in bytes, which are characters for what is read here. */
function paxRecords(text: string): Map<string, string> {
  const records = new Map<string, string>();
  for (const line of text.split('\n')) {
    const parts = /^\d+ ([^=]+)=(.*)$/.exec(line);
    if (parts?.[1] !== undefined && parts[2] !== undefined) records.set(parts[1], parts[2]);
  }
  return records;
}

function padding(size: number): number {
  return (BLOCK_SIZE - (size % BLOCK_SIZE)) % BLOCK_SIZE;
}

function plainName(name: string): string {
  return name.replace(/^(\.?\/)+/, '').replace(/\/+$/, '');
}
