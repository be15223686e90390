/** The streams of this process and those of a guest's program, put together; and how the program's end becomes an exit code. */

import { AgentError, type AgentExit, type AgentInput, type AgentOutput } from '@ringfence/core';
import { EXIT, exitCodeOfSignal } from './exit-codes.ts';
import type { Output } from './node/output.ts';

/** What is typed beyond that, while the guest takes nothing, is lost. Enough for what people paste. */
const TYPE_AHEAD_BYTES = 1024 * 1024;

/** Keys of the user for a program that may not be there yet. Ctrl-A X must be heard even while nobody takes them. */
export class TypedInput {
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #input: Pick<AgentInput, 'write'> | undefined;
  #isGiving = false;

  push(typed: Uint8Array): void {
    if (this.#waitingBytes + typed.length > TYPE_AHEAD_BYTES) return;
    this.#waiting.push(typed);
    this.#waitingBytes += typed.length;
    void this.#give();
  }

  /** The program is there. */
  connect(input: Pick<AgentInput, 'write'>): void {
    this.#input = input;
    void this.#give();
  }

  async #give(): Promise<void> {
    if (this.#isGiving || this.#input === undefined) return;
    this.#isGiving = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        await this.#input.write(next);
        this.#waitingBytes -= next.length;
      }
    } catch {
      // The program has ended, which its exit says.
    } finally {
      this.#isGiving = false;
    }
  }
}

/** Gives a program all of a stream, no faster than it takes it, and then its end. */
export async function giveInput(from: AsyncIterable<Uint8Array>, input: AgentInput): Promise<void> {
  try {
    for await (const chunk of from) {
      if (input.isClosed) break;
      await input.write(chunk).catch(() => undefined);
    }
  } finally {
    input.end();
  }
}

/** Hands on all that a program writes, no faster than it is read. */
export async function takeOutput(from: AgentOutput, output: Output): Promise<void> {
  for await (const bytes of from) {
    output.write(bytes);
    if (output.isFull) await new Promise<void>((resolve) => output.whenRoom(resolve));
  }
}

/** As a shell has it. */
export function exitCodeOf(exit: AgentExit): number {
  return exit.kind === 'exited' ? exit.code : exitCodeOfSignal(exit.signal);
}

/** What a shell says and how it ends when a program cannot be run; undefined for failures of another kind. */
export function programFailure(
  error: unknown,
  program: string,
): { readonly text: string; readonly code: number } | undefined {
  if (!(error instanceof AgentError) || !error.message.includes('could not run')) return undefined;
  if (error.errno === 'ENOENT' || error.errno === 'ENOTDIR')
    return { text: `${program}: not found\n`, code: EXIT.NO_COMMAND };
  const reason = error.errno === 'EACCES' ? 'permission denied' : 'cannot be run';
  return { text: `${program}: ${reason}\n`, code: EXIT.CANNOT_RUN };
}
