/** `ringfence demo`: serves the page with a machine in it (packages/console) until it is interrupted. */

import { once } from 'node:events';
import process from 'node:process';
import { serveConsole } from '@ringfence/console';
import { ImageError, openTiny } from '@ringfence/images';
import { EXIT, exitCodeOfSignal } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { listenForSignals, type Interruption } from '../node/interruption.ts';
import { withProgress } from './pull-progress.ts';
import { say } from './say.ts';

export interface DemoOptions {
  /** As it was typed. */
  readonly port: string;
  readonly suite?: string | undefined;
  readonly mirror?: string | undefined;
}

const HIGHEST_PORT = 0xffff;

/** Serves until a signal comes; gives the exit code of this process. */
export async function demo(options: DemoOptions): Promise<number> {
  const port = portNumber(options.port);
  const interruption = listenForSignals();
  try {
    return await serve(port, options, interruption);
  } catch (error) {
    if (interruption.number === undefined) throw error;
    if (error instanceof ImageError) say(error.message);
    return exitCodeOfSignal(interruption.number);
  }
}

async function serve(port: number, { suite, mirror }: DemoOptions, { signal }: Interruption): Promise<number> {
  const image = await withProgress((onProgress) => openTiny({ suite, mirror, signal, onProgress }));
  const server = await serveConsole({ image, port });
  try {
    process.stdout.write(`A machine in your browser: ${server.url}\n`);
    say('Ctrl-C ends the server');
    if (!signal.aborted) await once(signal, 'abort');
  } finally {
    await server.close();
  }
  // To be interrupted is how a server ends.
  return EXIT.OK;
}

function portNumber(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Infinity;
  if (port > HIGHEST_PORT)
    throw new CliError(`--port "${text}" is no port; write a number from 0 to ${HIGHEST_PORT}`, EXIT.FAILED);
  return port;
}
