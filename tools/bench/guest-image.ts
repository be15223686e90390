/**
 * What both engines boot: the image's kernel, and its initrd with an archive appended that holds the programs. Without a command from the
 * host /init starts a login shell on the serial console, which both engines have in the same form; that shell's .profile is in the
 * archive too, and becomes the suite. The machine goes off when it ends. The programs are built here, for the guest and for this machine.
 */

import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const SOURCES = join(import.meta.dirname, 'guest');
const GUEST_COMPILER = 'riscv64-linux-gnu-gcc';
const NATIVE_COMPILER = 'gcc';

/** Static, so that neither side brings a C library of its own, and at the level that distributions use. */
const FLAGS = ['-O2', '-static', '-s'];
const SCRIPTS = ['suite.sh', 'soak.sh'];
const WIDE = 'wide';
/** Everything in the folder of that name. */
const wideSources = (): string[] =>
  readdirSync(join(SOURCES, WIDE))
    .filter((name) => name.endsWith('.c'))
    .map((name) => join(WIDE, name));
const BUILDS: readonly {
  readonly program: string;
  readonly sources: readonly string[];
  readonly flags: readonly string[];
}[] = [
  { program: 'kern', sources: ['kern.c'], flags: [] },
  { program: 'kern_nofma', sources: ['kern.c'], flags: ['-ffp-contract=off', '-DNBN="nbody_1M_nofma"'] },
  { program: 'loop', sources: ['loop.c'], flags: [] },
  { program: 'true', sources: ['true.c'], flags: [] },
  { program: 'wide', sources: wideSources(), flags: ['-ffp-contract=off', '-pthread'] },
];

/** Builds into `folder`; the scripts go with the programs. */
async function build(compiler: string, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const { program, sources, flags } of BUILDS) {
    const files = sources.map((source) => join(SOURCES, source));
    await run(compiler, [...FLAGS, ...flags, ...files, '-lm', '-o', join(folder, program)]);
  }
  for (const script of SCRIPTS) await copyFile(join(SOURCES, script), join(folder, script));
}

export async function buildForGuest(folder: string): Promise<void> {
  try {
    await build(GUEST_COMPILER, folder);
  } catch (error) {
    throw isMissing(error)
      ? new Error(missingProgram(GUEST_COMPILER, 'gcc-riscv64-linux-gnu'), { cause: error })
      : error;
  }
}

/** False when this machine has no compiler of its own: then there is no native column. */
export async function buildForThisMachine(folder: string): Promise<boolean> {
  try {
    await build(NATIVE_COMPILER, folder);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Writes to `path` the archive `initrd` with `tree`, which holds the folder `bench`, and a script of that folder as what runs. */
export async function writeInitrd(
  path: string,
  initrd: string,
  tree: string,
  script: string,
  words: readonly string[],
): Promise<void> {
  await mkdir(join(tree, 'root'), { recursive: true });
  await writeFile(join(tree, 'root/.profile'), `exec sh /bench/${script} ${words.join(' ')}\n`);
  await writeFile(path, Buffer.concat([await readFile(initrd), await archive(tree)]));
}

function archive(tree: string): Promise<Buffer> {
  const script = 'cd "$0" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0';
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', script, tree], { encoding: 'buffer', maxBuffer: 64 * 1024 ** 2 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(
          new Error(`The programs could not be packed for the guest: ${stderr.toString().trim()}`, { cause: error }),
        );
    });
  });
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

export function missingProgram(program: string, debianPackage: string): string {
  return `The benchmark needs ${program}, which this machine does not have. On Debian: apt-get install ${debianPackage}`;
}
