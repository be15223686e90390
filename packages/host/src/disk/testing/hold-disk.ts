/**
 * A process of its own that opens a disk, for tests: `node hold-disk.ts PATH read|write [TIMES]`. It says "open" or what went wrong, and
 * holds the disk until its standard input ends. With TIMES it opens, marks, unmarks and closes the disk that often and says how many
 * times somebody else's mark was there.
 */

import { rmSync, writeFileSync } from 'node:fs';
import { argv, stdin, stdout } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { BlockStoreError } from '@ringfence/core';
import { DiskFile } from '../disk-file.ts';

const [path = '', mode, times] = argv.slice(2);

async function contend(rounds: number): Promise<number> {
  const mark = `${path}.mark`;
  let collisions = 0;
  for (let round = 0; round < rounds;) {
    try {
      const disk = await DiskFile.open(path, { readOnly: false });
      try {
        writeFileSync(mark, '', { flag: 'wx' });
      } catch {
        collisions++;
      }
      await sleep(0);
      rmSync(mark, { force: true });
      await disk.close();
      round++;
    } catch (error) {
      if (!(error instanceof BlockStoreError && error.code === 'locked')) throw error;
      await sleep(1);
    }
  }
  return collisions;
}

if (times !== undefined) stdout.write(`${await contend(Number(times))} collisions\n`);
else {
  try {
    const disk = await DiskFile.open(path, { readOnly: mode === 'read' });
    stdout.write('open\n');
    stdin.resume();
    stdin.on('end', () => void disk.close());
  } catch (error) {
    stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}
