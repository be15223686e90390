/**
 * Reads the common `ar` archive, as far as Debian packages use it (deb(5); ar(5), "common" format): a global header, then members
 * with a header of 60 ASCII bytes, each padded to an even offset. Names are at most 16 bytes; there are no symbol tables.
 */

import { ImageError } from '../image-error.ts';
import { OctetSource } from './octet-source.ts';
import { utf8Text } from './octets.ts';

const GLOBAL_HEADER = '!<arch>\n';
const HEADER_SIZE = 60;
const HEADER_END = '`\n';
/** A package has three members; a crafted one could have any number. */
const MAX_MEMBERS = 64;

export interface ArMember {
  readonly name: string;
  readonly size: number;
  /** The content; it may be read once, and only before the next member is asked for. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** The members in their order. `what` names the archive in errors. */
export async function* arMembers(
  stream: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<ArMember, void, undefined> {
  const source = new OctetSource(stream, what);
  try {
    const start = await source.next(GLOBAL_HEADER.length);
    if (start === undefined || utf8Text(start) !== GLOBAL_HEADER)
      throw new ImageError('bad-format', `${what} is not an ar archive.`);
    for (let count = 0; ; count++) {
      const header = await source.next(HEADER_SIZE);
      if (header === undefined) return;
      if (count === MAX_MEMBERS) throw new ImageError('bad-format', `${what} has more than ${MAX_MEMBERS} members.`);
      const { name, size } = memberHeader(utf8Text(header), what);
      let left = size;
      const content = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
        for await (const part of source.take(left)) {
          left -= part.length;
          yield part;
        }
      };
      yield { name, size, content: content() };
      await source.skip(left);
      if (size % 2 === 1) await source.next(1); // padding; the last member of some archives goes without
    }
  } finally {
    await source.close();
  }
}

function memberHeader(text: string, what: string): { name: string; size: number } {
  const size = text.slice(48, 58).trim();
  if (text.slice(58, 60) !== HEADER_END || !/^\d+$/.test(size))
    throw new ImageError('bad-format', `${what} has a broken member header.`);
  return { name: text.slice(0, 16).trimEnd().replace(/\/$/, ''), size: Number(size) };
}
