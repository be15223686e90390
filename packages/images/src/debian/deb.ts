/**
 * Opens a binary package (deb(5)): an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`, the last of which holds the
 * files. Nothing is written anywhere: the files come as a stream of tar entries.
 */

import { arMembers } from '../archive/ar.ts';
import { concatenate, utf8Text } from '../archive/octets.ts';
import { tarEntries, type TarEntry } from '../archive/tar.ts';
import { ImageError } from '../image-error.ts';

export type Compression = 'none' | 'gzip' | 'xz' | 'zstd';

/** The port through which this layer gets its decompressors. */
export type Decompress = (compression: Compression, stream: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

const COMPRESSIONS: Readonly<Record<string, Compression>> = { '': 'none', '.gz': 'gzip', '.xz': 'xz', '.zst': 'zstd' };

/** The compression that a file name's ending tells, or undefined when it is none we know. */
export function compressionOf(name: string): Compression | undefined {
  return COMPRESSIONS[/\.(?:gz|xz|zst)$/.exec(name)?.[0] ?? ''];
}

/** The files of a package. `what` names it in errors. */
export async function* debEntries(
  stream: AsyncIterable<Uint8Array>,
  what: string,
  decompress: Decompress,
): AsyncGenerator<TarEntry, void, undefined> {
  for await (const member of arMembers(stream, what)) {
    if (member.name === 'debian-binary') {
      const parts: Uint8Array[] = [];
      for await (const part of member.content) parts.push(part);
      if (!utf8Text(concatenate(parts)).startsWith('2.'))
        throw new ImageError('bad-format', `${what} is a package of an unknown format.`);
    }
    if (!member.name.startsWith('data.tar')) continue;
    const compression = COMPRESSIONS[member.name.slice('data.tar'.length)];
    if (compression === undefined)
      throw new ImageError('bad-format', `${what} is compressed in a way we do not know: ${member.name}.`);
    yield* tarEntries(decompress(compression, member.content), what);
    return;
  }
  throw new ImageError('bad-format', `${what} is not a Debian package: it has no data.tar.`);
}
