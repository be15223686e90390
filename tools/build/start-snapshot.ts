/**
 * Makes the start snapshot: Node's heap with `ringfence run` loaded into it, which Node begins with instead of an empty one
 * (`node --snapshot-blob`). It saves the time in which modules are found, read and evaluated.
 *
 *     packages/cli/src/start-snapshot.ts and all that it imports --> one script --> node --build-snapshot --> run.blob
 *                            which Node, started how --> start.json, and for a shell start.sh, with that Node by another name beside it
 *
 * It belongs to the very Node that made it, and looks by itself whether the sources are still those that it was made of.
 */

import { execFileSync } from 'node:child_process';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { minifySync } from 'rolldown/utils';
import { INPUTS_FILE, SNAPSHOT_FILE, START_FILE, stampOf } from 'ringfence/built-program';
import { nodeEnvironment, nodeStart } from 'ringfence/node-start';
import { keepAddresses, withConstants } from './bundle.ts';

const ENTRY = 'packages/cli/src/start-snapshot.ts';
/** Something of what was loaded may hold the process. */
const BUILD_TIMEOUT_MS = 30_000;
const NOT_KNOWN_YET = 'what it is made of';
/** What is not among the inputs of the built program. */
const MORE_INPUTS = [
  ENTRY,
  'packages/cli/bin/node-start.js',
  'packages/images/agent/ringfence-agent',
  'packages/images/src/tiny/init.sh',
];
/**
 * Modules of Node's own that are loaded when something of them is used: they cannot be in a snapshot, or are seldom needed, or (crypto) a thread that
 * loads them too, in a process that began with such a snapshot, aborts it.
 */
const LATE_BUILTINS = ['crypto', 'sqlite', 'http', 'https', 'zlib', 'stream/web'];
/** Packages of others that are seldom needed and large: a third of the heap. They are found from here when they are. */
const LATE_PACKAGES = ['openpgp', 'xz-decompress', 'yaml'];
/** So that the name of what is imported occurs nowhere else in the script. */
const LATE = 'package-that-comes-late-';
const LATE_FROM = 'packages/images/package.json';

/** Makes it in the folder of the built program, which is there. */
export async function startSnapshot(
  repository: string,
  entries: Readonly<Record<string, string>>,
  folder: string,
  constants: Readonly<Record<string, string>>,
): Promise<void> {
  const target = join(repository, folder);
  const inputs = JSON.parse(readFileSync(join(target, INPUTS_FILE), 'utf8')) as Record<string, string>;
  await writeHeap({
    repository,
    entry: ENTRY,
    entries,
    folder,
    constants: { ...constants, REPOSITORY: repository, MADE_OF: NOT_KNOWN_YET },
    file: SNAPSHOT_FILE,
    withWhatItIsMadeOf(code, modules) {
      // Looked at by every start: what is in no other file than those of other commands is not among it.
      const own = new Set([...modules, ...Object.values(entries)]);
      const madeOf = {
        ...Object.fromEntries(
          Object.entries(inputs).filter(([name]) => own.has(name) || name.endsWith('package.json')),
        ),
        ...Object.fromEntries(MORE_INPUTS.map((name) => [name, stampOf(join(repository, name))])),
      };
      return code.replace(JSON.stringify(NOT_KNOWN_YET), () => JSON.stringify(JSON.stringify(madeOf)));
    },
  });
  writeStart(target);
}

/** A program to begin with. All names are relative to the repository. */
export interface HeapProgram {
  readonly repository: string;
  /** Executed up to its end when the heap is made. */
  readonly entry: string;
  /** The built program that lies in `folder` already: its threads are started from there. */
  readonly entries: Readonly<Record<string, string>>;
  readonly folder: string;
  /** Values for what is `const NAME = ''` in the sources. */
  readonly constants: Readonly<Record<string, string>>;
  /** What the heap is called in `folder`. */
  readonly file: string;
  /** Has the last word on the script, knowing which of the repository's files are in it. */
  withWhatItIsMadeOf?(code: string, modules: readonly string[]): string;
}

