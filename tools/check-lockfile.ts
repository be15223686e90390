/**
 * Checks package-lock.json beyond what npm does: `node tools/check-lockfile.ts [--fix]`.
 *
 * - It names no registry, so that whoever installs takes the packages from the registry that is set on that machine.
 * - It lists the binaries of every platform. `npm install` leaves out those that the registry at hand does not carry, and `npm ci` then
 *   refuses the whole file. `--fix` adds them (they are optional: npm installs only the one that fits the machine).
 */

import { readFileSync, writeFileSync } from 'node:fs';

interface LockedPackage {
  readonly version?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

interface Lockfile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

const FILE = 'package-lock.json';
const MODULES = 'node_modules/';
const lockfile = JSON.parse(readFileSync(FILE, 'utf8')) as Lockfile;
const locked = Object.entries(lockfile.packages);

const hosts = locked
  .filter(([, { link, resolved }]) => link !== true && resolved !== undefined)
  .map(([path]) => `${path} names a registry; run \`npm install\` with omit-lockfile-registry-resolved (.npmrc)`);
const missing = locked.flatMap(([path, { dev, optionalDependencies = {} }]) =>
  Object.entries(optionalDependencies)
    .filter(([name]) => !isLocked(path, name))
    .map(([name, version]) => ({ path: MODULES + name, entry: platformPackage(name, version, dev === true) })),
);

if (process.argv.includes('--fix') && missing.length > 0) {
  const added = missing.map(({ path, entry }): [string, LockedPackage] => [path, entry]);
  // As npm sorts them; the root's name is empty and so comes first.
  const packages = [...locked, ...added].toSorted(([a], [b]) => a.localeCompare(b, 'en'));
  writeFileSync(FILE, `${JSON.stringify({ ...lockfile, packages: Object.fromEntries(packages) }, null, 2)}\n`);
  console.log(`${missing.length} packages for other platforms added to ${FILE}`);
  missing.length = 0;
}
const problems = [...hosts, ...missing.map(({ path }) => `${path} is missing; run \`npm run lockfile -- --fix\``)];
for (const problem of problems) console.error(`${FILE}: ${problem}`);
if (problems.length > 0) process.exitCode = 1;
else console.log(`${locked.length} packages are locked`);

/** Whether Node would find `name` from the package at `path`. */
function isLocked(path: string, name: string): boolean {
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf(MODULES) - 1))) {
    if (`${folder === '' ? '' : `${folder}/`}${MODULES}${name}` in lockfile.packages) return true;
    if (folder === '') return false;
  }
}

/** What npm must know to skip a package for another platform; its name says it: `@oxlint/binding-linux-arm64-musl`. */
function platformPackage(name: string, version: string, dev: boolean): LockedPackage {
  const words = name.replace(/^@[^/]*\//, '').split('-');
  const pick = (known: Readonly<Record<string, string>>): string[] => words.flatMap((word) => known[word] ?? []);
  const os = pick({
    android: 'android',
    darwin: 'darwin',
    freebsd: 'freebsd',
    linux: 'linux',
    openharmony: 'openharmony',
    win32: 'win32',
  });
  const cpu = pick({
    arm: 'arm',
    arm64: 'arm64',
    ia32: 'ia32',
    ppc64: 'ppc64',
    riscv64: 'riscv64',
    s390x: 's390x',
    x64: 'x64',
  });
  const libc = pick({ gnu: 'glibc', musl: 'musl', gnueabihf: 'glibc', musleabihf: 'musl' });
  if (os.length === 0 || cpu.length === 0)
    throw new Error(`${name} is not locked and its name says no platform: add it by hand`);
  return {
    version,
    cpu,
    ...(dev && { dev }),
    ...(libc.length > 0 && os[0] === 'linux' && { libc }),
    optional: true,
    os,
  };
}
