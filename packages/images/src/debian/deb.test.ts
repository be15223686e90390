import { describe, expect, test } from 'vitest';
import { utf8Text } from '../archive/octets.ts';
import { decompress } from '../node/decompress.ts';
import { arArchive, debPackage, streamOf, tarArchive } from '../testing/archives.ts';
import { compressionOf, debEntries } from './deb.ts';

const FILES = [
  { name: './a', content: 'alpha' },
  { name: './b', content: 'x'.repeat(100_000) },
];

async function read(deb: Uint8Array): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of debEntries(streamOf(deb), 'a.deb', decompress))
    found.push(`${entry.name} ${utf8Text(await entry.read()).length}`);
  return found;
}

describe('a Debian package', () => {
  test('gives its files, however they are compressed', async () => {
    for (const compression of ['gzip', 'zstd', 'none'] as const) {
      expect(await read(debPackage(FILES, compression))).toEqual(['a 5', 'b 100000']);
    }
  });

  test('can be left in the middle', async () => {
    for await (const entry of debEntries(streamOf(debPackage(FILES)), 'a.deb', decompress)) {
      expect(entry.name).toBe('a');
      break;
    }
  });

  test('of another format, without files, or damaged is refused by name', async () => {
    const binary = (text: string): readonly [string, Buffer] => ['debian-binary', Buffer.from(text)];
    await expect(read(arArchive([binary('3.0\n')]))).rejects.toThrow('a.deb is a package of an unknown format.');
    await expect(read(arArchive([binary('2.0\n')]))).rejects.toThrow(
      'a.deb is not a Debian package: it has no data.tar.',
    );
    await expect(read(arArchive([binary('2.0\n'), ['data.tar.lz4', tarArchive(FILES)]]))).rejects.toThrow(
      'data.tar.lz4',
    );
    await expect(read(arArchive([binary('2.0\n'), ['data.tar.gz', Buffer.alloc(100, 'x')]]))).rejects.toThrow(
      'compressed with gzip is damaged',
    );
    await expect(read(arArchive([binary('2.0\n'), ['data.tar.xz', Buffer.alloc(100, 'x')]]))).rejects.toThrow(
      'compressed with xz is damaged',
    );
    await expect(read(arArchive([binary('2.0\n'), ['data.tar.zst', Buffer.alloc(100, 'x')]]))).rejects.toThrow(
      'compressed with zstd is damaged',
    );
  });
});

test('the ending of a name tells the compression', () => {
  expect(['a.ko', 'a.ko.gz', 'a.ko.xz', 'Packages.zst'].map(compressionOf)).toEqual(['none', 'gzip', 'xz', 'zstd']);
});
