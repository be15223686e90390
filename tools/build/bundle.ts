/**
 * Makes few files of JavaScript out of many of TypeScript: each entry with all that it imports, and a file of its own for what is
 * imported only when it is needed. Names and comments stay, so that a stack trace can be read.
 *
 * The files are put in place together and last of all the list of what they were made of, without which nobody uses them.
 */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { isAbsolute, join, posix, relative, sep } from 'node:path';
import { rolldown } from 'rolldown';
import { INPUTS_FILE, stampOf } from 'ringfence/built-program';

/**
 * Bundles `entries` (name of the file without `.js`, and its source) into `folder`, all relative to `repository`. `constants` are values for
 * what is `const NAME = ''` in the sources. Gives the names of the files that were read.
 */
export async function bundle(
  repository: string,
  entries: Readonly<Record<string, string>>,
  folder: string,
  constants: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  const target = join(repository, folder);
  const making = `${target}.${process.pid}`;
  const build = await rolldown({
    cwd: repository,
    input: { ...entries },
    platform: 'node',
    // A warning is something that will not work.
    onLog: (level, log) => {
      if (level === 'warn') throw new Error(log.message);
    },
    plugins: [
      {
        name: 'addresses',
        transform: (code, path) => keepAddresses(withConstants(code, constants), path, target, repository, entries),
        renderChunk: withoutBuiltinImports,
      },
    ],
  });
  try {
    const { output } = await build.write({ dir: making, format: 'esm', hashCharacters: 'hex' });
    const read = new Set(output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : [])));
    const inputs = [...read].filter((path) => isAbsolute(path)).map((path) => nameIn(repository, path));
    // Where the files of a package are, and in which version; of a package of others that is all there is to know.
    inputs.push(...new Set(inputs.map((name) => packageFile(repository, name))));
    const known = inputs.filter((name) => !name.includes('node_modules/') || name.endsWith('/package.json'));
    const stamps = known.toSorted().map((name) => [name, stampOf(join(repository, name))]);
    await writeFile(join(making, INPUTS_FILE), `${JSON.stringify(Object.fromEntries(stamps), undefined, 2)}\n`);
    await rm(target, { recursive: true, force: true });
    await mkdir(join(target, '..'), { recursive: true });
    await rename(making, target);
    return known;
  } finally {
    await build.close();
    await rm(making, { recursive: true, force: true });
  }
}

/** The package.json that a file obeys. */
function packageFile(repository: string, name: string): string {
  for (let folder = posix.dirname(name); ; folder = posix.dirname(folder)) {
    const file = posix.join(folder, 'package.json');
    if (existsSync(join(repository, file))) return file;
    assert(folder !== '.', `${name} belongs to a package`);
  }
}

/** A name that is the same on every platform. */
function nameIn(repository: string, path: string): string {
  return relative(repository, path).replaceAll(sep, '/');
}

/** Stands for the built file's own address until the sources' are written. */
const HERE = '__address_of_this_file__';

/** The code with the values of constants that are written in by the build. */
export function withConstants(code: string, constants: Readonly<Record<string, string>>): string {
  return Object.entries(constants).reduce(
    (text, [name, value]) => text.replace(`const ${name} = ''`, () => `const ${name} = ${JSON.stringify(value)}`),
    code,
  );
}

/**
 * A module of Node's own that is imported is asked for everything that it has, in case somebody imports that: `process` opens the three standard streams to
 * answer, `crypto` loads all of Web Crypto, `util` what compares texts. A fifth of the time that our program took to begin. Who takes what it wants from the
 * module itself is spared that.
 */
function withoutBuiltinImports(code: string): string {
  return code.replaceAll(
    /^import (?:([\w$]+)(?:, )?)?(\{[^}]*\})? from "([\w:/]+)";$/gm,
    (text, whole: string | undefined, names: string | undefined, from: string) => {
      if (!isBuiltin(from)) return text;
      const module = `process.getBuiltinModule("${from}")`;
      const parts = [whole ?? [], names?.replaceAll(' as ', ': ') ?? []].flat();
      // `process` may be the name of that module here.
      return `const ${parts.map((part) => `${part} = globalThis.${module}`).join(', ')};`;
    },
  );
}

/** A source finds files beside itself by `import.meta.url`, which in the built program is still the source's address. */
export function keepAddresses(
  code: string,
  path: string,
  target: string,
  repository: string,
  entries: Readonly<Record<string, string>>,
): string {
  if (!code.includes('import.meta') || !isAbsolute(path) || path.includes('node_modules')) return code;
  const other = /import\.meta\.(?!url\b)\w+/.exec(code)?.[0];
  if (other !== undefined) throw new Error(`${path} uses ${other}, and only import.meta.url is kept`);
  const place = JSON.stringify(relative(target, path).replaceAll(sep, '/'));
  // A program that is started as a thread is one of the entries, and beside whoever starts it.
  const threads = code.replaceAll(/new URL\('(\.\/[\w-]+\.ts)', import\.meta\.url\)/g, (text, name: string) => {
    const source = nameIn(repository, join(path, '..', name));
    const entry = Object.keys(entries).find((each) => entries[each] === source);
    return entry === undefined ? text : `new URL('./${entry}.js', ${HERE})`;
  });
  return threads
    .replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`)
    .replaceAll(HERE, 'import.meta.url');
}
