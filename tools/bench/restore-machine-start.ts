/** The same as a snapshot of Node's heap: every process goes on from there, as those of the daemon's machines do (packages/cli/src/start-snapshot.ts). */

import { readFileSync } from 'node:fs';
import process from 'node:process';
import { startupSnapshot } from 'node:v8';
import { collectGarbageLater } from '@ringfence/host/garbage';
import { beginInterpreter } from '@ringfence/host/interpreter';
import { rehearse } from '@ringfence/host/rehearsal';
import { restoreAndAsk } from './restoring.ts';

/** Written in by the build: the interpreter of most machines, what it is called and where it lies while this is built. */
const INTERPRETER = '' as string;

const { key, path } = JSON.parse(INTERPRETER) as { key: string; path: string };
const interpreter = { key, bytes: new Uint8Array(readFileSync(path)) };
// Nothing needs it.
rehearse().catch((error: unknown) => console.error(error));

startupSnapshot.setDeserializeMainFunction(() => {
  collectGarbageLater();
  beginInterpreter(interpreter);
  restoreAndAsk(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
