/**
 * The user's terminal while a guest has it: raw, so that every key is the guest's but for Ctrl-A (escape-keys.ts), and put back as it
 * was however this process ends.
 */

import process from 'node:process';
import { ReadStream, type WriteStream } from 'node:tty';
import { EscapeKeys } from '../escape-keys.ts';

export interface TerminalEvents {
  /** Keys for the guest. Gives whether there is room for more; if not, `resume` says when. */
  readonly keys: (bytes: Uint8Array) => void;
  /** Ctrl-A X. */
  readonly quit: () => void;
  readonly resized?: (columns: number, rows: number) => void;
}

export interface Terminal {
  restore(): void;
}

/** Takes the terminal over; undefined when stdin is none. */
export function takeTerminal(
  stdin: ReadStream | NodeJS.ReadStream,
  stdout: WriteStream | NodeJS.WriteStream,
  events: TerminalEvents,
): Terminal {
  const escapeKeys = new EscapeKeys();
  const onData = (typed: Buffer): void => {
    const { forGuest, quit } = escapeKeys.take(typed);
    if (forGuest.length > 0) events.keys(forGuest);
    if (quit) events.quit();
  };
  const onResize = (): void => {
    if (stdout.isTTY && stdout.columns > 0 && stdout.rows > 0) events.resized?.(stdout.columns, stdout.rows);
  };
  // Somebody stopped this process and the shell took the terminal for itself.
  const onContinue = (): void => {
    stdin.setRawMode(false);
    stdin.setRawMode(true);
    onResize();
  };
  let isTaken = true;
  const restore = (): void => {
    if (!isTaken) return;
    isTaken = false;
    try {
      stdin.setRawMode(false);
    } catch {
      // The terminal has been closed.
    }
    stdin.off('data', onData);
    stdin.pause();
    stdout.off('resize', onResize);
    process.off('SIGCONT', onContinue);
    process.off('exit', restore);
  };
  stdin.setRawMode(true);
  process.on('exit', restore);
  process.on('SIGCONT', onContinue);
  stdin.on('data', onData);
  stdin.on('error', () => events.quit());
  stdin.on('end', () => events.quit());
  stdout.on('resize', onResize);
  onResize();
  return { restore };
}
