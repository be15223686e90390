import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { cpioArchive, cpioMembers, type CpioEntry } from './cpio.ts';
import { utf8Octets, utf8Text } from './octets.ts';

const ENTRIES: CpioEntry[] = [
  { kind: 'folder', name: 'dev', mode: 0o755 },
  { kind: 'character-device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
  { kind: 'file', names: ['bin/busybox', 'bin/sh', 'bin/ls'], mode: 0o755, content: utf8Octets('the one binary') },
  { kind: 'symbolic-link', name: 'lib', target: 'usr/lib' },
  { kind: 'file', names: ['empty'], mode: 0o644, content: new Uint8Array(0) },
];

describe('a cpio archive', () => {
  const archive = cpioArchive(ENTRIES, 1_700_000_000);

  test('is made of blocks, so that another can follow it', () => {
    expect(archive.length % 512).toBe(0);
    expect(utf8Text(archive.subarray(0, 6))).toBe('070701');
  });

  test('carries a file known under three names once', () => {
    const members = cpioMembers(archive);
    expect(members.map(({ name, content }) => `${name}: ${utf8Text(content)}`)).toEqual([
      'dev: ',
      'dev/console: ',
      'bin/busybox: the one binary',
      'bin/sh: ',
      'bin/ls: ',
      'lib: usr/lib',
      'empty: ',
    ]);
    expect(new Set(members.filter(({ name }) => name.startsWith('bin/')).map(({ ino }) => ino)).size).toBe(1);
    expect(new Set(members.map(({ ino }) => ino)).size).toBe(5);
  });

  test.skipIf(spawnSync('cpio', ['--version']).error !== undefined)('is read by cpio(1) as it was meant', () => {
    const { stdout } = spawnSync('cpio', ['--list', '--verbose', '--quiet', '--numeric-uid-gid'], {
      input: archive,
      encoding: 'utf8',
    });
    const lines = stdout.split('\n').map((line) => line.replaceAll(/\s+/g, ' '));
    expect(lines[1]).toMatch(/^crw------- 1 0 0 5, 1 Nov 14 2023 dev\/console$/);
    expect(lines[2]).toMatch(/^-rwxr-xr-x 3 0 0 14 .* bin\/busybox$/);
    expect(lines[5]).toMatch(/^lrwxrwxrwx 1 0 0 7 .* lib -> usr\/lib$/);
  });
});
