/**
 * The projects of the repository as TypeScript itself sees them: which files each one owns and which others it may import. There is no
 * second list: the tsconfig.json files are the source, and `tsc --showConfig` reads them for us.
 */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Project {
  /** The tsconfig file, relative to the repository's root. */
  readonly config: string;
  /** How a message names it: its folder, or the config itself when it is not called tsconfig.json. */
  readonly name: string;
  /** Sources, absolute. Ambient declarations (`*.d.ts`) are left out: they have no importers. */
  readonly files: ReadonlySet<string>;
  /** Configs of the projects it may import directly. */
  readonly references: ReadonlySet<string>;
  /** A pure project sees no platform: `types` is empty. */
  readonly pure: boolean;
  /** The folder of the package it belongs to, absolute; undefined for what belongs to the repository itself. */
  readonly packageFolder: string | undefined;
  /** Tests and tools run only here, so they may use the repository's development dependencies. */
  readonly development: boolean;
}

/** The part of `tsc --showConfig` that matters here. */
interface ShownConfig {
  readonly compilerOptions?: { readonly types?: readonly string[] };
  readonly files?: readonly string[];
  readonly references?: readonly { readonly path: string }[];
}

/** Every project that `tsc -b` in `root` would check. */
export async function readProjects(root: string): Promise<Project[]> {
  const found = new Map<string, Promise<Project>>();
  const visit = async (config: string): Promise<void> => {
    if (found.has(config)) return;
    const project = readProject(root, config);
    found.set(config, project);
    await Promise.all([...(await project).references].map(visit));
  };
  await visit('tsconfig.json');
  return Promise.all(found.values());
}

async function readProject(root: string, config: string): Promise<Project> {
  const folder = dirname(join(root, config));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { stdout } = await run(process.execPath, [tsc, '-p', join(root, config), '--showConfig']);
  const shown = JSON.parse(stdout) as ShownConfig;
  const files = (shown.files ?? []).filter((file) => !file.endsWith('.d.ts')).map((file) => resolve(folder, file));
  const references = (shown.references ?? []).map(({ path }) => relative(root, configAt(resolve(folder, path))));
  const packageFolder = packageOf(root, folder);
  return {
    config,
    name: basename(config) === 'tsconfig.json' ? dirname(config) : config,
    files: new Set(files),
    references: new Set(references),
    pure: shown.compilerOptions?.types?.length === 0,
    packageFolder,
    development: packageFolder === undefined || basename(config) === 'tsconfig.test.json',
  };
}

/** A reference may name a folder or a file. */
function configAt(path: string): string {
  return path.endsWith('.json') ? path : join(path, 'tsconfig.json');
}

/** The nearest folder above with a package.json, unless that is the root. */
function packageOf(root: string, folder: string): string | undefined {
  if (folder === root) return undefined;
  return existsSync(join(folder, 'package.json')) ? folder : packageOf(root, dirname(folder));
}
