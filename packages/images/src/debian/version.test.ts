import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { compareVersions } from './version.ts';

const ORDERED = [
  '1.0~rc1',
  '1.0~rc1-2',
  '1.0',
  '1.0-1',
  '1.0-1+b1',
  '1.0-1.1',
  '1.0a',
  '1.0+deb13',
  '1.2',
  '1.10',
  '6.12.94-1',
  '6.12.107-1',
  '7.2.12-1',
  '1:0.1',
];

test('versions stand in the order of Debian', () => {
  for (const [i, a] of ORDERED.entries()) {
    for (const [j, b] of ORDERED.entries())
      expect(Math.sign(compareVersions(a, b)), `${a} ${b}`).toBe(Math.sign(i - j));
  }
  expect(compareVersions('1.00', '1.0')).toBe(0);
});

test.skipIf(spawnSync('dpkg', ['--version']).error !== undefined)('dpkg agrees', () => {
  for (const [at, version] of ORDERED.slice(1).entries()) {
    expect(
      spawnSync('dpkg', ['--compare-versions', ORDERED[at] ?? '', 'lt', version]).status,
      `${ORDERED[at]} < ${version}`,
    ).toBe(0);
  }
});
