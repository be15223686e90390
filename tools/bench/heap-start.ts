/** A program of the benchmarks as Node's heap with it and its interpreter in it, as `npm ci` makes one for `ringfence run`. */

import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import process from 'node:process';
import { makeInterpreter } from '@ringfence/host/interpreter';
import { nodeStart } from 'ringfence/node-start';
import { bundle } from '../build/bundle.ts';
import { writeHeap } from '../build/start-snapshot.ts';
import type { EngineCommand } from './guest-run.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

/** How a process is started; its arguments follow. */
export type ProgramStart = Pick<EngineCommand, 'program' | 'programArguments' | 'env'>;

/**
 * Builds tools/bench/NAME.ts with its threads into `folder`, relative to the repository, and the heap out of NAME-start.ts, into which `constants` are
 * written, and the interpreter of most machines as `INTERPRETER`. Node is started with `flags` of its own, too.
 */
export async function builtHeap(
  name: string,
  folder: string,
  constants: Readonly<Record<string, string>> = {},
  ownFlags: readonly string[] = [],
): Promise<ProgramStart> {
  const sourceOf = (file: string): string => relative(REPOSITORY, join(import.meta.dirname, `${file}.ts`));
  const entries = {
    [name]: sourceOf(name),
    'region-compiler-thread': 'packages/host/src/machine/region-compiler-thread.ts',
  };
  await bundle(REPOSITORY, entries, folder, constants);
  const { key, bytes } = makeInterpreter();
  const path = join(REPOSITORY, folder, 'interpreter.wasm');
  writeFileSync(path, bytes);
  const file = `${name}.blob`;
  const written = { ...constants, INTERPRETER: JSON.stringify({ key, path }) };
  await writeHeap({
    repository: REPOSITORY,
    entry: sourceOf(`${name}-start`),
    entries,
    folder,
    constants: written,
    file,
  });
  const { flags, env } = nodeStart(process.env, process.execArgv);
  const heap = join(REPOSITORY, folder, file);
  return { program: process.execPath, programArguments: [...flags, ...ownFlags, '--snapshot-blob', heap, name], env };
}
