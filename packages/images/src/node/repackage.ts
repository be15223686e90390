/**
 * Writes a package anew with its parts uncompressed, which deb(5) allows: the machine that installs it has better things to do than to
 * unpack xz. Every file in it stays what it was.
 */

import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { arMembers } from '../archive/ar.ts';
import { compressionOf } from '../debian/deb.ts';
import { ImageError } from '../image-error.ts';
import { decompress } from './decompress.ts';
import { writeAll } from './write-all.ts';

const GLOBAL_HEADER = '!<arch>\n';
const MEMBER = /^(debian-binary|control\.tar|data\.tar)((?:\.(?:gz|xz|zst))?)$/;
/** What one package may come to; the largest of Debian's are below 2 GB. */
const MAX_MEMBER_SIZE = 8 * 1024 ** 3;

/** `what` names the package in errors. */
export async function repackage(
  from: string,
  to: string,
  what: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const file = await open(to, 'wx', 0o644);
  try {
    let at = GLOBAL_HEADER.length;
    await file.write(GLOBAL_HEADER, 0);
    const stream: AsyncIterable<Uint8Array> = createReadStream(from, { highWaterMark: 256 * 1024 });
    for await (const { name, content } of arMembers(stream, what)) {
      const [, plain, ending = ''] = MEMBER.exec(name) ?? [];
      if (plain === undefined) continue;
      const headerAt = at;
      at += HEADER_SIZE;
      for await (const chunk of decompress(compressionOf(`x${ending}`) ?? 'none', content)) {
        signal?.throwIfAborted();
        await writeAll(file, chunk, at);
        at += chunk.length;
      }
      const size = at - headerAt - HEADER_SIZE;
      if (size > MAX_MEMBER_SIZE)
        throw new ImageError('bad-format', `${what} holds more than ${MAX_MEMBER_SIZE} bytes.`);
      await writeAll(file, Buffer.from(memberHeader(plain, size)), headerAt);
      if (size % 2 === 1) {
        await file.write('\n', at);
        at++;
      }
    }
  } finally {
    await file.close();
  }
}

const HEADER_SIZE = 60;

/** As dpkg-deb writes it: no owner, no time. */
function memberHeader(name: string, size: number): string {
  return `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(size).padEnd(10)}\`\n`;
}
