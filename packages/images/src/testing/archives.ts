/** Small archives for tests, written the plain way: tar, ar, and the Debian package made of both. */

import { gzipSync, zstdCompressSync } from 'node:zlib';

export interface TestFile {
  readonly name: string;
  readonly content?: Uint8Array | string;
  /** Makes it a symbolic link. */
  readonly target?: string;
  /** The tar type, when it is none of a file, a folder and a link. */
  readonly type?: string;
}

export function tarArchive(files: readonly TestFile[]): Buffer {
  const parts: Buffer[] = [];
  for (const { name, content = '', target = '', type } of files) {
    const body = Buffer.from(content);
    const kind = type ?? (target === '' ? (name.endsWith('/') ? '5' : '0') : '2');
    parts.push(tarHeader(name, body.length, kind, target), body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

function tarHeader(name: string, size: number, type: string, target: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0, 100, 'latin1');
  header.write('0000644\0', 100);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(target, 157);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, octet) => total + octet, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

export function arArchive(members: readonly (readonly [name: string, content: Uint8Array])[]): Buffer {
  const parts = members.flatMap(([name, content]) => [
    Buffer.from(
      `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(content.length).padEnd(10)}\`\n`,
    ),
    content,
    Buffer.from(content.length % 2 === 1 ? '\n' : ''),
  ]);
  return Buffer.concat([Buffer.from('!<arch>\n'), ...parts]);
}

/** A package of these files, compressed with gzip or zstd. */
export function debPackage(files: readonly TestFile[], compression: 'gzip' | 'zstd' | 'none' = 'gzip'): Buffer {
  const tar = tarArchive(files);
  const [ending, data] =
    compression === 'gzip'
      ? ['.gz', gzipSync(tar)]
      : compression === 'zstd'
        ? ['.zst', zstdCompressSync(tar)]
        : ['', tar];
  return arArchive([
    ['debian-binary', Buffer.from('2.0\n')],
    ['control.tar.gz', gzipSync(tarArchive([]))],
    [`data.tar${ending}`, data],
  ]);
}

export async function* streamOf(content: Uint8Array, chunkSize = 1000): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < content.length; at += chunkSize) yield content.subarray(at, at + chunkSize);
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
