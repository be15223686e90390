/**
 * The same as a snapshot of Node's heap (tools/build/start-snapshot.ts): executed up to its end when that is made, and every process goes on from there, as
 * `ringfence run` does (packages/cli/src/start-snapshot.ts).
 */

import process from 'node:process';
import { startupSnapshot } from 'node:v8';
import { beginInterpreter, begunInterpreters } from '@ringfence/host/interpreter';
import { builtInterpreter } from './built-interpreter.ts';
import { runMachine } from './machine-process.ts';

/** Something far away. */
const HOLD_MS = 3_600_000;

startupSnapshot.setDeserializeMainFunction(() => {
  beginInterpreter(builtInterpreter);
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
