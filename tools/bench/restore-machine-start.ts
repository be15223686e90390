/** The same as a snapshot of Node's heap: every process goes on from there, as those of the daemon's machines do (packages/cli/src/start-snapshot.ts). */

import process from 'node:process';
import { startupSnapshot } from 'node:v8';
import { collectGarbageLater } from '@ringfence/host/garbage';
import { beginInterpreter } from '@ringfence/host/interpreter';
import { rehearse } from '@ringfence/host/rehearsal';
import { builtInterpreter } from './built-interpreter.ts';
import { restoreAndAsk } from './restoring.ts';

// Nothing needs it.
rehearse().catch((error: unknown) => console.error(error));

startupSnapshot.setDeserializeMainFunction(() => {
  collectGarbageLater();
  beginInterpreter(builtInterpreter);
  restoreAndAsk(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
