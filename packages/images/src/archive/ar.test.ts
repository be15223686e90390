import { describe, expect, test } from 'vitest';
import { arArchive, collect, streamOf } from '../testing/archives.ts';
import { arMembers } from './ar.ts';
import { concatenate, utf8Text } from './octets.ts';

async function read(archive: Uint8Array, chunkSize?: number): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, size, content } of arMembers(streamOf(archive, chunkSize), 'x.deb')) {
    found.push(`${name} ${size} ${utf8Text(concatenate(await collect(content)))}`);
  }
  return found;
}

const ARCHIVE = arArchive([
  ['debian-binary', Buffer.from('2.0\n')],
  ['odd', Buffer.from('abc')],
  ['empty', Buffer.alloc(0)],
]);

describe('an ar archive', () => {
  test('gives its members in whatever chunks it comes', async () => {
    for (const chunkSize of [1, 7, 60, 1000]) {
      expect(await read(ARCHIVE, chunkSize)).toEqual(['debian-binary 4 2.0\n', 'odd 3 abc', 'empty 0 ']);
    }
  });

  test('gives the next member when the content of one was not read', async () => {
    const names = (await collect(arMembers(streamOf(ARCHIVE), 'x.deb'))).map(({ name }) => name);
    expect(names).toEqual(['debian-binary', 'odd', 'empty']);
  });

  test('that is none, is cut short or has a broken header is refused by name', async () => {
    await expect(read(Buffer.from('not an archive at all'))).rejects.toThrow('x.deb is not an ar archive.');
    await expect(read(ARCHIVE.subarray(0, 100))).rejects.toThrow('x.deb is cut short');
    await expect(read(Buffer.concat([ARCHIVE, Buffer.alloc(60, 'x')]))).rejects.toThrow(
      'x.deb has a broken member header.',
    );
  });
});
