/**
 * The interpreter that was generated once, for the machines after: making it takes a tenth of a second. It belongs to the program that made it
 * and to the memory of its machine. A file that cannot be read or written is as good as none.
 */

import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { type InterpreterCache, MAXIMUM_DOMAIN_BYTES, ordinaryInterpreter } from '@ringfence/core';
import { cacheFolder } from '@ringfence/images/cache-folder';
import { programFingerprint } from './program-fingerprint.ts';

const DIGEST_BYTES = 32;
const WASM_PAGE_BYTES = 0x1_0000;

/** V8 translates a function when it is first called, while that waits; or all of them at once, beside whatever else is done. */
const AT_ONCE = '--no-wasm-lazy-compilation';
const WHEN_CALLED = '--wasm-lazy-compilation';

/** The interpreter of most machines, as bytes. */
export interface MadeInterpreter {
  readonly key: string;
  readonly bytes: Uint8Array;
}

const begun = new Map<string, Promise<WebAssembly.Module>>();

/** Makes it, for a process that has it compiled as soon as it starts. */
export function makeInterpreter(): MadeInterpreter {
  const { key, make } = ordinaryInterpreter(Math.floor(MAXIMUM_DOMAIN_BYTES / WASM_PAGE_BYTES));
  return { key, bytes: make() };
}

/** Has it compiled in a process that did not begin with it. */
export function beginOwnInterpreter(): void {
  if (begun.size === 0) beginInterpreter(makeInterpreter());
}

/** Has it compiled beside whatever else the process does until a machine wants it. */
export function beginInterpreter({ key, bytes }: MadeInterpreter): void {
  setFlagsFromString(AT_ONCE);
  const module = WebAssembly.compile(bytes).finally(() => setFlagsFromString(WHEN_CALLED));
  module.catch(() => undefined);
  begun.set(key, module);
}

/** What was begun, and nothing else. */
export const begunInterpreters: InterpreterCache = {
  begun: (key) => begun.get(key),
  load: () => undefined,
  keep() {},
};

/** Those of this user's cache. */
export function ownInterpreters(): InterpreterCache {
  return interpreterCache(join(cacheFolder(undefined, process.env), 'interpreters'));
}

/** Interpreters in a folder of the cache. */
export function interpreterCache(folder: string): InterpreterCache {
  const pathOf = (key: string): string =>
    join(folder, `${hash('sha256', `${programFingerprint()} ${key}`).slice(0, 32)}.wasm`);
  return {
    ...begunInterpreters,
    load(key) {
      try {
        const file = readFileSync(pathOf(key));
        const bytes = file.subarray(DIGEST_BYTES);
        return hash('sha256', bytes) === file.subarray(0, DIGEST_BYTES).toString('hex') ? bytes : undefined;
      } catch {
        return undefined;
      }
    },
    keep(key, bytes) {
      try {
        mkdirSync(folder, { recursive: true, mode: 0o700 });
        const path = pathOf(key);
        const unfinished = `${path}.${process.pid}`;
        writeFileSync(unfinished, Buffer.concat([Buffer.from(hash('sha256', bytes), 'hex'), bytes]), { mode: 0o600 });
        renameSync(unfinished, path);
      } catch {
        // The next one makes it again.
      }
    },
  };
}
