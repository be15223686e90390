/** Runs the command line and ends this process as it says, whatever Node was started with. */

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { holdingProcess } from '@ringfence/host/hold-process';
import { describeFailure } from './failure.ts';
import { EXIT } from './exit-codes.ts';
import { failsBeforeCommand, type PreparedProgram, prepareProgram, runPrepared } from './program.ts';

/** How long the last words wait for their reader, in milliseconds. */
const LAST_WORDS_MS = 2000;

/** What reads the words; it may be there before the process knows them. */
export function ownProgram(): PreparedProgram {
  return prepareProgram({
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
  });
}

export async function commandLine(program: PreparedProgram = ownProgram()): Promise<void> {
  const words = process.argv.slice(2);
  process.stdout.on('error', passOver);
  process.stderr.on('error', passOver);
  let code: number;
  try {
    code = await holdingProcess(runPrepared(words, program));
  } catch (error) {
    const failure = describeFailure(error, failsBeforeCommand(words[0]) ? EXIT.NO_MACHINE : EXIT.FAILED);
    process.stderr.write(`ringfence: ${failure.text}\n`);
    code = failure.exitCode;
  }
  const written = Promise.all(
    [process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write('', resolve))),
  );
  await Promise.race([written, sleep(LAST_WORDS_MS)]);
  // Not by itself: what reads stdin would keep this process alive.
  process.exit(code);
}

/** The reader went away; commands that must know of it listen themselves. */
function passOver(): void {}
