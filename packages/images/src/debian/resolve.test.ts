import { describe, expect, test } from 'vitest';
import { PackageIndex } from './package-index.ts';
import { resolve, wantedPackage } from './resolve.ts';

/** Packages as they are written in an index, one a line: "name version ; Field: value ; ...". */
async function indexOf(...lines: string[]): Promise<PackageIndex> {
  const text = lines
    .map((line) => {
      const [head = '', ...fields] = line.split(' ; ');
      const [name, version] = head.split(' ');
      return [
        `Package: ${name}`,
        `Version: ${version}`,
        `Filename: pool/${name}.deb`,
        'Size: 1',
        `SHA256: ${'0'.repeat(64)}`,
        ...fields,
      ].join('\n');
    })
    .join('\n\n');
  return PackageIndex.read(
    (async function* () {
      yield Buffer.from(text);
    })(),
  );
}

function names(index: PackageIndex, wanted: string[], installed: string[] = []): string[] {
  const packages = (list: string[]) => list.map((name) => wantedPackage(index, name, 'stable'));
  return resolve(index, { wanted: packages(wanted), installed: packages(installed) }, 'stable')
    .map(({ name }) => name)
    .toSorted();
}

describe('what a set of packages needs', () => {
  test('is everything they depend on, in circles too, and nothing they only recommend', async () => {
    const index = await indexOf(
      'a 1 ; Depends: b, c (>= 2) ; Recommends: r',
      'b 1 ; Pre-Depends: a',
      'c 2',
      'r 1',
      'other 1',
    );
    expect(names(index, ['a'])).toEqual(['a', 'b', 'c']);
  });

  test('leaves out what is installed, and takes it into account', async () => {
    const index = await indexOf('a 1 ; Depends: b, x | y', 'b 1', 'x 1', 'y 1');
    expect(names(index, ['a'], ['b', 'y'])).toEqual(['a']);
  });

  test('takes the first alternative, unless another one is needed anyway', async () => {
    const index = await indexOf('a 1 ; Depends: x | y', 'x 1', 'y 1', 'z 1 ; Depends: y');
    expect(names(index, ['a'])).toEqual(['a', 'x']);
    expect(names(index, ['a', 'z'])).toEqual(['a', 'y', 'z']);
  });

  test('passes over an alternative of the wrong version', async () => {
    const index = await indexOf('a 1 ; Depends: x (>= 2) | y (<< 2)', 'x 1', 'y 1');
    expect(names(index, ['a'])).toEqual(['a', 'y']);
  });

  test('of a virtual package takes the provider of the highest priority', async () => {
    const index = await indexOf(
      'a 1 ; Depends: mta',
      'x 1 ; Provides: mta ; Priority: optional',
      'y 1 ; Provides: mta ; Priority: important',
    );
    expect(names(index, ['a'])).toEqual(['a', 'y']);
    expect(names(index, ['mta'])).toEqual(['y']);
  });

  test('counts a provided version only when it is said', async () => {
    const index = await indexOf('a 1 ; Depends: v (>= 2)', 'x 1 ; Provides: v', 'y 1 ; Provides: v (= 3)');
    expect(names(index, ['a'])).toEqual(['a', 'y']);
  });

  test('passes over an alternative that cannot stand beside what was chosen', async () => {
    const index = await indexOf('a 1 ; Depends: x | y', 'x 1 ; Conflicts: b', 'y 1', 'b 1');
    expect(names(index, ['a', 'b'])).toEqual(['a', 'b', 'y']);
  });

  test('may conflict with what it provides itself, and replaces older versions of others', async () => {
    const index = await indexOf('a 1 ; Provides: v ; Conflicts: v ; Breaks: b (<< 2)', 'b 2');
    expect(names(index, ['a', 'b'])).toEqual(['a', 'b']);
  });

  test('is refused with a sentence when something is missing, too old or in conflict', async () => {
    const index = await indexOf('a 1 ; Depends: x (>= 2)', 'x 1', 'b 1 ; Breaks: x (<< 3)', 'c 1 ; Depends: nothing');
    expect(() => names(index, ['a'])).toThrow('a 1 needs x (>= 2), which suite stable does not have.');
    expect(() => names(index, ['c'])).toThrow('c 1 needs nothing, which suite stable does not have.');
    expect(() => names(index, ['b', 'x'])).toThrow('b 1 and x 1 of suite stable cannot be installed together.');
    expect(() => names(index, ['nginx'])).toThrow('Suite stable has no package "nginx".');
  });
});

describe('the index of a suite', () => {
  test('knows the newest version of a package, and what every system has', async () => {
    const index = await indexOf(
      'a 1.9 ; Essential: yes',
      'a 1.10 ; Essential: yes',
      'b 1 ; Priority: required',
      'c 1 ; Priority: important',
    );
    expect(index.get('a')?.version).toBe('1.10');
    expect(index.required().map(({ name, version }) => `${name} ${version}`)).toEqual(['a 1.10', 'b 1']);
  });
});
