/**
 * The same as a snapshot of Node's heap (tools/build/start-snapshot.ts): executed up to its end when that is made, and every process goes on from there, as
 * `ringfence run` does (packages/cli/src/start-snapshot.ts).
 */

import { readFileSync } from 'node:fs';
import process from 'node:process';
import { startupSnapshot } from 'node:v8';
import { beginInterpreter, begunInterpreters } from '@ringfence/host/interpreter';
import { runMachine } from './machine-process.ts';

/** Written in by the build: the interpreter of most machines, what it is called and where it lies while this is built. */
const INTERPRETER = '' as string;

/** Something far away. */
const HOLD_MS = 3_600_000;

const { key, path } = JSON.parse(INTERPRETER) as { key: string; path: string };
const interpreter = { key, bytes: new Uint8Array(readFileSync(path)) };

startupSnapshot.setDeserializeMainFunction(() => {
  beginInterpreter(interpreter);
  // What V8 compiles on another thread holds no process that began so.
  const held = setInterval(() => {}, HOLD_MS);
  // As after Node's own main module: the word behind Node's is the program's name.
  runMachine(process.argv.slice(2), begunInterpreters)
    .catch((error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    })
    .finally(() => clearInterval(held));
});
