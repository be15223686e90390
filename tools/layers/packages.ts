/** What the package.json files say: names, entries and dependencies of the workspaces. */

import { existsSync, globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export interface Package {
  readonly name: string;
  /** Absolute. */
  readonly folder: string;
  /** Subpath (`.`, `./node`) to the source file behind it, absolute. */
  readonly entries: ReadonlyMap<string, string>;
  readonly dependencies: ReadonlySet<string>;
}

interface PackageJson {
  readonly name: string;
  readonly workspaces?: readonly string[];
  readonly exports?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** The repository's workspaces. */
export function readPackages(root: string): Package[] {
  const folders = readJson(root).workspaces ?? [];
  return folders
    .flatMap((pattern) => globSync(pattern, { cwd: root }))
    .map((folder) => resolve(root, folder))
    .filter((folder) => existsSync(join(folder, 'package.json')))
    .map((folder) => {
      const json = readJson(folder);
      const entries = Object.entries(json.exports ?? {}).map(([path, file]) => [path, resolve(folder, file)] as const);
      return {
        name: json.name,
        folder,
        entries: new Map(entries),
        dependencies: new Set(Object.keys(json.dependencies ?? {})),
      };
    });
}

/** What tests and tools of the repository may use beside their package's own dependencies. */
export function readDevelopmentDependencies(root: string): ReadonlySet<string> {
  return new Set(Object.keys(readJson(root).devDependencies ?? {}));
}

/** `@scope/name/sub/path` is the package `@scope/name` and its entry `./sub/path`. */
export function splitSpecifier(specifier: string): { name: string; entry: string } {
  const parts = specifier.split('/');
  const nameLength = specifier.startsWith('@') ? 2 : 1;
  const rest = parts.slice(nameLength);
  return { name: parts.slice(0, nameLength).join('/'), entry: rest.length === 0 ? '.' : `./${rest.join('/')}` };
}

function readJson(folder: string): PackageJson {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as PackageJson;
}

/** The workspace that the file `path` lies in. */
export function packageAt(packages: readonly Package[], path: string): Package | undefined {
  return packages.find(({ folder }) => path.startsWith(`${folder}/`));
}
