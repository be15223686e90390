/** Folders with everything in them that a copy must keep. */

import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { expect } from 'vitest';

/** Names and contents are the same at each call. */
export function makeTree(root: string): void {
  const at = (...names: string[]): string => join(root, ...names);
  for (const folder of ['', 'empty', 'deep', 'deep/er', 'deep/er/est', 'many', 'locked']) mkdirSync(at(folder));
  writeFileSync(at('empty-file'), '');
  writeFileSync(at('text'), 'hello\n');
  writeFileSync(
    at('deep/er/est/binary'),
    Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * index) >> 5)),
  );
  writeFileSync(at(' -rf\n*"\\ name'), 'odd');
  writeFileSync(Buffer.concat([Buffer.from(at('many/')), Buffer.from([0xff, 0xfe, 0x80])]), 'not UTF-8');
  writeFileSync(at(`many/${'n'.repeat(255)}`), 'long');
  for (let index = 0; index < 300; index++) writeFileSync(at(`many/${index}`), `${index}`.repeat(index));
  linkSync(at('text'), at('deep/hard'));
  linkSync(at('text'), at('another-hard'));
  symlinkSync('text', at('link'));
  symlinkSync('/nowhere/at all', at('deep/dangling'));
  symlinkSync('er', at('deep/to-folder'));
  execFileSync('mkfifo', [at('fifo')]);
  execFileSync('sh', ['-c', 'truncate -s 3000000 "$0"; printf end >>"$0"', at('sparse')]);
  chmodSync(at('text'), 0o4751);
  chmodSync(at('empty'), 0o1777);
  chmodSync(at('locked'), 0o500);
  if (process.getuid?.() === 0) {
    chownSync(at('deep/er'), 1234, 4321);
    chownSync(at('many/1'), 1, 2);
    execFileSync('mknod', [at('null'), 'c', '1', '3']);
  }
  lutimesSync(at('link'), 1_000_000_001.25, 1_000_000_001.25);
  utimesSync(at('text'), 5, 1_500_000_000.123456);
  utimesSync(at('deep'), 5, -10.5);
  utimesSync(at('empty'), 5, 4_000_000_000);
}

/** Expects two folders to be the same in all that a copy keeps. */
export function sameTree(one: string, other: string, { folderTimes = true } = {}): void {
  expect(facts(other, folderTimes)).toEqual(facts(one, folderTimes));
}

/** Each file's facts by its name; the files of one inode share the first name that leads to it. */
function facts(root: string, folderTimes: boolean): Record<string, string> {
  const all: Record<string, string> = {};
  const inodes = new Map<bigint, string>();
  const isRoot = process.getuid?.() === 0;
  const walk = (path: Buffer, name: string): void => {
    const status = lstatSync(path, { bigint: true });
    const first = inodes.get(status.ino) ?? name;
    inodes.set(status.ino, first);
    const content = status.isFile()
      ? hash('sha256', readFileSync(path))
      : status.isSymbolicLink()
        ? readlinkSync(path)
        : '';
    const mode = isRoot ? status.mode : status.mode & ~0o6000n;
    const mtimeNs = status.isDirectory() && !folderTimes ? '-' : status.mtimeNs;
    all[name] = `${mode.toString(8)} ${status.uid} ${status.gid} ${mtimeNs} ${status.rdev} ${first} ${content}`;
    if (!status.isDirectory()) return;
    for (const child of readdirSync(path, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b)))
      walk(Buffer.concat([path, Buffer.from('/'), child]), `${name}/${child.toString('latin1')}`);
  };
  walk(Buffer.from(root), '');
  return all;
}
