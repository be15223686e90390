/**
 * The interpreter that was generated once, for the machines after: making it takes a tenth of a second. It belongs to the program that made it
 * and to the memory of its machine. A file that cannot be read or written is as good as none.
 */

import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { InterpreterCache } from '@ringfence/core';
import { programFingerprint } from './program-fingerprint.ts';

const DIGEST_BYTES = 32;

/** Interpreters in a folder of the cache. */
export function interpreterCache(folder: string): InterpreterCache {
  const pathOf = (key: string): string =>
    join(folder, `${hash('sha256', `${programFingerprint()} ${key}`).slice(0, 32)}.wasm`);
  return {
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
