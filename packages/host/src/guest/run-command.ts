/** A command from its start to its end, with all that it wrote. */

import type { AgentCommand, AgentExit, AgentOutput, AgentProcess } from '@ringfence/core';
import { HostError } from '../failure.ts';
import type { GuestCalls } from './calls.ts';

/** What a command may write to one stream before it is ended; for more there is `spawn`. */
export const MAXIMUM_OUTPUT_BYTES = 64 * 1024 * 1024;

export interface CommandOptions extends Omit<AgentCommand, 'argv' | 'terminal' | 'stdin' | 'timeoutMs'> {
  /** All that the command can read; nothing when it is not given. */
  readonly input?: string | Uint8Array;
  /** Ends the command, and `exec` rejects. */
  readonly signal?: AbortSignal;
  /** The command is ended after that many milliseconds, and `exec` rejects. */
  readonly timeoutMs?: number;
  /** Of each stream; MAXIMUM_OUTPUT_BYTES when it is not given. */
  readonly maximumOutputBytes?: number;
}

export interface CommandResult<Output> {
  readonly stdout: Output;
  readonly stderr: Output;
  /** As a shell has it: the command's own, or 128 and the number of the signal that ended it. */
  readonly code: number;
  /** The signal that ended it. */
  readonly signal: number | undefined;
}

/** Runs a command and gives what it wrote, as bytes. A code other than 0 is an answer like any other. */
export async function runCommand(
  guest: Pick<GuestCalls, 'exec'>,
  argv: AgentCommand['argv'],
  { input, signal, timeoutMs, maximumOutputBytes = MAXIMUM_OUTPUT_BYTES, ...command }: CommandOptions = {},
): Promise<CommandResult<Uint8Array>> {
  throwIfAborted(signal);
  const program = await guest.exec({ ...command, argv, stdin: input === undefined ? 'empty' : 'open' });
  const { promise: cut, reject } = Promise.withResolvers<never>();
  cut.catch(() => undefined);
  const onAbort = (): void =>
    reject(new HostError('aborted', `the command ${called(argv)} was stopped`, signal?.reason));
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  const patience =
    timeoutMs === undefined
      ? undefined
      : setTimeout(
          () => reject(new HostError('timeout', `the command ${called(argv)} took longer than ${timeoutMs} ms`)),
          timeoutMs,
        );
  try {
    if (input !== undefined) void give(program, typeof input === 'string' ? Buffer.from(input) : input);
    const [stdout, stderr, exit] = await Promise.race([
      Promise.all([
        collected(program.stdout, maximumOutputBytes, argv),
        collected(program.stderr, maximumOutputBytes, argv),
        program.exited,
      ]),
      cut,
    ]);
    return { stdout, stderr, ...codeOf(exit) };
  } finally {
    clearTimeout(patience);
    signal?.removeEventListener('abort', onAbort);
    program.close();
  }
}

/** An exit as a shell reports it. */
export function codeOf(exit: AgentExit): { readonly code: number; readonly signal: number | undefined } {
  return exit.kind === 'exited'
    ? { code: exit.code, signal: undefined }
    : { code: 128 + exit.signal, signal: exit.signal };
}

async function give({ stdin }: AgentProcess, bytes: Uint8Array): Promise<void> {
  try {
    await stdin.write(bytes);
    stdin.end();
  } catch {
    // It ended first, which its exit says.
  }
}

async function collected(output: AgentOutput, maximumBytes: number, argv: AgentCommand['argv']): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of output) {
    bytes += chunk.length;
    if (bytes > maximumBytes)
      throw new HostError('too-many', `the command ${called(argv)} wrote more than ${maximumBytes} bytes; use spawn`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new HostError('aborted', 'it was stopped before it began', signal.reason);
}

function called([program]: AgentCommand['argv']): string {
  return `"${typeof program === 'string' ? program : Buffer.from(program ?? []).toString()}"`;
}
