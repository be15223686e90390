/**
 * A process that races against whoever walks `FOLDER/here`: it makes it what it was, a symbolic link to TARGET, and what it was again, as
 * fast as it can, until its input ends.
 */

import { mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { argv, stdin, stdout } from 'node:process';

const [, , folder = '', target = ''] = argv;
let isOver = false;
stdin.on('end', () => (isOver = true)).resume();
symlinkSync(target, `${folder}/link`);
mkdirSync(`${folder}/spare`);
renameSync(`${folder}/here`, `${folder}/folder`);

function swap(): void {
  for (let time = 0; time < 200; time++) {
    renameSync(`${folder}/folder`, `${folder}/here`);
    renameSync(`${folder}/here`, `${folder}/folder`);
    renameSync(`${folder}/link`, `${folder}/here`);
    renameSync(`${folder}/here`, `${folder}/link`);
  }
  if (isOver) stdout.write('over\n');
  else setImmediate(swap);
}

stdout.write('racing\n');
swap();
