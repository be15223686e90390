import { describe, expect, test } from 'vitest';
import { collect, streamOf, tarArchive } from '../testing/archives.ts';
import { utf8Text } from './octets.ts';
import { tarEntries } from './tar.ts';

async function read(archive: Uint8Array, chunkSize?: number): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of tarEntries(streamOf(archive, chunkSize), 'data.tar')) {
    const content = entry.kind === 'file' ? utf8Text(await entry.read()) : entry.target;
    found.push(`${entry.kind} ${entry.name} ${content}`);
  }
  return found;
}

describe('a tar stream', () => {
  const archive = tarArchive([
    { name: './' },
    { name: './usr/bin/' },
    { name: './usr/bin/a', content: 'alpha' },
    { name: './usr/bin/b', target: 'a' },
    { name: './big', content: 'x'.repeat(2000) },
  ]);

  test('gives files, folders and links in whatever chunks it comes', async () => {
    for (const chunkSize of [1, 511, 512, 100_000]) {
      expect(await read(archive, chunkSize)).toEqual([
        'folder  ',
        'folder usr/bin ',
        'file usr/bin/a alpha',
        'symbolic-link usr/bin/b a',
        `file big ${'x'.repeat(2000)}`,
      ]);
    }
  });

  test('passes over contents that nobody reads', async () => {
    const names = (await collect(tarEntries(streamOf(archive), 'data.tar'))).map(({ name }) => name);
    expect(names).toEqual(['', 'usr/bin', 'usr/bin/a', 'usr/bin/b', 'big']);
  });

  test('has long names as GNU writes them and as pax writes them', async () => {
    const long = `a/${'n'.repeat(150)}`;
    const record = `path=${long}\n`;
    const pax = `${record.length + 4} ${record}`;
    expect(
      await read(
        tarArchive([
          { name: '././@LongLink', content: `${long}\0`, type: 'L' },
          { name: 'cut', content: '1' },
          { name: 'pax', content: pax, type: 'x' },
          { name: 'cut', content: '2' },
          { name: 'plain', content: '3' },
        ]),
      ),
    ).toEqual([`file ${long} 1`, `file ${long} 2`, 'file plain 3']);
  });

  test('that is none, is changed or is cut short is refused by name', async () => {
    await expect(read(Buffer.alloc(512, 'x'))).rejects.toThrow('data.tar is not a tar archive');
    const changed = Buffer.from(archive);
    changed[600] = 0x21;
    await expect(read(changed)).rejects.toThrow('the sum of a header is wrong');
    await expect(read(archive.subarray(0, 1700))).rejects.toThrow('data.tar is cut short');
  });

  test('with a name of a gigabyte is refused before it is read', async () => {
    const evil = tarArchive([{ name: 'x', content: 'y'.repeat(70_000), type: 'L' }]);
    await expect(read(evil)).rejects.toThrow('a name of 70000 bytes');
  });
});
