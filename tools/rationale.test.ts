/** RATIONALE.md gives a reason for every dependency there is, and for none that is gone. */

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { readDevelopmentDependencies, readPackages } from './layers/packages.ts';

const root = resolve(import.meta.dirname, '..');
const packages = readPackages(root);
const workspaces = new Set(packages.map(({ name }) => name));
const page = readFileSync(join(root, 'RATIONALE.md'), 'utf8');

/** The rows below a heading whose named cell holds a dependency in backquotes. */
function rowsBelow(heading: string, cell: number): string[] {
  const section = page.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, cell + 1)
      .map((text) => text.trim().replaceAll('`', ''))
      .join(' '),
  );
}

test('what runs at a user is argued for, package by package', () => {
  const dependencies = packages.flatMap(({ folder, dependencies: names }) =>
    [...names]
      .filter((name) => !workspaces.has(name))
      .map((name) => `${folder.slice(folder.lastIndexOf('/') + 1)} ${name}`),
  );
  expect(rowsBelow("What runs at a user's", 2).toSorted()).toEqual(dependencies.toSorted());
});

test('what checks and tests is argued for', () => {
  expect(rowsBelow('What checks and tests', 1).toSorted()).toEqual([...readDevelopmentDependencies(root)].toSorted());
});
