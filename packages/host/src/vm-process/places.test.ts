/** Places that lead to folders of machines, and what a process can do with one. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { machineFolder } from '../machine-folder/layout.ts';
import { permissionOptions } from './permissions.ts';
import { closePlaces, moved, openPlace, placesIn, sweepPlaces } from './places.ts';
import { isIn, isPlaceOf } from './system-processes.ts';

let base: string;
let places: string;
let place: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'ringfence-places-'));
  places = placesIn(join(base, 'places'));
  place = join(places, 'one');
  for (const name of ['web', 'db']) {
    mkdirSync(join(base, name, 'run'), { recursive: true });
    writeFileSync(join(base, name, 'vm.yaml'), `name: ${name}`);
  }
});
afterEach(() => rmSync(base, { recursive: true }));

const words = (): string[] => permissionOptions(machineFolder(place), { readable: [], writable: [] });

/** What each attempt came to in a process that was started for the place, where "PLACE" stands for it. */
function tried(attempts: readonly string[]): string[] {
  const each = attempts.map((attempt) => attempt.replaceAll('PLACE', place).replaceAll('BASE', base));
  const program = `
    import fs from 'node:fs';
    const said = [];
    ${each.map((code) => `try { ${code}; said.push('done'); } catch (error) { said.push(error.code); }`).join('\n')}
    console.log(JSON.stringify(said));`;
  const options = ['--disable-warning=SecurityWarning', ...words(), '--input-type=module', '--eval', program];
  const out = execFileSync(execPath, options, { cwd: base, stdio: ['ignore', 'pipe', 'ignore'] });
  return JSON.parse(out.toString()) as string[];
}

test('a process has the folder that its place leads to, by that way alone, and cannot lead it elsewhere', () => {
  openPlace(place, join(base, 'web'));
  const refused = 'ERR_ACCESS_DENIED';
  expect(
    tried([
      `if (fs.readFileSync('PLACE/vm.yaml', 'utf8') !== 'name: web') throw new Error('another one')`,
      `fs.writeFileSync('PLACE/run/console.log', 'x')`,
      `fs.writeFileSync('PLACE/vm.yaml', 'x')`,
      `fs.readFileSync('BASE/web/vm.yaml')`,
      `fs.readFileSync('PLACE/../../db/vm.yaml')`,
      `fs.rmSync('PLACE')`,
      `fs.symlinkSync('BASE/db', 'PLACE/run/db')`,
      `fs.symlinkSync('../../db', 'PLACE/run/db')`,
      `fs.linkSync('PLACE/vm.yaml', 'PLACE/run/other')`,
      `fs.renameSync('PLACE', 'PLACE/run/mine')`,
    ]),
  ).toEqual(['done', 'done', ...Array<string>(8).fill(refused)]);
  expect(readFileSync(join(base, 'web/run/console.log'), 'utf8')).toBe('x');
});

test('as long as it leads nowhere, a process has nothing; and one that makes something there gets no machine', () => {
  expect(tried([`fs.readFileSync('PLACE/vm.yaml')`, `fs.mkdirSync('PLACE')`])).toEqual(['ENOENT', 'ERR_ACCESS_DENIED']);
  expect(existsSync(place)).toBe(false);
  // Folders above one that it may write Node lets it make.
  expect(tried([`fs.mkdirSync('PLACE/run', { recursive: true })`])).toEqual(['done']);
  expect(() => openPlace(place, join(base, 'web'))).toThrow('EEXIST');
});

test('a process is that of the machine which its place leads to', () => {
  expect(isIn(join(base, 'web'), words())).toBe(false);
  openPlace(place, join(base, 'web'));
  expect([isIn(join(base, 'web'), words()), isIn(join(base, 'db'), words())]).toEqual([true, false]);
  // Whoever says so by itself is none.
  expect(
    isIn(
      join(base, 'web'),
      words().filter((word) => word !== '--permission'),
    ),
  ).toBe(false);
});

test('places go with the runs of their machines, and those that nobody uses with the next daemon', () => {
  openPlace(place, join(base, 'web'));
  openPlace(join(places, 'two'), join(base, 'db'));
  closePlaces(places, join(base, 'web'));
  expect(readdirSync(places)).toEqual(['two']);
  openPlace(place, join(base, 'web'));
  mkdirSync(join(places, 'three/run'), { recursive: true });
  sweepPlaces(places, (each) => isPlaceOf(each, [{ words: words() }]));
  expect(readdirSync(places)).toEqual(['one']);
  rmSync(places, { recursive: true });
  sweepPlaces(places, () => false);
});

test('a path in the folder is the same path in the place', () => {
  expect(moved('/m/web/snapshots', '/m/web', '/p/one')).toBe('/p/one/snapshots');
  expect([moved('/m/web', '/m/web', '/p/one'), moved('/m/web2/run', '/m/web', '/p/one')]).toEqual([
    '/p/one',
    '/m/web2/run',
  ]);
});
