/**
 * The entry of the start snapshot (tools/build/start-snapshot.ts): this file is executed when it is built, up to its end, and every
 * `ringfence run`, and every process of a daemon's machine, goes on from there, with all its modules loaded. Nothing here or in what it imports may know, when it is loaded, who runs it and
 * where: environment, arguments and streams are those of the build.
 */

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { startupSnapshot } from 'node:v8';
import { collectGarbageLater } from '@ringfence/host/garbage';
import { beginInterpreter } from '@ringfence/host/interpreter';
import { rehearse } from '@ringfence/host/rehearsal';
import { isVMProcess, vmProcess } from '@ringfence/host/vm-process';
import { commandLine, ownProgram } from './command-line.ts';
import { prepareProgram } from './program.ts';
// Loaded now, and not when it is asked for.
// oxlint-disable-next-line import/no-unassigned-import -- what it needs is loaded with it
import './commands/run.ts';

/** Written in by the build: where the repository is, and size and time of each file that this was made of, as JSON. */
const REPOSITORY = '' as string;
const MADE_OF = '' as string;
/** And the interpreter of most machines: what it is called, and where it lies while this is built. */
const INTERPRETER = '' as string;

const inputs = Object.entries(JSON.parse(MADE_OF) as Record<string, string>).map(
  ([name, stamp]) => [join(REPOSITORY, name), stamp] as const,
);

const made = JSON.parse(INTERPRETER) as { key: string; path: string };
const interpreter = { key: made.key, bytes: new Uint8Array(readFileSync(made.path)) };
const program = ownProgram();

/** What every start calls is called now, so that it is compiled then. */
async function rehearsal(): Promise<void> {
  const { program: other } = prepareProgram({ stdout: () => {}, stderr: () => {} });
  other.commands.find((command) => command.name() === 'run')?.action(() => {});
  await other.parseAsync(['run', '--memory', '512M'], { from: 'user' });
  await rehearse();
}
const rehearsed = rehearsal();
// Nothing needs it.
rehearsed.catch((error: unknown) => console.error(error));

startupSnapshot.setDeserializeMainFunction(() => {
  collectGarbageLater();
  // Compiled on another thread, while this one comes to where it is needed.
  beginInterpreter(interpreter);
  // The daemon is of the same build, whatever has become of the sources.
  if (isVMProcess()) return vmProcess();
  if (isCurrent()) return void commandLine(program);
  // As if there were no snapshot: from the sources as they are now.
  const options = process.execArgv.filter((word, n, all) => !isSnapshot(word) && all[n - 1] !== '--snapshot-blob');
  process.execve?.(process.execPath, [process.execPath, ...options, ...process.argv.slice(1)], process.env);
});

function isSnapshot(word: string): boolean {
  return word.startsWith('--snapshot-blob');
}

function isCurrent(): boolean {
  return inputs.every(([path, stamp]) => {
    const found = statSync(path, { throwIfNoEntry: false });
    return found !== undefined && `${found.size} ${found.mtimeMs}` === stamp;
  });
}