/** Loads a program into a heap of Node and writes that. */
export async function writeHeap(program: HeapProgram): Promise<void> {
  const { repository, entry, entries, folder, constants, file } = program;
  const target = join(repository, folder);
  const script = join(target, `${file}.${process.pid}.cjs`);
  const blob = join(target, `${file}.${process.pid}`);
  const here = JSON.stringify(pathToFileURL(join(target, 'run.js')).href);
  const build = await rolldown({
    cwd: repository,
    input: entry,
    platform: 'node',
    onLog: (level, log) => {
      if (level === 'warn' && log.code !== 'EVAL') throw new Error(log.message);
    },
    plugins: [
      {
        name: 'addresses',
        transform: (code, path) =>
          keepAddresses(withConstants(code, constants), path, target, repository, entries).replaceAll(
            'import.meta.url',
            here,
          ),
      },
      {
        name: 'other commands',
        resolveId: (source, _importer, { kind }) =>
          kind === 'dynamic-import' && /\/commands\/(?!run\.ts)/.test(source)
            ? { id: source, external: true }
            : LATE_PACKAGES.includes(source)
              ? { id: `${LATE}${source}`, external: true }
              : null,
      },
    ],
  });
  try {
    const { output } = await build.generate({ format: 'cjs', codeSplitting: false, comments: false });
    const modules = output[0].moduleIds.map((path) => relative(repository, path).replaceAll(sep, '/'));
    const code = program.withWhatItIsMadeOf?.(output[0].code, modules) ?? output[0].code;
    const text = withLateModules(withoutImports(code), join(repository, LATE_FROM));
    writeFileSync(script, withBytesOnly(small(text)));
    execFileSync(
      process.execPath,
      ['--no-warnings', '--no-flush-bytecode', '--snapshot-blob', blob, '--build-snapshot', script],
      {
        env: {},
        timeout: BUILD_TIMEOUT_MS,
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    );
    renameSync(blob, join(target, file));
  } finally {
    await build.close();
    for (const each of [script, blob]) rmSync(each, { force: true });
  }
}

/** Last of all, because without them nobody uses the snapshot. */
function writeStart(target: string): void {
  const node = process.execPath;
  const { flags } = nodeStart({}, []);
  writeFileSync(join(target, START_FILE), `${JSON.stringify({ node, stamp: stampOf(node) })}\n`);
  const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const [script, link] = [join(target, 'start.sh'), join(target, 'node-that-made-it')];
  for (const file of [script, link]) rmSync(file, { force: true });
  try {
    // By another name the same file, so that a shell sees whether it still is: an installed file may be older than what it replaces.
    linkSync(node, link);
  } catch {
    // On another file system, or not ours to link to: then ringfence.js looks, by start.json.
    return;
  }
  writeFileSync(
    script,
    `# Made by tools/build/start-snapshot.ts, for packages/cli/bin/ringfence.
node=${quoted(node)}
node_flags='${flags.join(' ')}'
${nodeEnvironment('node_environment')}`,
  );
}

/** A script that Node begins with may `require` Node's own modules, and `import()` nothing. */
function withoutImports(script: string): string {
  const late = new RegExp(String.raw`\bimport\("(node:[\w/]+|${LATE}[\w-]+)"\)`, 'g');
  const text = script.replaceAll(late, (_text, name: string) =>
    name.startsWith('node:') ? `Promise.resolve(require("${name}"))` : `Promise.resolve(lateRequire("${name}"))`,
  );
  const [left] = text.match(/\bimport\((?!"\.\/commands\/)[^)]*\)/) ?? [];
  if (left !== undefined) throw new Error(`The start snapshot would come to ${left}, which it cannot do.`);
  return text;
}

/** The script with modules that are loaded when something of them is used: Node's own, and packages, which are found from `place`. */
function withLateModules(script: string, place: string): string {
  const names = [...LATE_BUILTINS.map((name) => `node:${name}`), ...LATE_PACKAGES.map((name) => `${LATE}${name}`)];
  const late = names.reduce((text, name) => {
    const [declaration, variable] = new RegExp(String.raw`let (\w+) = require\("${name}"\);`).exec(text) ?? [];
    if (declaration === undefined || variable === undefined) return text;
    // Where it is imported as a default, too.
    const [wrapped = '', more = ''] =
      new RegExp(String.raw`\b${variable} = __toESM\(${variable}(, 1)?\);`).exec(text) ?? [];
    const loader = name.startsWith('node:') ? 'require' : 'lateRequire';
    const loaded = wrapped === '' ? `${loader}("${name}")` : `__toESM(${loader}("${name}")${more})`;
    const used = text
      .replace(declaration, '')
      .replace(wrapped, '')
      .replaceAll(new RegExp(String.raw`\b${variable}\b`, 'g'), `(late_${variable}())`);
    return `${used}\nfunction late_${variable}() { return (late_${variable}.module ??= ${loaded}); }\n`;
  }, script);
  return `${late}\nfunction lateRequire(name) { return require("node:module").createRequire(${JSON.stringify(place)})(name.slice(${LATE.length})); }\n`;
}

/** The source is part of the heap. Names of functions and classes stay, for they are seen. */
function small(script: string): string {
  const { code, errors } = minifySync('run.cjs', script, {
    module: false,
    compress: false,
    mangle: { keepNames: true },
    codegen: { removeWhitespace: true },
  });
  if (errors.length > 0) throw new Error(errors[0]?.message);
  return code;
}

/** V8 keeps a source with other characters than those of Latin-1 in twice the space. They are in literals only. */
function withBytesOnly(script: string): string {
  return script.replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
